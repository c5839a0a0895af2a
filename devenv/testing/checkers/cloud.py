"""The cloud at rest after a fault: is there one of what must be one, and do the books balance?"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from devenv.report.results import Check
from devenv.testing.checkers.words import answer


def exactly_one(holders: Mapping[str, bool | None], what: str = "VIP") -> Check:
    """Pass only if one node holds `what`.

    :param holders: by node; None for a node that could not be asked.
    """
    having = sorted(node for node, holds in holders.items() if holds)
    unasked = ", ".join(sorted(node for node, holds in holders.items() if holds is None))
    said = f"held by {', '.join(having) or 'none of ' + ', '.join(sorted(holders))}"
    doubt = f"{unasked} could not be asked" if unasked else ""
    if not holders:
        doubt = "no node was asked"
    # One that was not asked may be the missing holder, but cannot make two into one.
    wrong = len(having) > 1 or (not having and not doubt)
    return answer(f"{what} holder", wrong=said if wrong else "", doubt=doubt, right=said)


def allocations(servers: Mapping[str, str], consumers: Collection[str]) -> Check:
    """Fail when placement's allocations are not those of the servers that exist.

    :param servers: name by id of those on a host; one that no host took has no allocation.
    :param consumers: ids out of ``GET /resource_providers/{uuid}/allocations`` of all providers.
    """
    gone = sorted(set(consumers) - servers.keys())
    bare = sorted(f"{servers[one]} ({one})" for one in servers.keys() - set(consumers))
    wrong = []
    if gone:
        wrong.append(f"allocations of servers that are gone: {', '.join(gone)}")
    if bare:
        wrong.append(f"servers without an allocation: {', '.join(bare)}")
    return answer(
        "allocations",
        wrong="; ".join(wrong),
        doubt="",
        right=f"each of {len(servers)} servers has its allocation, and nothing else has one",
    )


def quotas(usage: Mapping[str, int], existing: Mapping[str, int]) -> Check:
    """Fail when the usage that quotas count with is not what exists, by resource.

    :param existing: counts of the resources to compare; others in `usage` are not looked at.
    """
    wrong = [
        f"{resource}: usage {usage.get(resource, 0)} while {count} exist"
        for resource, count in sorted(existing.items())
        if usage.get(resource, 0) != count
    ]
    return answer(
        "quota usage",
        wrong="; ".join(wrong),
        doubt="" if existing else "nothing was counted",
        right=", ".join(f"{resource} {count}" for resource, count in sorted(existing.items())),
    )


def overload(exceeds: str) -> Check:
    """Unknown when the faults at once are more than the cluster can survive.

    :param exceeds: why they are, in words, such as ``2 of 3 controllers at once``; else empty.
    """
    return answer(
        "faults at once",
        wrong="",
        doubt=exceeds and f"more than the cluster can survive: {exceeds}",
        right="no more than the cluster can survive",
    )
