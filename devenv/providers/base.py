"""What a provider is: eight methods, after which nobody knows which provider it was."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar, Literal

from devenv.core.errors import InputError
from devenv.host.checks import Probe
from devenv.images.store import Store
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
    :param virtual: whether `vip` is no node's own: the environment was made for several
        control nodes, however many of them are there now.
    :param snapshots: the names under which the whole node set was saved, the oldest first.
    """

    environment: str
    source: str
    nodes: tuple[Node, ...]
    api: IPv4Network
    external: IPv4Network
    vip: IPv4Address
    gateway: IPv4Address
    virtual: bool = False
    snapshots: tuple[str, ...] = ()

    def with_role(self, role: str) -> tuple[Node, ...]:
        """The nodes that have `role`, in the topology's order."""
        return tuple(node for node in self.nodes if role in node.roles)


class Provider(ABC):
    """Makes nodes for one environment. Every method may be called again after a kill.

    All raise :class:`~devenv.core.errors.HostError` when the backend refuses, and
    :class:`~devenv.core.errors.Unsupported` for what the backend cannot do.
    """

    name: ClassVar[str]

    #: Take hosts that are in other use all the same, forget those that do not answer: ``--force``.
    force: bool = False
    #: Have :meth:`destroy` take back all that :meth:`create` changed on machines that were there
    #: before; ``down --restore-host``.
    restore_hosts: bool = False

    @abstractmethod
    def check(self, wanted: LoadedTopology) -> Iterable[Probe]:
        """What this machine needs for `wanted`, as probes that doctor can run and mend."""

    @abstractmethod
    def create(self, wanted: LoadedTopology, store: Store) -> Inventory:
        """Make what is missing, start what is off, take away what the topology lost.

        Nodes that are right are not touched. Each node answers on SSH when this returns, and
        knows the others by name.

        :param store: the images that the topology's services run on. A node may have them from the
            start; what it lacks is brought to it later.
        :raises InputError: before anything is changed, as :func:`refuse_change` does.
        """

    @abstractmethod
    def nodes(self) -> Inventory | None:
        """The environment as the backend has it, not as a cache says; None if there is none.

        Nodes that are off are part of it.
        """

    @abstractmethod
    def power(self, node: str, action: PowerAction) -> None:
        """Change a node's power, as the switch of a machine does; returns when it took effect.

        ``off`` and ``reset`` shut nothing down. ``reset`` of a node that is off turns it on.
        To do what was done already is no error: a node that runs may be resumed.

        :raises NodeError: no such node; ``pause`` or ``resume`` of one that is off; ``on`` of
            one that is paused.
        """

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


def leaving(inventory: Inventory | None, wanted: LoadedTopology) -> tuple[Node, ...]:
    """The nodes that :meth:`Provider.create` would take away, in the inventory's order."""
    names = {spec.name for spec in wanted.topology.node_specs()}
    return tuple(node for node in inventory.nodes if node.name not in names) if inventory else ()


def refuse_change(inventory: Inventory | None, wanted: LoadedTopology) -> None:
    """Refuse to make of an environment what it cannot become without losing its data.

    :raises InputError: with what the topology asks for, and the way that there is.
    """
    if inventory is None:
        return
    other = f"devenv --name {inventory.environment} down, or choose another --name"
    _refuse_other_front(inventory, wanted, other)
    _refuse_other_networks(inventory, wanted, other)
    _refuse_renames(inventory, wanted)
    _refuse_minority(inventory, wanted)


def _refuse_other_networks(inventory: Inventory, wanted: LoadedTopology, remedy: str) -> None:
    networks = wanted.topology.networks
    for key, given, has in (
        (("api", "cidr"), networks.api.cidr, inventory.api),
        (("external", "cidr"), networks.external.cidr, inventory.external),
        (("api", "vip"), networks.api.vip, inventory.vip),
    ):
        # auto and null are whatever is there.
        if isinstance(given, IPv4Network | IPv4Address) and given != has:
            raise InputError(
                f"{wanted.where('networks', *key)}: {'.'.join(key)} of an environment cannot "
                f"change from {has} to {given}",
                remedy=remedy,
            )


def _refuse_other_front(inventory: Inventory, wanted: LoadedTopology, remedy: str) -> None:
    """One control node's own address is where the APIs answer; several have a virtual IP."""
    controls = len(wanted.topology.control_specs())
    if inventory.virtual and controls < 2:
        raise InputError(
            f"{wanted.where('nodes')}: the environment was made for several control nodes and "
            f"the topology has {controls}: the virtual IP {inventory.vip} and the clusters would "
            "go",
            remedy=f"keep two at least; or {remedy}",
        )
    if not inventory.virtual and controls > 1:
        raise InputError(
            f"{wanted.where('nodes')}: the environment was made for one control node, on whose "
            f"own address the APIs answer; it cannot have {controls}",
            remedy=remedy,
        )


def _refuse_renames(inventory: Inventory, wanted: LoadedTopology) -> None:
    """A set that grows from one node, or shrinks to one, would lose all that it has."""
    specs = wanted.topology.node_specs()
    new = {spec.name for spec in specs} - {node.name for node in inventory.nodes}
    for node in leaving(inventory, wanted):
        for spec in specs:
            if node.name == spec.set_name:
                raise InputError(
                    f"the node {node.name!r} would be removed: a set of more than one numbers its "
                    "nodes",
                    remedy=f"add a node set with another name instead of more of {node.name!r}",
                )
            if spec.name in new and re.fullmatch(rf"{spec.name}[0-9]+", node.name):
                raise InputError(
                    f"the node {node.name!r} would be removed for one named {spec.name!r}: a set "
                    "of one has the name of the set",
                    remedy=f"to keep {node.name!r}, call the set {node.name!r}",
                )


def _refuse_minority(inventory: Inventory, wanted: LoadedTopology) -> None:
    """A cluster goes on while more than half of it stays, at each change."""
    had = [node.name for node in inventory.with_role("control")]
    will = {spec.name for spec in wanted.topology.control_specs()}
    stay = [name for name in had if name in will]
    if len(stay) < len(had) and 2 * len(stay) <= len(had):
        gone = ", ".join(name for name in had if name not in will)
        raise InputError(
            f"{wanted.where('nodes')}: {gone} would go or be no control nodes any more, and "
            f"{len(stay)} of {len(had)} stay: more than half have to, for they have the databases",
            remedy="give them back; a majority may go in several steps, with `devenv up` after each"
            if len(had) > 2
            else "give them back, or take the environment down",
        )
