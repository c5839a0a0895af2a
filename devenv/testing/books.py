"""Do the books balance: placement's allocations and nova's quota usage, against the servers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from devenv.core.errors import WaitTimeout
from devenv.core.wait import NotYet, wait_until
from devenv.report.results import Check
from devenv.testing import checkers
from devenv.testing.checkers import Booked
from devenv.testing.clients.base import words

#: Seconds: what was deleted a moment ago may still be on its way out.
LIMIT = 60.0


def balance(cloud: Any, limit: float = LIMIT) -> list[Check]:
    """Read the books until they balance, or as they were when they were read last.

    :param cloud: an openstack.connection.Connection as administrator.
    :param limit: seconds. An API that does not answer is asked again; if none ever did, the
        verdict is ``unknown``.
    """
    last: list[Check] = []

    def balanced() -> list[Check]:
        try:
            found = compare(cloud)
        except Exception as error:
            raise NotYet(words(error)) from error
        last[:] = found
        if checkers.combine(found) != "pass":
            raise NotYet(checkers.explain(found))
        return found

    try:
        return wait_until(balanced, what="the books to balance", timeout=limit)
    except WaitTimeout as error:
        return last or [Check("allocations and quotas", "unknown", str(error))]


def compare(cloud: Any) -> list[Check]:
    """The books as they are now.

    :raises Exception: whatever the SDK raises when an API does not answer as it should.
    """
    servers = list(cloud.compute.servers(all_projects=True))
    allocated: dict[str, Counter[str]] = {}
    for provider in cloud.placement.resource_providers():
        path = f"/resource_providers/{provider.id}/allocations"
        found = cloud.placement.get(path, raise_exc=True).json()["allocations"]
        for consumer, one in found.items():
            allocated.setdefault(consumer, Counter()).update(one["resources"])
    # Nova's limits are those of the project that asks.
    mine = sum(one.project_id == cloud.current_project_id for one in servers)
    used = cloud.compute.get_limits().absolute.instances_used
    return [
        checkers.allocations({one.id: _booked(one) for one in servers}, allocated),
        checkers.quotas({"instances": used}, {"instances": mine}),
    ]


def _booked(server: Any) -> Booked:
    """What nova asks placement for (nova.scheduler.utils.ResourceRequest), without zeros.

    A server has its flavor in it since microversion 2.47. Only flavors of memory, processors and a
    root disk are known here, which is all that scenarios use.
    """
    if not server.compute_host:  # No host took it.
        return Booked(server.name, {})
    flavor = server.flavor
    wanted = {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.ram, "DISK_GB": flavor.disk}
    return Booked(server.name, {resource: size for resource, size in wanted.items() if size})
