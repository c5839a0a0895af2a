"""Messages: did what was acknowledged arrive, and nothing else?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable

from devenv.report.results import Check
from devenv.testing.checkers.words import answer, between, listed
from devenv.testing.history import History, Operation


def messages(
    history: History, begin: float, client: str = "messages", *, exactly_once: bool = False
) -> tuple[Check, ...]:
    """Judge a client that publishes messages, each once, and consumes until none is left.

    Both have the message as their value. A ``consume`` without one is a consumer that could not
    ask; one that is ``info`` got the message, and nobody knows about its acknowledgement.

    :param exactly_once: whether a message that came twice is a failure; at-least-once delivery,
        which is what an acknowledging consumer of RabbitMQ gets, allows it.
    """
    published, consumed = history.of(client, "publish"), history.of(client, "consume")
    return (
        lost(published, consumed, begin),
        phantom(published, consumed),
        duplicated(consumed, exactly_once=exactly_once),
    )


def lost(published: Collection[Operation], consumed: Collection[Operation], begin: float) -> Check:
    """Fail when an acknowledged message never came."""
    acknowledged = {one.value: one.completed for one in published if one.outcome == "ok"}
    missing = acknowledged.keys() - set(_seen(consumed))
    times = [acknowledged[value] for value in missing]
    doubt = _doubt(consumed) if acknowledged else "no message was acknowledged"
    return answer(
        "lost messages",
        # A consumer that never got anything may never have looked.
        wrong=f"never came: {listed(missing)} ({len(missing)} of {len(acknowledged)} acknowledged "
        f"messages, acknowledged {between(times, begin)})"
        if missing and not doubt
        else "",
        doubt=doubt,
        right=f"all of {len(acknowledged)} acknowledged messages came",
    )


def phantom(published: Collection[Operation], consumed: Collection[Operation]) -> Check:
    """Fail when a message came that nobody published, or whose publisher was told it failed."""
    possible = {one.value for one in published if one.outcome != "failed"}
    failed = {one.value for one in published} - possible
    seen = set(_seen(consumed))
    wrong = []
    if found := listed(seen - possible - failed):
        wrong.append(f"nobody published {found}")
    if found := listed(seen & failed):
        wrong.append(f"came although publishing failed: {found}")
    return answer(
        "phantom messages",
        wrong="; ".join(wrong),
        doubt=_doubt(consumed),
        right=f"each of {len(seen)} messages that came was published",
    )


def duplicated(consumed: Collection[Operation], *, exactly_once: bool = False) -> Check:
    """Count messages that were surely consumed more than once."""
    counts = Counter(_seen(one for one in consumed if one.outcome == "ok"))
    twice = [value for value, count in counts.items() if count > 1]
    said = f"{len(twice)} of {len(counts)} messages came more than once"
    if twice:
        said += f": {listed(twice)}"
    return answer(
        "duplicated messages",
        wrong=said if twice and exactly_once else "",
        doubt=_doubt(consumed),
        right=said,
    )


def _seen(consumed: Iterable[Operation]) -> list[Hashable]:
    """What came, acknowledged or not."""
    return [one.value for one in consumed if one.value is not None and one.outcome != "failed"]


def _doubt(consumed: Iterable[Operation]) -> str:
    came = any(one.outcome == "ok" for one in consumed)
    return "" if came else "no message was ever consumed"
