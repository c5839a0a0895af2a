"""Charts: sensible labels, and no failure is ever left out."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devenv.report import gantt, latency, overview, svg, text
from devenv.report.results import Check, Evidence, Point, Result, Series, Window
from devenv.report.scale import Scale, latency_axis, time_axis
from devenv.report.summary import Gap
from devenv.report.timeline import Deploy, Ran

SECONDS = st.floats(1e-6, 1e4)
POINTS = st.lists(
    st.builds(
        Point,
        st.floats(0, 600) | st.integers(0, 5),  # several at the same time, too
        st.floats(0, 60),
        st.sampled_from(["ok", "failed", "info"]),
    ),
    max_size=60,
)
WINDOW = Window("kill haproxy on ctl1", 10.0, 10.5, 20.0)


def parse(markup: str) -> ElementTree.Element:
    """Well-formed, or an error."""
    return ElementTree.fromstring(f"<g>{markup}</g>")


def count(markup: str, kind: str) -> int:
    """The points that marks of this kind stand for."""
    found = parse(markup).iterfind(f".//use[@class='{kind}']")
    return sum(int(mark.get("data-count", 0)) for mark in found)


# -- axes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "ticks"),
    [
        (0.9, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        (9.5, [0, 2, 4, 6, 8]),
        (31, [0, 5, 10, 15, 20, 25, 30]),
        (100, [0, 15, 30, 45, 60, 75, 90]),
        (400, [0, 60, 120, 180, 240, 300, 360]),
        (20000, [0, 3600, 7200, 10800, 14400, 18000]),
    ],
)
def test_times_are_counted_in_good_steps(end: float, ticks: list[float]) -> None:
    assert time_axis(end).ticks == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("values", "low", "high", "log"),
    [
        ([0.080, 0.2], 0, 0.2, False),
        ([0.002, 0.9], 0.001, 1.0, True),
        ([0.0, 3.0], 1e-5, 10.0, True),
        ([], 0, 0.001, False),
    ],
)
def test_latencies_that_differ_much_are_logarithmic(
    values: list[float], low: float, high: float, log: bool
) -> None:
    axis = latency_axis(values)
    assert (axis.low, axis.high, axis.log) == (pytest.approx(low), pytest.approx(high), log)


@given(st.lists(SECONDS))
def test_every_latency_and_label_is_on_its_axis(values: list[float]) -> None:
    axis = latency_axis(values)
    assert 1 < len(axis.ticks) <= 4
    for value in [*values, *axis.ticks]:
        assert 0 <= axis.place(value) <= 1
    inside = [value for value in values if value >= 1e-5]
    assert all(axis.low <= value <= axis.high * (1 + 1e-9) for value in inside)
    places = [axis.place(tick) for tick in axis.ticks]
    assert places == sorted(set(places))


@given(st.floats(0, 1e6))
def test_the_time_axis_has_few_labels(end: float) -> None:
    axis = time_axis(end)
    assert axis.high >= end
    assert 1 <= len(axis.ticks) <= 10 and axis.ticks[-1] <= axis.high * (1 + 1e-9)


@given(st.lists(SECONDS, min_size=1), st.none() | SECONDS)
def test_the_axis_of_gaps_is_ascending(seconds: list[float], budget: float | None) -> None:
    gaps = [Gap(one, "c", budget, Result("t")) for one in seconds]
    axis = overview.gap_axis(gaps)
    assert axis.low < axis.high and axis.ticks == tuple(sorted(set(axis.ticks)))
    assert 1 <= len(axis.ticks) <= 7
    parse(overview.draw(gaps, axis))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0004, "0.4 ms"), (0.0123, "12 ms"), (0.9999, "1 s"), (2.06, "2.1 s"), (31.4, "31 s")],
)
def test_latencies_in_words(seconds: float, said: str) -> None:
    assert text.latency(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.321, "0.32 s"), (9.999, "10.0 s"), (99.96, "1 min 40 s"), (119.7, "2 min 00 s"),
     (3599.9, "1 h 00 min"), (3720, "1 h 02 min")],
)  # fmt: skip
def test_spans_in_words(seconds: float, said: str) -> None:
    assert text.span(seconds) == said


# -- latency ---------------------------------------------------------------------------------


@given(POINTS)
def test_thinning_keeps_every_failure_and_the_worst_of_each_column(points: list[Point]) -> None:
    evidence = Evidence((WINDOW,), (Series("rows", tuple(points)),))
    figure = latency.draw(evidence)
    (strip,) = figure.strips
    for kind in ("failed", "info"):
        assert count(strip.plot, kind) == sum(one.outcome == kind for one in points)
    axis = Scale(0.0, figure.end, ())
    kept = latency.thin(points, axis)
    worst: dict[int, float] = {}
    for one in points:
        if one.outcome == "ok":
            column = svg.column(axis.place(one.at))
            worst[column] = max(worst.get(column, 0.0), one.latency)
    assert {column: most for column, (_, most) in kept.items()} == worst
    assert strip.plot.count('class="ok"') == 1


def test_ten_thousand_points_stay_usable() -> None:
    points = [
        Point(at / 100, 0.002 + at % 7 / 1000, "failed" if at % 50 == 0 else "ok")
        for at in range(10_000)
    ]
    points[5_000] = Point(50.0, 9.0, "ok")
    (strip,) = latency.draw(Evidence(series=(Series("rows", tuple(points)),))).strips
    assert len(strip.plot) < 100_000
    assert count(strip.plot, "failed") == 199
    assert re.search(r"\b(499|500|501) 9[,\"]", strip.plot), "the slowest of all"


def test_a_strip_tells_of_its_gaps_and_its_budget() -> None:
    points = tuple(Point(at / 10, 0.01, "ok") for at in range(300) if not 100 <= at < 140)
    series = Series("rows", points, ((9.9, 14.0),), budget=3.0)
    check = Check("longest gap of rows", "fail", "4.10 s")
    figure = latency.draw(Evidence((WINDOW,), (series,), (check,)))
    (strip,) = figure.strips
    assert (strip.verdict, strip.longest, strip.budget) == ("fail", pytest.approx(4.1), 3.0)
    drawn = parse(strip.plot)
    (gap,) = drawn.iterfind(".//g[@class='gap over']")
    area = gap.find("rect")
    assert area is not None
    begin, width = (float(str(area.get(name)).rstrip("%")) for name in ("x", "width"))
    assert begin == pytest.approx(9.9 / figure.end * 100, abs=0.01)
    assert width == pytest.approx(4.1 / figure.end * 100, abs=0.02)
    lengths = [one.text for one in drawn.iterfind(".//text") if "length" in str(one.get("class"))]
    assert lengths == ["4.10 s"]
    (budget,) = drawn.iterfind(".//g[@class='budget']/line[2]")
    place = float(str(budget.get("x1")).rstrip("%"))
    assert place == pytest.approx(12.9 / figure.end * 100, abs=0.01)


def test_a_gap_within_its_budget_is_not_marked_as_over() -> None:
    series = Series("rows", (Point(0, 0.1, "ok"),), ((1.0, 2.0),), budget=3.0)
    (strip,) = latency.draw(Evidence((WINDOW,), (series,))).strips
    assert 'class="gap"' in strip.plot and "gap over" not in strip.plot


def test_a_fault_is_shaded_from_its_begin_to_its_end_in_every_strip() -> None:
    series = tuple(Series(name, (Point(39.9, 0.1, "ok"),)) for name in ("a", "b"))
    figure = latency.draw(Evidence((WINDOW,), series))
    for plot in [strip.plot for strip in figure.strips] + [fault.plot for fault in figure.faults]:
        boxes = {str(one.get("class")): one for one in parse(plot).iterfind(".//rect")}
        assert (boxes["asked"].get("x"), boxes["holds"].get("x")) == ("25%", "26.25%")
        lines = {str(one.get("class")): one.get("x1") for one in parse(plot).iterfind(".//g/line")}
        assert lines == {"begin": "25%", "held": "26.25%", "healed": "50%"}
    assert "begin 10.0 · held 10.5 · healed 20.0 s" in figure.faults[0].plot


def test_a_client_that_never_succeeded() -> None:
    series = Series("rows", (Point(1, 2.0, "failed"), Point(4, 1.0, "info")))
    (strip,) = latency.draw(Evidence(series=(series,))).strips
    assert (strip.median, strip.high) == (None, None)
    assert strip.counts == {"failed": 1, "info": 1}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_left_out(bad: float) -> None:
    series = Series("rows", (Point(bad, 1.0, "ok"), Point(1.0, bad, "ok"), Point(2.0, 1.0, "ok")))
    (strip,) = latency.draw(Evidence(series=(series,))).strips
    assert "nan" not in strip.plot and "inf" not in strip.plot


# -- the deploy ------------------------------------------------------------------------------


def test_a_row_a_step_in_the_order_of_nodes() -> None:
    steps = (
        Ran("store", "", "image", "", 0, 2, "done"),
        Ran("api", "ctl1", "container", "it is missing", 2, 9, "failed", "exit <1>"),
        Ran("db", "ctl1", "job", "", 3, 4, "done", critical=True),
        Ran("guest", "cmp1", "job", "api failed", 10, 10, "skipped"),
    )
    chart = gantt.draw(Deploy(0, 10, steps))
    assert [(one.node, one.count) for one in chart.groups] == [("", 1), ("ctl1", 2), ("cmp1", 1)]
    assert chart.types == ("image", "job", "container")
    rows = list(parse(chart.groups[1].plot).iterfind(".//g"))
    assert [row.get("class") for row in rows] == [
        "step type-container failed", "step type-job done critical",
    ]  # fmt: skip
    title = rows[0].find("title")
    assert title is not None and title.text is not None
    assert title.text.splitlines()[-2:] == ["it is missing", "exit <1>"]
    bar = rows[0].find("rect")
    assert bar is not None and (bar.get("x"), bar.get("width")) == ("20%", "70%")
    assert chart.most == 2


def test_a_deploy_without_duration_is_drawn() -> None:
    chart = gantt.draw(Deploy(0, 0.0, (Ran("a", "n", "odd", "", 0, 0, "done"),)))
    assert chart.types == ("odd",)
    assert parse(chart.curve) is not None


@given(st.text(), st.text())
def test_any_words_make_well_formed_markup(words: str, value: str) -> None:
    element = parse(svg.tag("text", words, title=value))[0]
    expected = text.clean(words).replace("\r\n", "\n").replace("\r", "\n")
    assert (element.text or "") == expected
