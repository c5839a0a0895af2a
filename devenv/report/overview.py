"""What each fault cost, all scenarios on one axis."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from devenv.report import summary, svg, text
from devenv.report.scale import Scale
from devenv.report.summary import Gap

#: Pixels of a row.
_HEIGHT = 22
#: Labels, in seconds; what is shorter or longer is drawn at the end.
_TICKS = tuple(step * 10.0**power for power in range(-1, 4) for step in (1, 2, 5))
#: More labels than these are too many.
_MOST = 7


def gap_axis(gaps: Sequence[Gap]) -> Scale:
    """Logarithmic: gaps of half a second and of a minute are both there."""
    seconds = [gap.seconds for gap in gaps]
    high = max([*seconds, *(gap.budget or 0 for gap in gaps), 2 * _TICKS[0]])
    first = max((tick for tick in _TICKS if tick <= min(seconds, default=1)), default=_TICKS[0])
    last = min((tick for tick in _TICKS if tick >= high), default=_TICKS[-1])
    ticks = [tick for tick in _TICKS if first <= tick <= last]
    if len(ticks) > _MOST:
        ticks = [tick for index, tick in enumerate(_TICKS) if index % 3 == 0 and tick in ticks]
    return Scale(first, max(last, 2 * first), tuple(ticks), log=True)


def draw(gaps: Sequence[Gap], axis: Scale) -> Markup:
    """The longest gap of each client of one test, and the budget of the worst; `gaps` has some."""
    parts = [
        svg.tag("line", class_="grid", x1=x, x2=x, y1=0, y2="100%")
        for x in (svg.percent(axis.place(tick)) for tick in axis.ticks)
    ]
    worst = summary.worst(gaps)
    assert worst is not None
    if worst.budget is not None:
        place = svg.percent(axis.place(worst.budget))
        line = svg.tag("line", x1=place, x2=place, y1=3, y2=_HEIGHT - 3)
        title = svg.tag("title", f"budget of {worst.client}: {text.span(worst.budget)}")
        parts.append(svg.tag("g", title, line, class_="budget"))
    for gap in sorted(gaps, key=lambda gap: gap is worst):
        said = f"{gap.client}: {text.span(gap.seconds)}"
        if gap.budget is not None:
            said += f" of {text.span(gap.budget)} that are allowed"
        kind = "worst" if gap is worst else "other"
        place = svg.percent(axis.place(gap.seconds))
        title = svg.tag("title", said)
        if gap.over:  # another shape, not only another colour
            use = svg.tag("use", href="#gap-over", x=place, y=_HEIGHT / 2)
            parts.append(svg.tag("g", title, use, class_=f"{kind} over"))
        else:
            size = 5 if gap is worst else 3
            parts.append(svg.tag("circle", title, class_=kind, cx=place, cy=_HEIGHT / 2, r=size))
    said = f"{text.span(worst.seconds)} without success for {worst.client}"
    return svg.chart(*parts, height=_HEIGHT, said=said, class_="plot gaps")


def labels(axis: Scale) -> Markup:
    """The axis itself."""
    found = []
    for tick in axis.ticks:
        place = axis.place(tick)
        anchor = "start" if place < 0.05 else "end" if place > 0.95 else "middle"
        said = f"{svg.number(tick)} s"
        x = svg.percent(place)
        found.append(svg.tag("text", said, x=x, y=11, text_anchor=anchor, class_="tick"))
    return svg.chart(*found, height=15, said="seconds, logarithmic", class_="plot time")
