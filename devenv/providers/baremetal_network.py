"""The networks that hosts are on, as they say themselves, and what a node is on them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from devenv.core.errors import InputError, NodeError
from devenv.providers.baremetal_examine import Finding, Report, api_network
from devenv.providers.baremetal_facts import PREFACE
from devenv.providers.baremetal_lock import Member, Place
from devenv.providers.baremetal_ssh import Shell
from devenv.providers.base import Inventory
from devenv.topology.load import LoadedTopology
from devenv.topology.machines import Host

#: The virtual IP that is picked: a place that the local provider has, too.
_VIP_OFFSET = 10
#: An external network that no host has a device on: it exists on their bridges only.
_INSIDE = IPv4Network("172.31.0.0/24")
#: The first place in it for nodes.
_FIRST = 11

#: Prints the hardware address of whoever has an address. A datagram makes the kernel ask for it.
_NEIGHBOUR = """
bash -c 'echo > /dev/udp/{address}/9' 2>/dev/null
for i in 1 2 3 4 5; do
  ip -4 neigh show {address} | grep -o 'lladdr [^ ]*' && exit 0
  sleep 0.3
done
true
"""


def findings(
    reports: Sequence[Report], wanted: LoadedTopology, there: IPv4Network | None
) -> Iterable[Finding]:
    """Hosts that are not on the API network.

    :param there: the network that the environment is on already.
    """
    seen = [(r, n) for r in reports if r.facts and (n := api_network(r.facts, r.wanted.host))]
    given = wanted.topology.networks.api.cidr
    for report, network in seen:
        api = there or (given if isinstance(given, IPv4Network) else seen[0][1])
        if report.wanted.host.address not in api:
            yield Finding(
                report.wanted.name,
                "network",
                f"its address is on {network}, the API network is {api}",
                f"all nodes are on one API network: {wanted.where('networks', 'api', 'cidr')}",
            )


def vip_findings(
    reports: Sequence[Report], wanted: LoadedTopology, login: Callable[[str, Host], Shell]
) -> Iterable[Finding]:
    """A virtual IP for an environment that is to be made, and that somebody has already."""
    asked = next((r for r in reports if r.facts and api_network(r.facts, r.wanted.host)), None)
    if asked is None or asked.facts is None:
        return
    given, seen = wanted.topology.networks.api.cidr, api_network(asked.facts, asked.wanted.host)
    vip = _vip(wanted, given) if isinstance(given, IPv4Network) else seen and _vip(wanted, seen)
    if vip is None:
        return
    owner = next((r.wanted.name for r in reports if r.wanted.host.address == vip), None)
    said = ""
    with contextlib.suppress(NodeError):
        script = f"{PREFACE}{_NEIGHBOUR.format(address=vip)}"
        shell = login(asked.wanted.name, asked.wanted.host)
        said = shell.run(script, timeout=30).out.strip()
    if owner or said:
        yield Finding(
            owner or asked.wanted.name,
            "virtual IP",
            f"{vip} is its own address" if owner else f"{vip} is taken: {said} answers there",
            f"give a free one: {wanted.where('networks', 'api', 'vip')}",
        )


def _vip(wanted: LoadedTopology, api: IPv4Network) -> IPv4Address | None:
    """The virtual IP of a new environment; None where one control node needs none."""
    if len(wanted.topology.control_specs()) < 2:
        return None
    vip = wanted.topology.networks.api.vip
    return vip if isinstance(vip, IPv4Address) else api.network_address + _VIP_OFFSET


def place(wanted: LoadedTopology, reports: Sequence[Report], there: Inventory | None) -> Place:
    """What the hosts are told of their environment; what it has it keeps.

    :raises InputError: when a network is not given and no host says it.
    """
    if there is not None:
        return Place(
            source=wanted.source,
            api=there.api,
            external=there.external,
            vip=there.vip,
            gateway=there.gateway,
            virtual=there.virtual,
        )
    api = _api(wanted, reports)
    external = _external(wanted, reports)
    vip = _vip(wanted, api)
    controls = {spec.name for spec in wanted.topology.control_specs()}
    own = [r.wanted.host.address for r in reports if r.wanted.name in controls]
    return Place(
        source=wanted.source,
        api=api,
        external=external,
        vip=vip or (own[0] if own else api.network_address + _VIP_OFFSET),
        gateway=wanted.topology.baremetal.gateway or external.network_address + 1,
        virtual=vip is not None,
    )


def _api(wanted: LoadedTopology, reports: Sequence[Report]) -> IPv4Network:
    given = wanted.topology.networks.api.cidr
    if isinstance(given, IPv4Network):
        return given
    for report in reports:
        network = report.facts and api_network(report.facts, report.wanted.host)
        if network and network.prefixlen < 31:
            return network
    raise InputError(
        f"{wanted.where('networks', 'api', 'cidr')}: the hosts do not say which network their "
        "addresses are on",
        remedy="networks: {api: {cidr: NETWORK}}",
    )


def _external(wanted: LoadedTopology, reports: Sequence[Report]) -> IPv4Network:
    given = wanted.topology.networks.external.cidr
    if isinstance(given, IPv4Network):
        return given
    outside = [(r, e) for r in reports if (e := r.wanted.host.external)]
    if not outside:
        return _INSIDE
    for report, external in outside:
        link = report.facts.links.get(external.interface) if report.facts else None
        for interface in link.addresses if link else ():
            if interface.ip == external.address:
                return interface.network
    raise InputError(
        f"{wanted.where('networks', 'external', 'cidr')}: no host says which network its external "
        "address is on",
        remedy="networks: {external: {cidr: NETWORK}}",
    )


def members(wanted: LoadedTopology, reports: Sequence[Report], place: Place) -> dict[str, Member]:
    """What each host is.

    :raises InputError: when an external address is not on the external network.
    """
    free = _free(reports, place)
    found: dict[str, Member] = {}
    for order, report in enumerate(reports):
        one, external = report.wanted, report.wanted.host.external
        if external is not None and external.address not in place.external:
            raise InputError(
                f"{wanted.where('baremetal', 'hosts', one.name, 'external', 'address')}: "
                f"{external.address} is not on the external network {place.external}"
            )
        address = external.address if external else _had(report, place) or next(free)
        found[one.name] = Member(
            name=one.name,
            roles=tuple(sorted(one.spec.roles)),
            order=order,
            address=one.host.address,
            interface=external.interface if external else "",
            outside=f"{address}/{place.external.prefixlen}",
        )
    return found


def _free(reports: Sequence[Report], place: Place) -> Iterator[IPv4Address]:
    """Places on the external network that are nobody's, for hosts that have no device there."""
    taken = {place.gateway}
    taken |= {external.address for r in reports if (external := r.wanted.host.external)}
    taken |= {had for r in reports if (had := _had(r, place))}
    hosts = list(place.external.hosts())
    return (one for one in (*hosts[_FIRST - 1 :], *hosts[: _FIRST - 1]) if one not in taken)


def _had(report: Report, place: Place) -> IPv4Address | None:
    """The external address that a host was given before."""
    lock = report.facts.lock if report.facts else None
    if lock is None or lock.place.external != place.external or lock.member.interface:
        return None
    return IPv4Interface(lock.member.outside).ip
