"""Starting this machine's own Docker Engine, under whatever runs its services."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from devenv.core.errors import HostError, WaitTimeout
from devenv.core.wait import NotYet, wait_until
from devenv.host.system import search_path, sudo, tail, which

Manager = Literal["systemd", "sysvinit", "none"]

#: Where dockerd writes when devenv has started it.
LOG = Path("/var/log/devenv-dockerd.log")

_RUN = Path("/var/run")
_PROC = Path("/proc")
_INIT_SCRIPT = Path("/etc/init.d/docker")
_SYSTEMD = Path("/run/systemd/system")
_START_TIMEOUT = 60.0

_COMMANDS: dict[Manager, str] = {
    "systemd": "systemctl start docker",
    "sysvinit": "service docker start",
    "none": f"setsid dockerd >>{LOG} 2>&1 </dev/null &",
}
_LOGS: dict[Manager, str] = {
    "systemd": "journalctl --unit docker --lines 50 --no-pager",
    "sysvinit": "tail -n 50 /var/log/docker.log",
    "none": f"tail -n 50 {LOG}",
}

#: Files that name a process, and the name that process must have to be the one meant.
_PID_FILES = {"docker.pid": "dockerd", "docker/containerd/containerd.pid": "containerd"}


def manager() -> Manager:
    """What runs this machine's services. For systemd the test is that of sd_booted(3).

    The init script counts only where an init runs: it raises limits, which is refused in
    machines of a smaller kind, where plain ``dockerd`` works.
    """
    if _SYSTEMD.is_dir():
        return "systemd"
    if _INIT_SCRIPT.exists() and _name(1) == "init":
        return "sysvinit"
    return "none"


def command() -> str:
    """What starts the engine here, for a root shell."""
    return _COMMANDS[manager()]


def log_command() -> str:
    """What shows the engine's last words here."""
    return _LOGS[manager()]


def running() -> int | None:
    """The process id of an engine that runs, whether it answers or not."""
    pid = _pid(_RUN / "docker.pid")
    return pid if pid is not None and _name(pid) == "dockerd" else None


def start(answers: Callable[[], bool]) -> None:
    """Start the engine as root and wait until `answers`; does nothing if it does already.

    :raises HostError: with the last lines of the engine's log.
    """
    if answers():
        return
    if manager() == "none":
        _start_plain(answers)
        return
    done = subprocess.run(
        command().split(),
        env={**os.environ, "PATH": search_path()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise _not_started(f"`{command()}` failed", f"{tail(done.stdout)}\n{_last_words()}")
    wait(answers)


def wait(answers: Callable[[], bool], *, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until `answers`, for 60 s at most.

    :param process: the engine, where devenv started it: its death ends the wait.
    :raises HostError: with the last lines of the engine's log.
    """

    def condition() -> None:
        if answers():
            return
        if process is not None and process.poll() is not None:
            raise _not_started(f"dockerd ended with code {process.returncode}", _last_words())
        raise NotYet("no answer")

    try:
        wait_until(condition, what="the Docker Engine to answer", timeout=_START_TIMEOUT)
    except WaitTimeout as error:
        raise _not_started(error.message, _last_words()) from error


def _start_plain(answers: Callable[[], bool]) -> None:
    """Start ``dockerd`` in a session of its own, so that it outlives devenv and its terminal."""
    _remove_stale()
    dockerd = which("dockerd")
    if dockerd is None:
        raise HostError("dockerd is not installed")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")
    }
    # A new file for each start, so that its last lines are of this one. The engine's log
    # can hold what users put into labels and environments: it is root's alone.
    LOG.unlink(missing_ok=True)
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            [dockerd],
            env={**environment, "PATH": search_path()},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)
    wait(answers, process=process)


def _remove_stale() -> None:
    """Remove the pid files that a killed engine left behind.

    When another process has got such a number, dockerd refuses to start because of the one,
    and takes that process for its containerd, in the end to kill it, because of the other.
    """
    for file, name in _PID_FILES.items():
        pid = _pid(_RUN / file)
        if pid is None or _name(pid) != name:
            (_RUN / file).unlink(missing_ok=True)


def _pid(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _name(pid: int) -> str | None:
    try:
        return (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return None


def _last_words() -> str:
    if manager() == "none":
        return tail(LOG.read_text(errors="replace")) if LOG.exists() else ""
    try:
        shown = subprocess.run(
            log_command().split(), capture_output=True, encoding="utf-8", errors="replace",
            timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return tail(shown.stdout)


def _not_started(what: str, detail: str) -> HostError:
    return HostError(
        f"the Docker Engine did not start: {what}",
        detail=detail.strip() or None,
        remedy=f"see more with {sudo(log_command().split())}",
    )
