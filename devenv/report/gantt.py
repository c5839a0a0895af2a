"""A deploy as a chart: a row a step, the steps of a node together."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from devenv.report import svg, text
from devenv.report.scale import Scale, time_axis
from devenv.report.timeline import Deploy, Ran

#: Pixels of a row and of the curve above all rows.
ROW, CURVE = 13, 44
#: Each type of step: pixels of its bar. What is in no list is drawn like a container.
_BARS = {"ready": 3, "node": 9, "image": 9, "job": 9, "container": 9}


@dataclass(frozen=True)
class Group:
    """The steps of one node.

    :param seconds: of all its steps together.
    """

    node: str
    count: int
    seconds: float
    plot: Markup


@dataclass(frozen=True)
class Chart:
    """A deploy, drawn.

    :param curve: how many steps ran at a time.
    :param types: of steps, in the order of the legend.
    """

    curve: Markup
    most: int
    axis: Markup
    groups: tuple[Group, ...]
    types: tuple[str, ...]


def draw(deploy: Deploy) -> Chart:
    """The chart of `deploy`. Nodes in the order in which their first step began."""
    time = time_axis(deploy.wall)
    nodes: dict[str, list[Ran]] = {}
    for step in deploy.steps:
        nodes.setdefault(step.node, []).append(step)
    groups = [
        Group(node, len(steps), sum(step.seconds for step in steps), _rows(node, steps, time))
        for node, steps in nodes.items()
    ]
    known = [type for type in _BARS if any(step.type == type for step in deploy.steps)]
    others = sorted({step.type for step in deploy.steps} - set(known))
    running = deploy.running()
    most = max((count for _, count in running), default=0)
    curve = _curve(running, most, time)
    return Chart(curve, most, _axis(time), tuple(groups), (*known, *others))


def _rows(node: str, steps: list[Ran], time: Scale) -> Markup:
    grid = [
        svg.tag("line", class_="grid", x1=x, x2=x, y1=0, y2="100%")
        for x in (svg.percent(time.place(tick)) for tick in time.ticks)
    ]
    rows = [_row(step, index * ROW + 1, time) for index, step in enumerate(steps)]
    said = f"{text.count(len(steps), 'step')} on {node or 'no node'}"
    return svg.chart(*grid, *rows, height=len(steps) * ROW + 2, said=said, class_="plot gantt")


def _row(step: Ran, top: float, time: Scale) -> Markup:
    begin, end = time.place(step.begin), time.place(step.end)
    height = _BARS.get(step.type, 9)
    label = f"{step.step} {text.span(step.seconds)}"
    if step.outcome != "done":
        label = f"{step.step}: {step.outcome}"
    # Beside the bar: after it, before it where the chart ends, in it where it fills the chart.
    if end <= 0.72:
        where = {"x": svg.percent(end), "dx": 5, "text_anchor": "start"}
    elif begin >= 0.25:
        where = {"x": svg.percent(begin), "dx": -5, "text_anchor": "end"}
    else:
        where = {"x": svg.percent(begin), "dx": 5, "text_anchor": "start", "class_": "inside"}
    words = [f"{step.step} ({step.type}{f' on {step.node}' if step.node else ''})"]
    words.append(f"{step.begin:.2f} s to {step.end:.2f} s: {text.span(step.seconds)}")
    words += [part for part in (step.why, step.error) if part]
    bar = svg.tag(
        "rect",
        class_="bar",
        x=svg.percent(begin),
        y=top + (ROW - 2 - height) / 2,
        # What takes no time is seen all the same.
        width=svg.percent(max(end - begin, 0.002)),
        height=height,
    )
    classes = ["step", f"type-{step.type}", step.outcome, *["critical"] * step.critical]
    title = svg.tag("title", "\n".join(words))
    name = svg.tag("text", label, y=top + 9, **where)
    return svg.tag("g", title, bar, name, class_=" ".join(classes))


def _curve(running: list[tuple[float, int]], most: int, time: Scale) -> Markup:
    """Steps at a time, as an area."""

    def height(count: int) -> str:
        return svg.number(CURVE - 2 - count / max(most, 1) * (CURVE - 6))

    path = [f"M0 {CURVE - 2}"]
    for at, count in running:
        x = svg.number(time.place(at) * svg.COLUMNS)
        path.append(f"H{x}V{height(count)}")
    path.append(f"V{CURVE - 2}Z")
    area = svg.tag("path", class_="curve", d="".join(path))
    said = f"steps at a time, {most} at most"
    return svg.chart(svg.stretched(area, height=CURVE), height=CURVE, said=said)


def _axis(time: Scale) -> Markup:
    labels = []
    for tick in time.ticks:
        place = time.place(tick)
        anchor = "start" if place < 0.03 else "end" if place > 0.97 else "middle"
        x = svg.percent(place)
        said = f"{svg.number(tick)} s"
        labels.append(svg.tag("text", said, x=x, y=13, text_anchor=anchor, class_="tick"))
    return svg.chart(*labels, height=18, said=f"0 to {text.span(time.high)}", class_="plot time")
