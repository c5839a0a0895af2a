"""Running other programs: `vagrant`, `virsh`, `VBoxManage` and `ssh`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from devenv.core.errors import HostError
from devenv.host.system import search_path, tail

#: How long one that was told to end may clean up, seconds.
_GRACE = 15


@dataclass(frozen=True)
class Done:
    """What a program said, and its exit code."""

    code: int
    out: str
    error: str

    @property
    def said(self) -> str:
        """Its last lines, wherever it wrote them."""
        return tail("\n".join(part for part in (self.out, self.error) if part.strip()))


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PATH": search_path(), "LC_ALL": "C", **more}


def run(
    command: Sequence[str],
    *,
    stdin: str = "",
    timeout: float = 120,
    environment: Mapping[str, str] | None = None,
) -> Done:
    """Run `command` to its end, whatever its exit code.

    :param timeout: seconds.
    :raises HostError: when it cannot be started or does not end in time.
    """
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
            env=_environment(environment or {}),
        )
    except FileNotFoundError as error:
        raise HostError(
            f"{command[0]} is not there", remedy="devenv doctor --provider vagrant"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise HostError(f"`{' '.join(command)}` did not end in {timeout:.0f} s") from error
    return Done(done.returncode, done.stdout, done.stderr)


def stream(
    command: Sequence[str],
    each: Callable[[str], None],
    *,
    timeout: float,
    environment: Mapping[str, str],
    pid_file: Path,
) -> int:
    """Run `command` and hand over each line of its output as it comes; its exit code.

    It has a process group of its own: Ctrl-C ends it once, and waits until it has cleaned up.

    :param timeout: seconds; then it is ended like that, too.
    :param pid_file: names the group while it runs, for whoever comes after a kill of this process.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=_environment(environment),
        start_new_session=True,
    )
    pid_file.write_text(f"{process.pid}\n")
    timer = Timer(timeout, lambda: _end(process))
    timer.start()
    try:
        assert process.stdout
        for line in process.stdout:
            each(line.rstrip("\n"))
        return process.wait()
    finally:
        timer.cancel()
        _end(process)
        pid_file.unlink(missing_ok=True)


def _end(process: subprocess.Popen[str]) -> None:
    """SIGINT, on which vagrant ends in good order; then SIGKILL to all that is left of it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:
        process.wait()


def end_orphan(pid_file: Path, folder: Path) -> bool:
    """End what a killed process has left running in `folder`; says whether there was something.

    Where there is no procfs nothing is ended: a number alone does not tell whose it is now.
    """
    try:
        group = int(pid_file.read_text())
    except (OSError, ValueError):
        return False
    found = [pid for pid in _group(group) if _works_in(pid, folder)]
    if found:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    pid_file.unlink(missing_ok=True)
    return bool(found)


def _group(group: int) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getpgid(int(entry.name)) == group:
                yield int(entry.name)


def _works_in(pid: int, folder: Path) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"VAGRANT_CWD={folder}".encode() in environment.split(b"\0")
