"""What the local provider reads off containers and networks, and decides from it."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from devenv.core import labels
from devenv.core.errors import InputError
from devenv.host import resources
from devenv.topology.models import NodeSpec

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.networks import Network

#: Node addresses start here in both networks; below are gateway (.1) and virtual IP (.10).
FIRST_ADDRESS = 11


def refuse_losses(specs: tuple[NodeSpec, ...], present: dict[str, Container]) -> None:
    """Refuse to remove a node that has the cloud's data, or that would only be renamed."""
    for name in present.keys() - {spec.name for spec in specs}:
        if "control" in json.loads(present[name].labels[labels.ROLES]):
            raise InputError(
                f"the topology has no node {name!r} any more, and it has the databases",
                remedy="give it back, or take the environment down",
            )
        if name in {spec.set_name for spec in specs}:
            raise InputError(
                f"the node {name!r} would be removed: a set of more than one numbers its nodes",
                remedy=f"add a node set with another name instead of more of {name!r}",
            )


def offsets(
    specs: tuple[NodeSpec, ...],
    present: dict[str, Container],
    api: IPv4Network,
    network: str,
) -> dict[str, int]:
    """Each node's place in the networks: kept where it has one, else the first free."""
    kept = {
        name: int(IPv4Address(addresses(container)[network])) - int(api.network_address)
        for name, container in present.items()
    }
    free = (offset for offset in range(FIRST_ADDRESS, 100) if offset not in kept.values())
    return {spec.name: kept.get(spec.name) or next(free) for spec in specs}


def difference(container: Container, spec: NodeSpec) -> str:
    """How a node is not what the topology says; empty if it is."""
    roles = set(json.loads(container.labels[labels.ROLES]))
    if roles != spec.roles:
        return f"its roles were {', '.join(sorted(roles))}"
    memory = container.attrs["HostConfig"].get("Memory") or 0
    if memory != spec.memory:
        return f"its memory was {resources.gib(memory)}"
    return ""


def subnet(network: Network) -> IPv4Network:
    """The subnet of a Docker network of ours, which has one."""
    return IPv4Network(network.attrs["IPAM"]["Config"][0]["Subnet"])


def addresses(container: Container) -> dict[str, str]:
    """The container's address on each of its networks, also when it is off."""
    return {
        name: str((config.get("IPAMConfig") or {}).get("IPv4Address") or config.get("IPAddress"))
        for name, config in container.attrs["NetworkSettings"]["Networks"].items()
    }
