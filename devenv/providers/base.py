"""What a provider is: eight methods, after which nobody knows which provider it was."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar, Literal

from devenv.host.checks import Probe
from devenv.nodes.node import Node
from devenv.topology.load import LoadedTopology

PowerAction = Literal["on", "off", "reset", "pause", "resume"]


@dataclass(frozen=True)
class Inventory:
    """The nodes of an environment and the networks that they are on.

    :param source: where the topology came from, as `up` was told: a preset or a file.
    :param vip: the virtual IP in front of the APIs; the control node's own address where
        there is only one.
    :param gateway: the external network's gateway, which routes for the guests.
    """

    environment: str
    source: str
    nodes: tuple[Node, ...]
    api: IPv4Network
    external: IPv4Network
    vip: IPv4Address
    gateway: IPv4Address

    def with_role(self, role: str) -> tuple[Node, ...]:
        """The nodes that have `role`, in the topology's order."""
        return tuple(node for node in self.nodes if role in node.roles)


class Provider(ABC):
    """Makes nodes for one environment. Every method may be called again after a kill.

    All raise :class:`~devenv.core.errors.HostError` when the backend refuses, and
    :class:`~devenv.core.errors.Unsupported` for what the backend cannot do.
    """

    name: ClassVar[str]

    @abstractmethod
    def check(self, wanted: LoadedTopology) -> Iterable[Probe]:
        """What this machine needs for `wanted`, as probes that doctor can run and mend."""

    @abstractmethod
    def create(self, wanted: LoadedTopology, store: str) -> Inventory:
        """Make what is missing, start what is off, take away what the topology lost.

        Nodes that are right are not touched. Each node answers on SSH when this returns.

        :param store: the image store that new nodes start with.
        """

    @abstractmethod
    def nodes(self) -> Inventory | None:
        """The environment as the backend has it, not as a cache says; None if there is none.

        Nodes that are off are part of it.
        """

    @abstractmethod
    def power(self, node: str, action: PowerAction) -> None:
        """Change a node's power; returns when it took effect."""

    @abstractmethod
    def snapshot(self, name: str) -> None:
        """Save all nodes at one moment as `name`."""

    @abstractmethod
    def restore(self, name: str) -> None:
        """Put all nodes back to `name`."""

    @abstractmethod
    def destroy(self) -> list[str]:
        """Remove everything that carries this environment's label; says what it removed."""

    @abstractmethod
    def collect_garbage(self) -> list[str]:
        """Remove what a kill left behind: parts of environments that have no nodes."""
