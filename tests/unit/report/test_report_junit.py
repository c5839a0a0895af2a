"""JUnit has what the page has, and any reader of XML can read it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
import sample
from hypothesis import given
from hypothesis import strategies as st

from devenv.report import junit
from devenv.report.results import Check, Evidence, Figure, Outcome, Result, Run, Series, Window


def case(result: Result) -> ElementTree.Element:
    """The test case of one result."""
    found = ElementTree.fromstring(junit.render(Run("e", [result]))).find("testsuite/testcase")
    assert found is not None
    return found


def properties(element: ElementTree.Element) -> dict[str | None, str | None]:
    return {one.get("name"): one.get("value") for one in element.iterfind("properties/property")}


def test_a_suite_for_each_scenario() -> None:
    run = sample.run()
    root = ElementTree.fromstring(junit.render(run))
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == list(
        dict.fromkeys(one.scenario for one in run.results)
    )
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "15", "failures": "2", "errors": "0", "skipped": "1",
    }  # fmt: skip
    assert sum(int(str(suite.get("tests"))) for suite in suites) == 15
    assert suites[0].get("timestamp") == "2026-03-01T14:04:00"
    assert properties(suites[0])["release"] == "2026.1"
    assert [one.get("name") for one in suites[1]] == [
        None, "test_primary[kill]", "test_primary[pause]", "test_primary[power_off]"
    ]  # fmt: skip


def test_figures_are_properties() -> None:
    figures = [Figure("up", 2.25, "s"), Figure("touched", 0)]
    found = case(Result("failover/test_x.py::test_y", figures=figures, attempts=3))
    assert properties(found) == {"up [s]": "2.25", "touched": "0", "attempts": "3"}
    assert (found.get("classname"), found.get("name")) == ("failover.x", "test_y")
    assert [one.tag for one in found] == ["properties"], "a pass has nothing else to say"


@pytest.mark.parametrize(
    ("outcome", "tag", "type"),
    [
        ("failed", "failure", "failed"),
        ("unknown", "failure", "unknown"),
        ("error", "error", "error"),
    ],
)
def test_what_is_bad_is_told_with_its_detail(outcome: Outcome, tag: str, type: str) -> None:
    reason = "it broke\nassert 0"
    result = Result("t.py::t", outcome, 1.5, reason, "all of it", logs={"c/db": "x"})
    found = case(result)
    told = found.find(tag)
    assert told is not None
    assert (told.get("message"), told.text, told.get("type")) == ("it broke", "all of it", type)
    assert found.findtext("system-err") == "== c/db ==\nx\n"


def test_what_was_skipped_says_why() -> None:
    told = case(Result("t.py::t", "skipped", reason="no netem")).find("skipped")
    assert told is not None and told.get("message") == "no netem"


def test_checks_faults_and_gaps_are_in_the_output() -> None:
    evidence = Evidence(
        (Window("kill haproxy on ctl1", 1, 1.5, 9),),
        (Series("rows", (), ((1.0, 3.5),), 3.0),),
        (Check("lost rows", "unknown", "ctl1 could not be read in the end"),),
    )
    found = case(Result("t.py::t", evidence=evidence))
    assert found.findtext("system-out") == (
        "fault: kill haproxy on ctl1: begin 1.00 s, held 1.50 s, healed 9.00 s\n"
        "gap: rows: 2.50 s (budget 3.00 s)\n"
        "unknown: lost rows: ctl1 could not be read in the end"
    )
    told = found.find("failure")
    assert told is not None, "pytest passed it, the evidence does not"
    assert told.get("message") == "lost rows: ctl1 could not be read in the end"


@given(st.text(), st.text(), st.text())
def test_whatever_a_log_holds_the_file_is_read_again(name: str, log: str, reason: str) -> None:
    figures = [Figure(name, 1.0, reason)]
    result = Result(f"t.py::{name}", "failed", 1, reason, log, figures, logs={name: log})
    assert case(result).find("failure") is not None


def test_colours_of_a_terminal_are_left_out() -> None:
    told = case(Result("t.py::t", "failed", reason="\x1b[31mred\x1b[0m \x00")).find("failure")
    assert told is not None and told.get("message") == "red \ufffd"
