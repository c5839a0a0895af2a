"""Faults on a node's power: off, reset, pause."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from devenv.core.errors import NodeError, WaitTimeout
from devenv.core.wait import NotYet
from devenv.faults.fault import Fault, Inconclusive
from devenv.faults.site import Site
from devenv.nodes.connection import Connection
from devenv.providers.base import PowerAction

#: Seconds in which a node has to answer again: emulated machines take minutes to boot.
BOOT = 300


@dataclass(frozen=True)
class PowerFault(Fault):
    """A fault that the provider makes and takes back."""

    action: ClassVar[PowerAction]
    undo: ClassVar[PowerAction]

    def describe(self) -> str:
        """``power off ctl2``."""
        return f"{self.verb.replace('-', ' ')} {self.node}"

    def inject(self, site: Site) -> None:
        """By the provider."""
        site.provider.power(self.node, self.action)

    def confirm(self, site: Site) -> None:
        """Nobody can log in any more."""
        if site.answers(self.node):
            raise NotYet(f"{self.node} still answers on SSH")

    def heal(self, site: Site) -> None:
        """Power it, and wait until its SSH and its Docker Engine answer.

        :raises WaitTimeout: when they do not.
        """
        site.provider.power(self.node, self.undo)
        site.reopen(self.node, BOOT)


@dataclass(frozen=True)
class PowerOff(PowerFault):
    """The plug is pulled."""

    verb: ClassVar[str] = "power-off"
    action: ClassVar[PowerAction] = "off"
    undo: ClassVar[PowerAction] = "on"


@dataclass(frozen=True)
class PauseNode(PowerFault):
    """The whole node stands still, and goes on when it is healed."""

    verb: ClassVar[str] = "pause-node"
    action: ClassVar[PowerAction] = "pause"
    undo: ClassVar[PowerAction] = "resume"

    def describe(self) -> str:
        """``pause ctl2``."""
        return f"pause {self.node}"


@dataclass(frozen=True)
class Reset(PowerFault):
    """The reset button: nothing is shut down, and the node boots again by itself.

    :param boot: which boot it was before.
    """

    boot: str = ""

    verb: ClassVar[str] = "reset"
    action: ClassVar[PowerAction] = "reset"
    undo: ClassVar[PowerAction] = "on"

    def prepare(self, site: Site) -> Self:
        """Remember which boot this is."""
        super().prepare(site)
        return replace(self, boot=_boot(site.connection(self.node)))

    def confirm(self, site: Site) -> None:
        """It is down, or back with another boot."""
        if site.answers(self.node) and self._same_boot(site):
            raise NotYet(f"{self.node} answers and has not booted")

    def _same_boot(self, site: Site) -> bool:
        try:
            return _boot(site.reopen(self.node, 5)) == self.boot
        except (NodeError, WaitTimeout):
            return False  # It went down in between, or its engine is not up yet.

    def heal(self, site: Site) -> None:
        """Wait until its SSH and its Docker Engine answer.

        :raises Inconclusive: when it answers and has never booted.
        """
        super().heal(site)
        if self.boot and _boot(site.connection(self.node)) == self.boot:
            raise Inconclusive("it was reset and did not boot", node=self.node)


def _boot(connection: Connection) -> str:
    """Another one after each boot: the kernel's boot id, and when process 1 was started.

    The second is for nodes that share a kernel (proc(5): field 22 of /proc/pid/stat; the name in
    field 2 may hold spaces).
    """
    boot_id = connection.read("/proc/sys/kernel/random/boot_id") or b""
    stat = connection.read("/proc/1/stat") or b""
    started = stat.rpartition(b")")[2].split()[19:20]
    return b" ".join([boot_id.strip(), *started]).decode()
