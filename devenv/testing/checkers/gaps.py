"""Availability: how long a client went without success, against how it was before the fault.

A success is the completion of an ``ok`` operation. A *gap* is the time from one success to the
next. The client's first invocation and the end of the run are edges like successes, so a client
that never succeeds again has a gap to the end. The *baseline* is the longest gap that ended
before the first fault began. Every later gap belongs to the fault, also the one in which the
fault began, in its full length. It is an *outage* if it is longer than the baseline by more than
the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from devenv.report.results import Check, Figure, Window
from devenv.testing.checkers.words import answer, between
from devenv.testing.history import History, Operation

#: Seconds by which a gap may exceed the baseline on a busy machine without being an outage.
TOLERANCE = 0.5


@dataclass(frozen=True)
class Availability:
    """How a client fared. Times are monotonic, in seconds.

    :param client: its name, with the kinds of operations if not all of them count.
    :param baseline: the longest gap before the fault; None if the client never succeeded then.
    :param gaps: all (begin, end) that belong to the fault.
    :param outages: those of `gaps` that the baseline does not explain.
    :param broken: why the baseline, and so all of this, says nothing; empty if it does.
    :param unwatched: faults during which the client made no attempt.
    :param blind: whether that is so for every fault.
    """

    client: str
    baseline: float | None
    gaps: tuple[tuple[float, float], ...] = ()
    outages: tuple[tuple[float, float], ...] = ()
    broken: str = ""
    unwatched: tuple[str, ...] = ()
    blind: bool = False

    @property
    def longest(self) -> float:
        """The longest gap, whether it is an outage or not."""
        return max((end - begin for begin, end in self.gaps), default=0.0)

    @property
    def total(self) -> float:
        """All outages together."""
        return sum(end - begin for begin, end in self.outages)

    def check(self, budget: float, begin: float) -> Check:
        """Fail when an outage lasted for more than `budget` seconds.

        Unknown when the client proves nothing: without a good baseline, without an attempt during
        a fault, or with a baseline that is itself too long for the budget.
        """
        name = f"longest gap of {self.client}"
        if self.broken or self.blind or self.baseline is None:
            doubt = self.broken or f"no attempt during {', '.join(self.unwatched)}"
            return Check(name, "unknown", doubt)
        longest = max(self.gaps, key=lambda gap: gap[1] - gap[0], default=(begin, begin))
        said = (
            f"{self.longest:.2f} s without success, {between(longest, begin)} "
            f"(budget {budget:.2f} s, without a fault {self.baseline:.2f} s, "
            f"{len(self.outages)} outages of {self.total:.2f} s in all)"
        )
        doubt = f"no attempt during {', '.join(self.unwatched)}" if self.unwatched else ""
        over = self.longest > budget
        if over and longest not in self.outages:
            doubt = f"{said}: too slow without a fault to judge this budget"
            over = False
        return answer(name, wrong=said if over else "", doubt=doubt, right=said)

    def figures(self) -> tuple[Figure, ...]:
        """What a table of runs compares; nothing when the baseline says nothing."""
        if self.broken or self.blind or self.baseline is None:
            return ()
        return (
            Figure(f"longest gap of {self.client}", self.longest, "s"),
            Figure(f"outages of {self.client} in all", self.total, "s"),
            Figure(f"longest gap of {self.client} without a fault", self.baseline, "s"),
        )


def availability(
    history: History,
    client: str,
    windows: Sequence[Window],
    *,
    kinds: Collection[str] = (),
    tolerance: float = TOLERANCE,
    end: float | None = None,
) -> Availability:
    """Measure a client against its own baseline.

    :param windows: the faults, in monotonic time.
    :param kinds: of operations that count; all if empty. Reads that go on can hide that writes
        do not, so choose them.
    :param end: when clients were told to stop. Without it a client that hung to the end, and so
        recorded nothing, looks as if it had stopped after its last operation.
    """
    operations = history.of(client, *kinds)
    label = " ".join((client, *sorted(kinds)))
    fault = min((window.begin for window in windows), default=math.inf)
    successes = sorted(one.completed for one in operations if one.outcome == "ok")
    before = [at for at in successes if at <= fault]
    broken = _broken(operations, before, fault)
    if not before:
        return Availability(label, None, broken=broken)
    first = operations[0].invoked
    baseline = max(later - earlier for earlier, later in pairwise([first, *before]))
    over = max([one.completed for one in operations] + ([] if end is None else [end]))
    edges = [before[-1], *(at for at in successes if at > fault), over]
    gaps = tuple(gap for gap in pairwise(edges) if gap[1] > gap[0])
    unwatched = tuple(
        window.fault for window in windows if not any(_during(one, window) for one in operations)
    )
    return Availability(
        label,
        baseline,
        gaps,
        tuple(gap for gap in gaps if gap[1] - gap[0] > baseline + tolerance),
        broken,
        unwatched,
        blind=len(unwatched) == len(windows),
    )


def _broken(operations: Sequence[Operation], before: Sequence[float], fault: float) -> str:
    """Why there is no baseline to compare with."""
    if not operations:
        return "made no attempt"
    if fault == math.inf:
        return "there was no fault"
    failed = [one for one in operations if one.outcome != "ok" and one.completed <= fault]
    said = f"{len(failed)} operations failed before the fault began"
    if failed and failed[0].error:
        said += f", the first with: {failed[0].error}"
    if not before:
        return f"never succeeded before the fault began{'; ' + said if failed else ''}"
    return f"the baseline is broken: {said}" if failed else ""


def _during(one: Operation, window: Window) -> bool:
    return one.invoked <= window.healed and one.completed > window.begin
