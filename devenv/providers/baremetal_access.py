"""The ways to a host: who logs in, root with the environment's key, and its power switch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from devenv.core.errors import DevenvError, NodeError
from devenv.core.events import Events
from devenv.core.wait import NotYet, wait_until
from devenv.nodes.keys import key_pair
from devenv.nodes.node import SshTarget
from devenv.providers import baremetal_power, baremetal_ssh
from devenv.providers.baremetal_power import Power
from devenv.providers.baremetal_ssh import KeyRefused, Shell, Unreachable
from devenv.topology.machines import Host

T = TypeVar("T")
R = TypeVar("R")

#: Seconds for a machine to boot until its SSH answers; servers test their memory first.
BOOT = 900.0


@dataclass(frozen=True)
class Access:
    """How an environment comes to its hosts.

    :param state: its folder, with its key and the host keys.
    """

    environment: str
    state: Path
    events: Events

    @property
    def known_hosts(self) -> Path:
        """The file with the hosts' keys."""
        return self.state / "known_hosts"

    def target(self, host: Host) -> SshTarget:
        """Root with the environment's key, for whoever has a node."""
        private, _ = key_pair(self.state)
        return SshTarget(baremetal_ssh.where(host), private, self.known_hosts, port=host.port)

    def as_root(self, name: str, host: Host, timeout: int = 5) -> Shell:
        """The same as a shell."""
        return baremetal_ssh.as_root(name, self.target(host), timeout)

    def login(self, name: str, host: Host) -> Shell:
        """Who logs in as the topology says, with that user's own key."""
        baremetal_ssh.pin(host, self.known_hosts)
        return baremetal_ssh.login(name, host, self.known_hosts)

    def way_in(self, name: str, host: Host, cloud: str = "") -> Shell:
        """Whoever gets in; a host that is off is switched on.

        :raises NodeError: when nobody does.
        """
        own = self.as_root(name, host, timeout=10)
        try:
            own.run("true")
        except KeyRefused:
            other = self.login(name, host)
            other.run("true")
            return other
        except Unreachable:
            if not self.wake(name, host, own, cloud):
                raise
        return own

    def boot(self, name: str, host: Host) -> str:
        """Another one after each boot, empty if the host does not answer.

        The kernel's boot id, and when process 1 was started: for hosts that share a kernel.
        """
        script = "cat /proc/sys/kernel/random/boot_id; sed 's/.*) //' /proc/1/stat | cut -d' ' -f20"
        try:
            return self.as_root(name, host).run(script).out
        except NodeError:
            return ""

    def switch(self, name: str, host: Host, cloud: str = "") -> Power | None:
        """The host's power switch, None if it has none.

        :param cloud: the one whose Ironic gave the host.
        """
        if cloud:
            from devenv.providers import baremetal_ironic

            return baremetal_ironic.power(name, self.environment, cloud)
        return baremetal_power.power_for(name, host)

    def is_off(self, name: str, host: Host, cloud: str = "") -> bool:
        """Whether its switch says that it is off."""
        try:
            switch = self.switch(name, host, cloud)
            return switch is not None and switch.state() == "off"
        except DevenvError:
            return False  # That nobody gets in is what is told then.

    def wake(self, name: str, host: Host, shell: Shell, cloud: str = "") -> bool:
        """Switch a host on that is off, and wait until it answers; False if it is not off.

        :raises WaitTimeout: when it does not within :data:`BOOT`.
        """
        switch = self.switch(name, host, cloud) if self.is_off(name, host, cloud) else None
        if switch is None:
            return False

        with self.events.step(name, node=name, type="node", why="it was off"):
            switch.act("on")
            self.await_boot(name, shell)
        return True

    def await_boot(self, name: str, shell: Shell) -> None:
        """Wait until the SSH of a host that was just switched on answers.

        :raises WaitTimeout: when it does not within :data:`BOOT`.
        """

        def answers() -> None:
            try:
                shell.run("true")
            except Unreachable as error:
                raise NotYet(error.message) from error
            except KeyRefused:
                return

        wait_until(answers, what="SSH to answer", timeout=BOOT, node=name, longest=5)


def on_all(do: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`do` for all at the same time; each is done to its end, whatever becomes of the others.

    :raises Exception: the first one's, with those of the others as its notes.
    """
    with ThreadPoolExecutor(max_workers=max(len(items), 1)) as pool:
        futures = [pool.submit(do, item) for item in items]
    raise_first([error for future in futures if (error := future.exception())])
    return [future.result() for future in futures]


def raise_first(errors: Sequence[BaseException]) -> None:
    """Raise the first one, with the others as its notes; nothing without any."""
    if errors:
        first, *others = errors
        for other in others:
            first.add_note(str(other))
        raise first
