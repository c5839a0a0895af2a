"""Rows: is what was acknowledged there, once, everywhere, and seen by those who read later?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from devenv.report.results import Check
from devenv.testing.checkers.words import answer, between, listed, on_members
from devenv.testing.history import History, Operation

#: All values that each member has in the end; None for a member that could not be read.
Finals = Mapping[str, Collection[int] | None]

#: Stale reads that are told one by one.
_TOLD = 3


def rows(history: History, finals: Finals, begin: float, client: str = "rows") -> tuple[Check, ...]:
    """Judge a client that writes increasing integers, each once, and reads.

    A ``write`` has the value that it writes. A ``read`` has as result all values that it saw, or
    the largest, or None where it saw none. What nobody knows about (``info``) may be there or not.

    :param finals: from each member itself, after all is quiet; sets cannot show duplicates.
    """
    writes = history.of(client, "write")
    return (
        lost(writes, finals, begin),
        duplicated(finals),
        phantom(writes, finals),
        disagreeing(finals),
        stale(writes, history.of(client, "read"), begin),
    )


def lost(writes: Collection[Operation], finals: Finals, begin: float) -> Check:
    """Fail when an acknowledged write is missing on any member."""
    acknowledged = _acknowledged(writes)
    missing = {node: acknowledged.keys() - set(values) for node, values in _read(finals).items()}
    times = [acknowledged[value] for values in missing.values() for value in values]
    wrong = times and (
        f"missing: {on_members(missing)} ({len(set().union(*missing.values()))} of "
        f"{len(acknowledged)} acknowledged rows, acknowledged {between(times, begin)})"
    )
    return answer(
        "lost rows",
        wrong=wrong or "",
        doubt=_doubt(finals) if acknowledged else "no write was acknowledged",
        right=f"none of {len(acknowledged)} acknowledged rows is missing on {_names(finals)}",
    )


def duplicated(finals: Finals) -> Check:
    """Fail when a member has a value more than once."""
    twice = {
        node: [value for value, count in Counter(values).items() if count > 1]
        for node, values in _read(finals).items()
    }
    found = on_members(twice)
    return answer(
        "duplicated rows",
        wrong=found and f"there more than once: {found}",
        doubt=_doubt(finals),
        right=f"every row is there once on {_names(finals)}",
    )


def phantom(writes: Collection[Operation], finals: Finals) -> Check:
    """Fail when a member has what nobody wrote, or what the writer was told had failed."""
    possible = {one.value for one in writes if one.outcome != "failed"}
    failed = {one.value for one in writes} - possible
    wrong = []
    extra = {node: set(values) - possible for node, values in _read(finals).items()}
    if found := on_members({node: values - failed for node, values in extra.items()}):
        wrong.append(f"nobody wrote {found}")
    if found := on_members({node: values & failed for node, values in extra.items()}):
        wrong.append(f"there although the write failed: {found}")
    return answer(
        "phantom rows",
        wrong="; ".join(wrong),
        doubt=_doubt(finals),
        right=f"every row on {_names(finals)} was written",
    )


def disagreeing(finals: Finals) -> Check:
    """Fail when members differ; nothing can be said about fewer than two of them."""
    read = {node: set(values) for node, values in _read(finals).items()}
    everything: set[int] = set().union(*read.values())
    missing = on_members({node: everything - values for node, values in read.items()})
    alone = "" if len(finals) > 1 else "there are no two members to compare"
    return answer(
        "members that disagree",
        wrong=missing and f"not on every member; missing: {missing}",
        doubt=_doubt(finals) or alone,
        right=f"{_names(finals)} have the same {len(everything)} rows",
    )


def stale(writes: Collection[Operation], reads: Collection[Operation], begin: float) -> Check:
    """Fail when a read lacks a write that was acknowledged before the read was invoked."""
    acknowledged = _acknowledged(writes)
    judged, wrong = 0, []
    for read in reads:
        due = {value: at for value, at in acknowledged.items() if at < read.invoked}
        if read.outcome != "ok" or not due:
            continue
        judged += 1
        unseen = _unseen(due, read.result)
        if unseen:
            # The one that was known for longest makes the pair that is easiest to believe.
            oldest = min(unseen, key=lambda value: due[value])
            wrong.append(
                f"the read at {read.invoked - begin:.2f} s lacks {listed(unseen)} "
                f"({oldest} was acknowledged at {due[oldest] - begin:.2f} s)"
            )
    told = "; ".join(wrong[:_TOLD])
    return answer(
        "stale reads",
        wrong=told and f"{len(wrong)} of {judged} reads: {told}",
        doubt="" if judged else "no read was answered after a write was acknowledged",
        right=f"each of {judged} reads saw all that was acknowledged before it",
    )


def _acknowledged(writes: Collection[Operation]) -> dict[int, float]:
    """When each value was acknowledged."""
    return {one.value: one.completed for one in writes if one.outcome == "ok"}


def _unseen(due: Collection[int], result: Any) -> set[int]:
    if result is None:
        return set(due)
    if isinstance(result, int):  # The largest: what is larger was not there.
        return {value for value in due if value > result}
    return set(due) - set(result)


def _read(finals: Finals) -> dict[str, Collection[int]]:
    return {node: values for node, values in finals.items() if values is not None}


def _doubt(finals: Finals) -> str:
    unread = ", ".join(sorted(finals.keys() - _read(finals).keys()))
    if unread:
        return f"{unread} could not be read in the end"
    return "" if finals else "no member was read in the end"


def _names(finals: Finals) -> str:
    return ", ".join(sorted(finals))
