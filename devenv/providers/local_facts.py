"""What the local provider reads off containers, networks and volumes, and decides from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from devenv.core import labels
from devenv.core.errors import InputError
from devenv.host import resources
from devenv.providers import places
from devenv.topology.load import LoadedTopology
from devenv.topology.models import NodeSpec

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.networks import Network
    from docker.models.volumes import Volume

#: On the API network: its virtual IP, where it was made for several control nodes.
VIP = labels.PREFIX + "vip"
#: On node containers: a number that grows with the node's place in the topology.
ORDER = labels.PREFIX + "order"


def refuse_leftovers(
    wanted: LoadedTopology, environment: str, api: Network | None, volumes: Iterable[Volume]
) -> None:
    """Refuse to make nodes where another topology's are gone, but not what they had.

    :param api: the API network, if it is there.
    """
    names = {spec.name for spec in wanted.topology.node_specs()}
    left = [
        f"the volume of the node {name!r}" for v in volumes if (name := node_of(v)) not in names
    ]
    if api is not None:
        cidr, vip = wanted.topology.networks.api.cidr, wanted.topology.networks.api.vip
        has, would = api.attrs["Labels"].get(VIP, ""), places.virtual_ip(wanted, subnet(api))
        if isinstance(cidr, IPv4Network) and cidr != subnet(api):
            left.append(f"the network {subnet(api)}")
        elif bool(has) != bool(would) or (isinstance(vip, IPv4Address) and has != would):
            left.append(f"a network with {has or 'no address'} as its virtual IP")
    if left:
        raise InputError(
            f"environment {environment!r} has no nodes, but what another topology left: "
            + ", ".join(left),
            remedy=f"give the topology back that it had, or devenv --name {environment} down",
        )


def refuse_held_vip(vip: IPv4Address, network: Network, nodes: Mapping[str, Container]) -> None:
    """Refuse a virtual IP that a container of ours or of somebody else has.

    :param network: as the engine shows one alone; in a list it does not say what is on it.
    """
    attached = (network.attrs.get("Containers") or {}).values()
    holders = {str(each["IPv4Address"]).partition("/")[0]: str(each["Name"]) for each in attached}
    for name, container in nodes.items():
        holders[addresses(container)[str(network.name)]] = f"the node {name!r}"
    if str(vip) in holders:
        raise InputError(
            f"the virtual IP {vip} is the address of {holders[str(vip)]}",
            remedy=f"take that off the network {network.name}",
        )


def offsets(
    specs: tuple[NodeSpec, ...],
    present: Mapping[str, Container],
    api: Network,
    external: Network,
) -> dict[str, int]:
    """Each node's place in the networks: kept, else the one it had, else the first free.

    What it had is told by the /etc/hosts that nodes made after it were given.
    """
    first = subnet(api).network_address
    taken = {
        name: int(IPv4Address(addresses(container)[str(api.name)])) - int(first)
        for name, container in present.items()
    }
    vip = api.attrs["Labels"].get(VIP)
    had: dict[str, int] = {}
    for container in sorted(present.values(), key=lambda node: node.labels.get(labels.CREATED, "")):
        for entry in container.attrs["HostConfig"].get("ExtraHosts") or []:
            name, _, address = entry.partition(":")
            had[name] = int(IPv4Address(address)) - int(first)
    return places.offsets(
        [spec.name for spec in specs],
        taken,
        had,
        int(IPv4Address(vip)) - int(first) if vip else places.VIP_OFFSET,
        min(subnet(network).num_addresses for network in (api, external)),
    )


def orders(specs: tuple[NodeSpec, ...], present: Mapping[str, Container]) -> dict[str, int]:
    """Each node's number: kept where it has one; that of a new node is between its neighbours'."""
    kept = {name: order(container) for name, container in present.items()}
    return places.orders([spec.name for spec in specs], kept)


def order(container: Container) -> int:
    """The number of a node's place in the topology."""
    return int(container.labels.get(ORDER, 0))


def difference(container: Container, spec: NodeSpec) -> str:
    """How a node is not what the topology says; empty if it is."""
    roles = set(json.loads(container.labels[labels.ROLES]))
    if roles != spec.roles:
        return f"its roles were {', '.join(sorted(roles))}"
    memory = container.attrs["HostConfig"].get("Memory") or 0
    if memory != spec.memory:
        return f"its memory was {resources.gib(memory)}"
    return ""


def node_of(volume: Volume) -> str:
    """The node that a volume of ours is a part of."""
    return str(volume.attrs["Labels"][labels.NODE])


def subnet(network: Network) -> IPv4Network:
    """The subnet of a Docker network of ours, which has one."""
    return IPv4Network(network.attrs["IPAM"]["Config"][0]["Subnet"])


def addresses(container: Container) -> dict[str, str]:
    """The container's address on each of its networks, also when it is off."""
    return {
        name: str((config.get("IPAMConfig") or {}).get("IPv4Address") or config.get("IPAddress"))
        for name, config in container.attrs["NetworkSettings"]["Networks"].items()
    }
