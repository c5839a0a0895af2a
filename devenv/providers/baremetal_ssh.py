"""Shell commands on hosts by plain SSH, as root, and what went wrong in words."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from devenv.core.errors import NodeError
from devenv.nodes.node import SshTarget
from devenv.topology.machines import Host

#: Exit code of ssh for failures of its own (ssh(1), EXIT STATUS).
_SSH_FAILED = 255


class Unreachable(NodeError):
    """Nothing answers, or the link was lost."""


class KeyRefused(NodeError):
    """The host is there and lets nobody in with this key."""


class OtherHostKey(NodeError):
    """The host shows another key than the one that it must have."""


class NotRoot(NodeError):
    """Who logged in cannot become root."""


@dataclass(frozen=True)
class Done:
    """How a script ended."""

    code: int
    out: str
    err: str = ""


class Shell(Protocol):
    """A host's shell, as root. Safe to share between threads."""

    def run(
        self, script: str, *, stdin: str = "", check: bool = True, timeout: float = 120
    ) -> Done:
        """Run a POSIX shell script to its end.

        :param timeout: seconds.
        :raises NodeError: one of this module's when there was no way in; another when `check` is
            set and the script failed.
        """


@dataclass(frozen=True)
class SshShell:
    """A shell by OpenSSH's client.

    :param name: the node, for errors.
    :param options: all of ssh's options.
    :param destination: ``user@host``; a user who is not root becomes it by sudo.
    """

    name: str
    options: tuple[str, ...]
    destination: str

    def run(
        self, script: str, *, stdin: str = "", check: bool = True, timeout: float = 120
    ) -> Done:
        """See :meth:`Shell.run`."""
        root = [] if self.destination.startswith("root@") else ["sudo", "-n"]
        line = shlex.join([*root, "sh", "-c", script])
        command = ["ssh", *self.options, self.destination, line]
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, errors="replace",
                check=False, timeout=timeout,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise Unreachable(
                f"a command on {self.destination} did not end in {timeout:.0f} s",
                node=self.name,
                remedy=f"look at the host: {self._by_hand}",
            ) from error
        if done.returncode == _SSH_FAILED:
            raise self._failure(done.stderr.strip())
        if root and done.returncode in (1, 127) and _is_sudos(done.stderr):
            raise NotRoot(
                f"{self.destination} cannot become root without a password",
                node=self.name,
                detail=done.stderr.strip(),
                remedy="allow it by a line such as `USER ALL=(ALL) NOPASSWD: ALL` in a file in "
                "/etc/sudoers.d, or give `user: root`",
            )
        if check and done.returncode != 0:
            raise failed(self.name, Done(done.returncode, done.stdout, done.stderr))
        return Done(done.returncode, done.stdout, done.stderr)

    def _failure(self, said: str) -> NodeError:
        if "IDENTIFICATION HAS CHANGED" in said or "verification failed" in said:
            return OtherHostKey(
                f"{self.destination} shows another host key than the one it was known by: it was "
                "installed anew, or another machine answers in its place",
                node=self.name,
                detail=said,
                remedy="if it was installed anew, give its key as `host_key` in the topology",
            )
        if "Permission denied" in said or "Too many authentication failures" in said:
            return KeyRefused(
                f"{self.destination} refused the SSH key",
                node=self.name,
                detail=said,
                remedy=f"give another `user` or `key`, or have it accept yours: ssh-copy-id "
                f"{self.destination}",
            )
        return Unreachable(
            f"no way to {self.destination} by SSH, or the link was lost",
            node=self.name,
            detail=said,
            remedy=f"try: {self._by_hand}; then run the command again, it goes on from there",
        )

    @property
    def _by_hand(self) -> str:
        return shlex.join(["ssh", *self.options, self.destination])


def failed(name: str, done: Done) -> NodeError:
    """The error for a script that did not end with 0."""
    return NodeError(
        f"a command on the host ended with code {done.code}",
        node=name,
        detail="\n".join((done.err or done.out).strip().splitlines()[-15:]),
    )


def _is_sudos(said: str) -> bool:
    """Whether sudo said it, or the shell that has none."""
    return any(line.startswith("sudo:") or "sudo: not found" in line for line in said.splitlines())


def login(name: str, host: Host, known_hosts: Path) -> Shell:
    """The shell of who logs in to `host` as the topology says.

    The host key that is seen first is written to `known_hosts`; no other is accepted then.
    """
    identity = ("-o", "IdentitiesOnly=yes", "-i", str(host.key)) if host.key else ()
    options = (
        *("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new"),
        *("-o", f"UserKnownHostsFile={known_hosts}", "-o", "GlobalKnownHostsFile=/dev/null"),
        # One readable line a host, and none that the host itself would have added.
        *("-o", "HashKnownHosts=no", "-o", "UpdateHostKeys=no", "-o", "CheckHostIP=no"),
        *identity,
        *("-p", str(host.port), "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"),
        # A link that is lost is noticed after 20 s, also in the middle of an installation.
        *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=4"),
    )
    return SshShell(name, options, f"{host.user}@{where(host)}")


def as_root(name: str, target: SshTarget, timeout: int = 5) -> Shell:
    """The shell of root with the environment's own key, as everything above the providers has it.

    :param timeout: seconds for the connection.
    """
    # Of an option that is given twice ssh takes the first.
    alive = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=4")
    options = ("-o", f"ConnectTimeout={timeout}", *target.options(), *alive)
    return SshShell(name, options, target.destination)


def where(host: Host) -> str:
    """The name or address of a host's SSH."""
    return host.ssh_host or str(host.address)


def pin(host: Host, known_hosts: Path) -> None:
    """Have `known_hosts` hold the key that the topology gives for `host`, and no other."""
    if host.host_key is None:
        return
    name = where(host) if host.port == 22 else f"[{where(host)}]:{host.port}"
    wanted = f"{name} {' '.join(host.host_key.split()[:2])}"
    lines = known_hosts.read_text().splitlines() if known_hosts.exists() else []
    if [line for line in lines if line.split()[:1] == [name]] == [wanted]:
        return
    kept = [line for line in lines if line.split()[:1] != [name]]
    known_hosts.touch(mode=0o600)
    known_hosts.write_text("".join(f"{line}\n" for line in [*kept, wanted]))
