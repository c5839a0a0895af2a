"""One SSH master per node, with the node's Docker socket forwarded to a local one."""

from __future__ import annotations

import contextlib
import io
import os
import select
import shlex
import subprocess
import tarfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devenv.core.errors import NodeError, WaitTimeout
from devenv.core.hashing import digest
from devenv.core.wait import NotYet, wait_until
from devenv.nodes.node import Node

if TYPE_CHECKING:
    from docker import DockerClient


#: What ssh says when trying again cannot help.
_FINAL = ("Permission denied", "verification failed", "IDENTIFICATION HAS CHANGED")


@dataclass(frozen=True)
class File:
    """A file to be on a node.

    :param path: absolute.
    :param mode: permission bits; the owner is root.
    """

    path: str
    content: bytes
    mode: int = 0o600


class Connection:
    """A live connection to a node: commands, files and the Docker Engine."""

    def __init__(self, node: Node, sockets: Path) -> None:
        self.node = node
        # The hash is short: a socket's path has 107 bytes at most, and ssh appends to it.
        key = f"{digest(node.name)[:8]}.{os.getpid()}"
        # One pair a process: several may look at an environment at the same time.
        self.control_path = sockets / f"{key}.ssh"
        self.docker_path = sockets / f"{key}.docker"
        self._log = Path(f"{self.control_path}.log")
        self._master: subprocess.Popen[bytes] | None = None
        self._clients = threading.local()
        self._open: list[tuple[threading.Thread, DockerClient]] = []

    def open(self, timeout: float = 60) -> None:
        """Start the master and wait until the Docker Engine answers through it.

        :param timeout: seconds in all, since a node that was just started may still be booting.
        :raises NodeError: when SSH answers with something final, such as a refused key.
        :raises WaitTimeout: when nothing answers in time.
        """
        wait_until(self._start_master, what="SSH to answer", timeout=timeout, node=self.node.name)
        wait_until(
            self._ping, what="the Docker Engine to answer", timeout=timeout, node=self.node.name
        )

    def close(self) -> None:
        """Close the clients and the master. Safe to call twice."""
        for _, client in self._open:
            client.close()
        self._open.clear()
        self._stop_master()

    def _ssh(self) -> list[str]:
        return ["ssh", *self.node.ssh.options(), "-S", str(self.control_path)]

    def _start_master(self) -> None:
        self._stop_master()
        command = [
            *self._ssh(), "-M", "-T", "-o", "ControlPersist=no", "-o", "ExitOnForwardFailure=yes",
            "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=6",
            "-o", "StreamLocalBindMask=0177", "-L", f"{self.docker_path}:{self.node.docker_socket}",
            self.node.ssh.destination, "cat",
        ]  # fmt: skip
        # The master lives as long as its standard input: when this process dies, however it
        # dies, the pipe closes, `cat` ends on the node and the master with it.
        with self._log.open("wb") as log:
            master = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log
            )
        self._master = master

        def forwarded() -> None:
            if master.poll() is None and not self.docker_path.exists():
                raise NotYet("no answer yet")

        with contextlib.suppress(WaitTimeout):
            wait_until(forwarded, what="SSH", timeout=15, interval=0.02)
        if master.poll() is None and self.docker_path.exists():
            return
        said = self._log.read_text(errors="replace").strip()
        self._stop_master()
        if any(word in said for word in _FINAL):
            raise NodeError(
                "SSH was refused",
                node=self.node.name,
                detail=said,
                remedy=f"try: {shlex.join(self.argv())}",
            )
        raise NotYet(said or "ssh did not get through")

    def _stop_master(self) -> None:
        if self._master is not None:
            self._master.kill()
            self._master.communicate()
            self._master = None
        for path in (self.control_path, self.docker_path, self._log):
            path.unlink(missing_ok=True)

    def _ping(self) -> None:
        try:
            self.docker.ping()
        except Exception as error:
            raise NotYet(str(error)) from error

    @property
    def docker(self) -> DockerClient:
        """This thread's client of the node's engine (docker-py's clients are not thread-safe)."""
        client: DockerClient | None = getattr(self._clients, "client", None)
        if client is None:
            import docker

            timeout = round(120 * self.node.pace)
            client = docker.DockerClient(base_url=f"unix://{self.docker_path}", timeout=timeout)
            self._clients.client = client
            # Those of threads that ended hold sockets that nobody uses.
            for thread, other in self._open:
                if not thread.is_alive():
                    other.close()
            self._open = [(t, c) for t, c in self._open if t.is_alive()]
            self._open.append((threading.current_thread(), client))
        return client

    def run(
        self,
        command: Sequence[str] | str,
        *,
        stdin: bytes | None = None,
        check: bool = True,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `command` on the node: a list is quoted, a string goes to the node's shell.

        :param timeout: seconds.
        :raises NodeError: on another exit code than 0, unless `check` is false.
        """
        line = command if isinstance(command, str) else shlex.join(command)
        try:
            done = subprocess.run(
                [*self._ssh(), self.node.ssh.destination, line],
                input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                capture_output=True, check=False, timeout=timeout,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise NodeError(
                f"`{line}` did not end in {timeout:.0f} s", node=self.node.name
            ) from error
        if check and done.returncode != 0:
            raise NodeError(
                f"`{line}` exited with {done.returncode}",
                node=self.node.name,
                detail=(done.stderr or done.stdout).decode(errors="replace")[-2000:],
            )
        return done

    def put(self, files: Iterable[File]) -> None:
        """Write `files`, making folders (mode 0700) on the way."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for file in files:
                entry = tarfile.TarInfo(file.path.lstrip("/"))
                entry.size, entry.mode = len(file.content), file.mode
                archive.addfile(entry, io.BytesIO(file.content))
        self.run("umask 077 && tar -x -p -f - -C / --no-overwrite-dir", stdin=buffer.getvalue())

    def read(self, path: str) -> bytes | None:
        """The content of a file on the node, or None if it is not there.

        :raises NodeError: when that cannot be told.
        """
        done = self.run(["cat", path], check=False)
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.decode(errors="replace").strip()
        if "No such file" in said:
            return None
        # An SSH that failed is no proof that a file is not there.
        raise NodeError(f"{path} could not be read", node=self.node.name, detail=said)

    def reaches(self, address: str, port: int, timeout: float = 3) -> bool:
        """Whether what listens on a TCP port echoes a line to the node.

        Through SSH, so nothing is asked of the node and no route to `address` is needed here.

        :param timeout: seconds.
        """
        command = [*self._ssh(), "-W", f"{address}:{port}", self.node.ssh.destination]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdin and process.stdout
            with contextlib.suppress(OSError):
                process.stdin.write(b"devenv\n")
                process.stdin.flush()
            # Not a read to the end: the master holds the pipe as long as it tries to connect,
            # which is minutes, and longer than the process here lives.
            there, _, _ = select.select([process.stdout], [], [], timeout)
            echoed = os.read(process.stdout.fileno(), 64) if there else b""
            process.kill()
        return echoed == b"devenv\n"

    def argv(self, command: Sequence[str] = (), *, tty: bool = False) -> list[str]:
        """The ssh command line, for a person's own terminal; it works without the master, too."""
        return [
            *self._ssh(), *(["-t"] if tty else []), self.node.ssh.destination,
            *([shlex.join(command)] if command else []),
        ]  # fmt: skip


@contextmanager
def connected(
    nodes: Iterable[Node], sockets: Path, timeout: float = 60, *, lenient: bool = False
) -> Iterator[dict[str, Connection]]:
    """Connections to `nodes` by name, opened at the same time and closed at the end.

    :param timeout: seconds for each node.
    :param lenient: leave out nodes that do not answer instead of raising.
    """
    from concurrent.futures import ThreadPoolExecutor

    connections = {node.name: Connection(node, sockets) for node in nodes}

    def answers(connection: Connection) -> bool:
        try:
            connection.open(timeout)
        except (NodeError, WaitTimeout):
            if not lenient:
                raise
            return False
        return True

    try:
        with ThreadPoolExecutor(max_workers=max(len(connections), 1)) as pool:
            answered = list(pool.map(answers, connections.values()))
        yield dict(pair for pair, there in zip(connections.items(), answered, strict=True) if there)
    finally:
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.close()
