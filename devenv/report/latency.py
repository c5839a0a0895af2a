"""What clients lived through during a fault, as strips that share one time axis."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from devenv.report import svg, text
from devenv.report.results import Check, Evidence, Point, Series, Window
from devenv.report.scale import Scale, latency_axis, time_axis

#: Pixels: a strip, its band at the top for what failed, and the rest for latencies.
HEIGHT, BAND, FOOT = 78, 16, 6
_FAULT_HEIGHT = 20
#: Gaps of a strip that have their length beside them, the longest first.
_LABELLED = 4
#: What a label needs of the width, at least.
_ROOM = 0.09


@dataclass(frozen=True)
class Strip:
    """One client.

    :param verdict: of the check of its longest gap; empty if nobody asked.
    :param counts: operations by outcome.
    :param median, high: seconds; None without an ``ok``.
    """

    client: str
    verdict: str
    longest: float
    budget: float | None
    counts: Counter[str]
    median: float | None
    high: float | None
    axis: Markup
    plot: Markup


@dataclass(frozen=True)
class Fault:
    """One fault, in its place on the time axis."""

    words: str
    plot: Markup


@dataclass(frozen=True)
class Figure:
    """All of a scenario's evidence that has times. `end` seconds long."""

    faults: tuple[Fault, ...]
    strips: tuple[Strip, ...]
    axis: Markup
    end: float


def draw(evidence: Evidence) -> Figure:
    """The figure of what a scenario recorded."""
    time = time_axis(_end(evidence))
    verdicts = {check.name: check for check in evidence.checks}
    return Figure(
        faults=tuple(Fault(one.fault, _fault(one, time)) for one in evidence.windows),
        strips=tuple(
            _strip(series, evidence.windows, time, verdicts.get(f"longest gap of {series.client}"))
            for series in evidence.series
        ),
        axis=_time_labels(time),
        end=time.high,
    )


def _end(evidence: Evidence) -> float:
    times = [window.healed for window in evidence.windows]
    for series in evidence.series:
        times += [point.at + point.latency for point in series.points]
        times += [end for _, end in series.gaps]
    return max((time for time in times if math.isfinite(time)), default=1.0)


def _strip(series: Series, windows: Sequence[Window], time: Scale, check: Check | None) -> Strip:
    points = [one for one in series.points if math.isfinite(one.at) and math.isfinite(one.latency)]
    took = sorted(one.latency for one in points if one.outcome == "ok")
    shown = latency_axis([one.latency for one in points if one.outcome != "failed"])
    longest = series.longest or (0.0, 0.0)
    said = (
        f"latency of {series.client} over {text.span(time.high)}; "
        f"longest gap {text.span(longest[1] - longest[0])}"
    )
    plot = svg.chart(
        *(_shade(window, time) for window in windows),
        *_grid(time, shown),
        *_gaps(series, time),
        _ok(points, time, shown),
        *marks("failed", points, time, shown),
        *marks("info", points, time, shown),
        *_gap_labels(series, time),
        height=HEIGHT,
        said=said,
    )
    return Strip(
        client=series.client,
        verdict=check.verdict if check else "",
        longest=longest[1] - longest[0],
        budget=series.budget,
        counts=Counter(one.outcome for one in series.points),
        median=took[len(took) // 2] if took else None,
        high=took[-(len(took) // 100) - 1] if took else None,
        axis=_latency_labels(shown),
        plot=plot,
    )


# -- points --------------------------------------------------------------------------------


def thin(points: Iterable[Point], time: Scale) -> dict[int, tuple[float, float]]:
    """The least and the greatest latency of the ``ok`` points in each column that has any."""
    found: dict[int, tuple[float, float]] = {}
    for point in points:
        if point.outcome == "ok":
            column = svg.column(time.place(point.at))
            least, most = found.get(column, (point.latency, point.latency))
            found[column] = min(least, point.latency), max(most, point.latency)
    return found


def _ok(points: Iterable[Point], time: Scale, shown: Scale) -> Markup:
    """One path for all: a line of no length with round ends is a dot, however it is stretched."""
    dots, values = [], []
    for column, (least, most) in sorted(thin(points, time).items()):
        low, high = svg.number(_height(least, shown)), svg.number(_height(most, shown))
        dots.append(
            f"M{column} {high}h0" if low == high else f"M{column} {high}h0M{column} {low}h0"
        )
        values.append(f"{column} {most:.3g}")
    # Read by the page's script, which shows the values under the pointer.
    path = svg.tag("path", class_="ok", d="".join(dots), data_values=",".join(values))
    return svg.stretched(path, height=HEIGHT)


def marks(outcome: str, points: Iterable[Point], time: Scale, shown: Scale) -> list[Markup]:
    """A mark for each point that is not ``ok``; those at the same place share one that counts."""
    same: dict[tuple[int, int], list[Point]] = {}
    for point in points:
        if point.outcome == outcome:
            height = BAND / 2 if outcome == "failed" else _height(point.latency, shown)
            same.setdefault((svg.column(time.place(point.at)), round(height)), []).append(point)
    found = []
    for (column, top), ones in sorted(same.items()):
        waited = text.latency(max(one.latency for one in ones))
        times = "" if len(ones) == 1 else f"{len(ones)} \N{MULTIPLICATION SIGN} "
        said = f"{times}{outcome} at {min(one.at for one in ones):.2f} s after {waited}"
        mark = svg.tag(
            "use",
            svg.tag("title", said),
            href=f"#mark-{outcome}",
            class_=outcome,
            x=svg.percent((column + 0.5) / svg.COLUMNS),
            y=top,
            data_count=len(ones),
        )
        found.append(mark)
    return found


def _height(latency: float, shown: Scale) -> float:
    """Pixels from the top."""
    return HEIGHT - FOOT - shown.place(latency) * (HEIGHT - FOOT - BAND - 9)


# -- gaps and faults -----------------------------------------------------------------------


def _gaps(series: Series, time: Scale) -> list[Markup]:
    found = []
    for begin, end in series.gaps:
        over = series.budget is not None and end - begin > series.budget
        said = f"no success from {begin:.2f} s to {end:.2f} s: {text.span(end - begin)}"
        if series.budget is not None:
            said += f", of {text.span(series.budget)} that are allowed"
        left, right = time.place(begin), time.place(end)
        box = {"x": svg.percent(left), "width": svg.percent(right - left)}
        kind = "gap over" if over else "gap"
        found.append(
            svg.tag(
                "g",
                svg.tag("title", said),
                svg.tag("rect", class_="area", y=BAND, height=HEIGHT - BAND, **box),
                svg.tag("rect", class_="bar", y=HEIGHT - 4, height=4, **box),
                class_=kind,
            )
        )
        if series.budget is not None and begin + series.budget <= time.high:
            place = svg.percent(time.place(begin + series.budget))
            low = HEIGHT - 0.5
            found.append(
                svg.tag(
                    "g",
                    svg.tag("title", f"the budget: {text.span(series.budget)}"),
                    svg.tag(
                        "line", x1=svg.percent(left), x2=place, y1=low, y2=low, class_="allowed"
                    ),
                    svg.tag("line", x1=place, x2=place, y1=HEIGHT - 11, y2=HEIGHT),
                    class_="budget",
                )
            )
    return found


def _gap_labels(series: Series, time: Scale) -> list[Markup]:
    """The lengths of the longest gaps, where there is room for them."""
    found: list[Markup] = []
    taken: list[float] = []
    for begin, end in sorted(series.gaps, key=lambda gap: gap[0] - gap[1])[:_LABELLED]:
        middle = (time.place(begin) + time.place(end)) / 2
        if any(abs(middle - other) < _ROOM for other in taken):
            continue
        taken.append(middle)
        over = series.budget is not None and end - begin > series.budget
        near = _anchor(middle)
        words = text.span(end - begin)
        kind = "length over" if over else "length"
        place = svg.percent(middle)
        found.append(svg.tag("text", words, x=place, y=HEIGHT - 14, class_=kind, **near))
    return found


def _shade(window: Window, time: Scale) -> Markup:
    """The fault behind a strip: from the time it was asked for, darker once it was seen to hold."""
    begin, held, healed = map(time.place, (window.begin, window.held, window.healed))
    lines = [
        svg.tag("line", class_=name, x1=place, x2=place, y1=0, y2="100%")
        for name, at in (("begin", begin), ("held", held), ("healed", healed))
        for place in [svg.percent(at)]
    ]
    boxes = [
        svg.tag("rect", class_=name, x=svg.percent(first), width=svg.percent(max(0, last - first)),
                y=0, height="100%")
        for name, first, last in (("asked", begin, held), ("holds", held, healed))
    ]  # fmt: skip
    return svg.tag("g", *boxes, *lines, class_="window")


def _fault(window: Window, time: Scale) -> Markup:
    begin, healed = time.place(window.begin), time.place(window.healed)
    times = {"begin": window.begin, "held": window.held, "healed": window.healed}
    words = " \N{MIDDLE DOT} ".join(f"{name} {at:.1f}" for name, at in times.items()) + " s"
    full = f"{window.fault}; {words}"
    # Where there is most room: after it, before it, or in it.
    rooms = {
        (healed, "start", 6): 1 - healed,
        (begin, "end", -6): begin,
        ((begin + healed) / 2, "middle", 0): healed - begin,
    }
    place, anchor, shift = max(rooms, key=lambda one: rooms[one])
    x, y = svg.percent(place), _FAULT_HEIGHT - 6
    label = svg.tag("text", words, x=x, y=y, dx=shift, text_anchor=anchor, class_="tick times")
    group = svg.tag("g", svg.tag("title", full), _shade(window, time), label)
    return svg.chart(group, height=_FAULT_HEIGHT, said=full, class_="plot fault")


# -- axes ----------------------------------------------------------------------------------


def _grid(time: Scale, shown: Scale) -> list[Markup]:
    upright = [svg.percent(time.place(tick)) for tick in time.ticks]
    level = [_height(tick, shown) for tick in shown.ticks]
    return [
        *(svg.tag("line", class_="grid", x1=x, x2=x, y1=0, y2="100%") for x in upright),
        *(svg.tag("line", class_="grid", x1=0, x2="100%", y1=y, y2=y) for y in level),
        svg.tag("line", class_="band", x1=0, x2="100%", y1=BAND, y2=BAND),
    ]


def _latency_labels(shown: Scale) -> Markup:
    labels = [
        svg.tag("text", "0" if tick == 0 else text.latency(tick), x="100%", dx=-6, class_="tick",
                y=min(_height(tick, shown) + 3.5, HEIGHT - 1.0), text_anchor="end")
        for tick in shown.ticks
    ]  # fmt: skip
    failed = svg.tag("text", "failed", x="100%", dx=-6, y=11, text_anchor="end", class_="tick")
    said = "logarithmic scale" if shown.log else "linear scale"
    return svg.chart(*labels, failed, height=HEIGHT, said=said, class_="axis")


def _time_labels(time: Scale) -> Markup:
    labels = []
    for tick in time.ticks:
        place = time.place(tick)
        x = svg.percent(place)
        labels.append(svg.tag("line", class_="grid", x1=x, x2=x, y1=0, y2=4))
        said = f"{svg.number(tick)} s"
        labels.append(svg.tag("text", said, x=x, y=15, class_="tick", **_anchor(place)))
    return svg.chart(*labels, height=20, said=f"0 to {text.span(time.high)}", class_="plot time")


def _anchor(place: float) -> dict[str, str]:
    """Words at the edges stay within."""
    if place < 0.03:
        return {"text_anchor": "start"}
    return {"text_anchor": "end" if place > 0.97 else "middle"}
