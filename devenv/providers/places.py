"""Which address of its networks each node has, for the providers that give addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from itertools import chain

from devenv.core.errors import InputError
from devenv.topology.load import LoadedTopology

#: What is between the numbers of two nodes, so that others find room there later.
_GAP = 2**32

#: The virtual IP that is picked, and the places of nodes, which avoid it: in both networks from
#: .11, and from .2 where a network is small. From .100 on there are floating IPs.
VIP_OFFSET = 10
_PLACES = (*range(11, 100), *range(2, 11))


def virtual_ip(wanted: LoadedTopology, api: IPv4Network) -> str:
    """The virtual IP that a network made for `wanted` has; empty where it needs none."""
    if len(wanted.topology.control_specs()) < 2:
        return ""
    vip = wanted.topology.networks.api.vip
    return str(vip if isinstance(vip, IPv4Address) else api.network_address + VIP_OFFSET)


def refuse_crowd(wanted: LoadedTopology) -> None:
    """Refuse more nodes than have a place in both networks; those that are picked have 256."""
    networks, nodes = wanted.topology.networks, len(wanted.topology.node_specs())
    for kind, cidr in (("api", networks.api.cidr), ("external", networks.external.cidr)):
        size = cidr.num_addresses if isinstance(cidr, IPv4Network) else 256
        room = len(_places(size)) - 1
        if nodes > room:
            raise InputError(
                f"{wanted.where('networks', kind, 'cidr')}: the {kind} network has places for "
                f"{room} {wanted.topology.provider} nodes; the topology has {nodes}",
                remedy="a larger network, or fewer nodes",
            )


def _places(size: int) -> list[int]:
    """The places of nodes, and of the virtual IP, in networks of `size` addresses."""
    return [place for place in _PLACES if place < size - 1]


def offsets(
    names: Sequence[str],
    taken: Mapping[str, int],
    had: Mapping[str, int],
    vip: int,
    size: int,
) -> dict[str, int]:
    """Each node's place in the networks: kept, else the one it had, else the first free.

    :param taken: the places of nodes that are there.
    :param had: the places that nodes had when others were told of them.
    :param vip: the place of the virtual IP.
    :param size: addresses of the smaller network.
    """
    found = {**taken, "": vip}
    missing = [name for name in names if name not in found]
    # First who comes back, then who is new.
    for name in sorted(missing, key=lambda name: name not in had):
        candidates = chain([had[name]] if name in had else [], _places(size))
        found[name] = next(place for place in candidates if place not in found.values())
    return {name: found[name] for name in names}


def orders(names: Sequence[str], kept: Mapping[str, int]) -> dict[str, int]:
    """Each node's number: kept where it has one; that of a new node is between its neighbours'."""
    known = dict(kept)
    found: dict[str, int] = {}
    last = 0
    for index, name in enumerate(names):
        if name not in known:
            later = (known[other] for other in names[index:] if other in known)
            known[name] = (last + next(later, last + 2 * _GAP)) // 2
        last = found[name] = known[name]
    return found
