"""What each machine is to be, from the topology and what is there."""

from __future__ import annotations

import datetime
import getpass
import math
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

from devenv.providers import places
from devenv.providers.vagrant_hypervisor import API, EXTERNAL, Facts, Machine
from devenv.topology.load import LoadedTopology
from devenv.topology.models import NodeSpec


def plan(
    environment: str,
    wanted: LoadedTopology,
    specs: Sequence[NodeSpec],
    machines: Mapping[str, Machine],
    networks: Mapping[str, IPv4Network],
) -> dict[str, Facts]:
    """The facts of each node by name, in the topology's order.

    Addresses and numbers stay; what only the machine itself can tell is empty.

    :param machines: those that are nodes, by name.
    """
    api, external = networks[API], networks[EXTERNAL]
    there = {name: each.facts for name, each in machines.items() if each.facts}
    first = int(api.network_address)
    names = [spec.name for spec in specs]
    taken = {name: int(facts.api.ip) - first for name, facts in there.items()}
    had: dict[str, int] = {}
    for facts in sorted(there.values(), key=lambda facts: facts.created):
        had |= {name: int(IPv4Address(at)) - first for name, at in facts.hosts.items()}
    # An environment keeps the virtual IP that it was made with.
    kept = [facts.vip for facts in there.values()]
    vip = kept[0] if kept else places.virtual_ip(wanted, api)
    offsets = places.offsets(
        names,
        taken,
        had,
        int(IPv4Address(vip)) - first if vip else places.VIP_OFFSET,
        min(api.num_addresses, external.num_addresses),
    )
    orders = places.orders(names, {name: facts.order for name, facts in there.items()})
    hosts = {name: str(api[offsets[name]]) for name in names}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

    def facts_of(spec: NodeSpec) -> Facts:
        old = there.get(spec.name)
        return Facts(
            environment=environment,
            node=spec.name,
            order=orders[spec.name],
            roles=tuple(sorted(spec.roles)),
            source=wanted.source,
            address=f"{hosts[spec.name]}/{api.prefixlen}",
            external=f"{external[offsets[spec.name]]}/{external.prefixlen}",
            interface=old.interface if old else "",
            vip=vip,
            memory=spec.memory,
            cpus=max(math.ceil(spec.cpus), 1),
            disk=old.disk if old else spec.disk or 0,
            host_key=old.host_key if old else "",
            hosts=hosts,
            owner=old.owner if old else getpass.getuser(),
            created=old.created if old else now,
        )

    return {spec.name: facts_of(spec) for spec in specs}
