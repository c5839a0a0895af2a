"""From checks to a verdict, and from a history to the evidence that a report shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from devenv.report.results import Check, Evidence, Point, Series, Verdict, Window
from devenv.testing.checkers.gaps import TOLERANCE, availability
from devenv.testing.history import History

_ORDER: tuple[Verdict, ...] = ("fail", "unknown", "pass")


def combine(checks: Iterable[Check]) -> Verdict:
    """The worst of all verdicts; unknown if nothing was checked."""
    found = {check.verdict for check in checks}
    return next((verdict for verdict in _ORDER if verdict in found), "unknown")


def explain(checks: Iterable[Check]) -> str:
    """One line a check, failures first, for the message of an assertion."""
    ranked = sorted(checks, key=lambda check: _ORDER.index(check.verdict))
    lines = [f"{check.verdict}: {check.name}: {check.said}" for check in ranked]
    return "\n".join(lines) or "unknown: nothing was checked"


def series(
    history: History,
    windows: Sequence[Window],
    begin: float,
    *,
    tolerance: float = TOLERANCE,
    end: float | None = None,
) -> tuple[Series, ...]:
    """What each client lived through, in seconds since `begin`.

    A client with several kinds of operations has a series for each, named ``CLIENT KIND``: a list
    in 0.1 s says nothing about a boot in 10 s. Parameters are those of :func:`availability`.
    """
    found = []
    for client in history.clients():
        every = sorted({one.kind for one in history.of(client)})
        for kinds in [[kind] for kind in every] if len(every) > 1 else [[]]:
            lived = availability(
                history, client, windows, kinds=kinds, tolerance=tolerance, end=end
            )
            points = tuple(
                Point(one.invoked - begin, one.seconds, one.outcome)
                for one in history.of(client, *kinds)
            )
            gaps = tuple((first - begin, last - begin) for first, last in lived.outages)
            found.append(Series(lived.client, points, gaps))
    return tuple(found)


def evidence(
    history: History,
    windows: Sequence[Window],
    checks: Iterable[Check],
    begin: float,
    *,
    tolerance: float = TOLERANCE,
    end: float | None = None,
) -> Evidence:
    """All that a report shows of a scenario, in seconds since `begin`.

    :param windows: in monotonic time, like `begin` and the history.
    """
    return Evidence(
        windows=tuple(
            replace(
                window,
                begin=window.begin - begin,
                held=window.held - begin,
                healed=window.healed - begin,
            )
            for window in sorted(windows, key=lambda window: window.begin)
        ),
        series=series(history, windows, begin, tolerance=tolerance, end=end),
        checks=tuple(checks),
    )
