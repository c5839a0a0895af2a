"""The cloud during and after a fault: is there one of what must be one, do the books balance?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devenv.report.results import Check
from devenv.testing.checkers.words import answer, between
from devenv.testing.history import History
from devenv.testing.vip import Sample

#: Seconds for which two nodes may have the virtual IP. Two that hear each other agree with the next
#: advert (0.3 s) and one whose haproxy hangs gives up after 2 s (keepalived.conf); the rest is for
#: samples of up to 2 s and for a keepalived that starts again on a busy machine and finds the
#: address that it was killed with.
OVERLAP = 5.0


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


def held_twice(
    samples: Sequence[Sample],
    apart: Sequence[tuple[float, float]],
    begin: float,
    limit: float = OVERLAP,
) -> Check:
    """Fail when several nodes had the virtual IP for longer than `limit` seconds.

    :param apart: (begin, end) of the times in which two holders are expected: in a partition each
        side has one, and a keepalived that is dead or frozen cannot give the address up.
    """
    if not samples:
        return Check("VIP held twice", "unknown", "no node was asked while clients ran")

    def expected(one: Sample) -> bool:
        return any(first <= one.at <= last for first, last in apart)

    runs = itertools.groupby(samples, lambda one: one.several and not expected(one))
    spans = [[one.at for one in run] for several, run in runs if several]
    wrong = [span for span in spans if span[-1] - span[0] > limit]
    silent = [
        node
        for node in sorted(samples[0].holders)
        if all(one.holders[node] is None for one in samples)
    ]
    excused = sum(one.several and expected(one) for one in samples)
    right = f"in {len(samples)} samples never for longer than {limit:g} s"
    if excused:
        right += f", but for {excused} while nodes were apart, where it has to be expected"
    return answer(
        "VIP held twice",
        wrong="; ".join(f"by several nodes {between(span, begin)}" for span in wrong),
        doubt=f"{', '.join(silent)} never answered" if silent else "",
        right=right,
    )


def boots(history: History) -> Check:
    """Fail when a server neither came up nor was refused in words: its message was lost."""
    lost = [one for one in history.of("boots") if one.outcome == "info"]
    tried = history.of("boots", "boot")
    done = sum(one.outcome == "ok" for one in tried)
    return answer(
        "boots that came to no end",
        wrong=", ".join(f"{one.value}: {one.error}" for one in lost),
        doubt="" if done else "no server was ever booted",
        right=f"{done} servers booted, {len(tried) - done} refused or in ERROR, none hung",
    )


@dataclass(frozen=True)
class Booked:
    """A server as placement has to know it.

    :param resources: what its flavor takes of its host, without zeros, such as
        ``{"VCPU": 1, "MEMORY_MB": 96}``; empty for a server that no host took.
    """

    name: str
    resources: Mapping[str, int]


def allocations(servers: Mapping[str, Booked], allocated: Mapping[str, Mapping[str, int]]) -> Check:
    """Fail when placement's allocations are not those of the servers that exist.

    :param servers: by id.
    :param allocated: resources by the consumer's id, of all providers together, out of
        ``GET /resource_providers/{uuid}/allocations``.
    """
    gone = sorted(allocated.keys() - servers.keys())
    wrong = [f"allocations of servers that are gone: {', '.join(gone)}"] if gone else []
    for id, server in sorted(servers.items()):
        has, takes = dict(allocated.get(id, {})), dict(server.resources)
        if has != takes:
            wrong.append(f"{server.name} ({id}) takes {_sizes(takes)}, allocated {_sizes(has)}")
    hosted = sum(bool(server.resources) for server in servers.values())
    return answer(
        "allocations",
        wrong="; ".join(wrong),
        doubt="",
        right=f"{hosted} servers on a host, each with what its flavor takes, and nothing else",
    )


def _sizes(resources: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size}" for name, size in sorted(resources.items())) or "nothing"


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


def overload(exceeds: str, *, expected: bool = False) -> Check:
    """Unknown when the faults at once are more than the cluster can survive, and nobody said so.

    :param exceeds: why they are, in words, such as ``2 of 3 controllers at once``; else empty.
    :param expected: the scenario is about an outage; :func:`down` judges it.
    """
    if expected:
        doubt = "" if exceeds else "an outage was expected, but a cluster survives these faults"
        return answer("faults at once", wrong="", doubt=doubt, right=f"as expected: {exceeds}")
    return answer(
        "faults at once",
        wrong="",
        doubt=exceeds and f"more than the cluster can survive: {exceeds}",
        right="no more than the cluster can survive",
    )


def down(
    history: History, client: str, kind: str, outages: Sequence[tuple[float, float]], begin: float
) -> Check:
    """Fail when a client that needs a majority succeeded while there was none.

    What was invoked before may still be answered.

    :param outages: (begin, end) of the times in which there was none.
    """
    found = history.of(client, kind)
    answered = [
        one.completed
        for one in found
        for first, last in outages
        if one.outcome == "ok" and first <= one.invoked and one.completed <= last
    ]
    unwatched = not outages or any(
        not any(one.invoked <= last and one.completed >= first for one in found)
        for first, last in outages
    )
    return answer(
        f"outage of {client} {kind}",
        wrong=f"{len(answered)} succeeded, {between(answered, begin)}" if answered else "",
        doubt="no attempt during the outage" if unwatched else "",
        right="it was seen: no success until healing began",
    )
