"""The results as JUnit XML, for gates: the format that pytest, Jenkins and Zuul's tools share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from devenv.report import facts, summary
from devenv.report.results import BAD, Result, Run
from devenv.report.text import clean

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def write(path: Path, run: Run) -> None:
    """Write `run` as JUnit, making the folder.

    :raises OSError: when it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(render(run))


def render(run: Run) -> bytes:
    """A suite for each scenario, a case for each test.

    Figures are properties, checks and faults are in system-out, logs of what failed in
    system-err. What is unknown is a failure of the type ``unknown``: JUnit has no word for it, and
    a gate must not let it pass.
    """
    from xml.etree import ElementTree

    root = ElementTree.Element("testsuites", name=clean(run.environment))
    _count(root, run.results)
    scenarios: dict[str, list[Result]] = {}
    for result in run.results:
        scenarios.setdefault(result.scenario, []).append(result)
    for name, results in scenarios.items():
        suite = ElementTree.SubElement(root, "testsuite", name=clean(name))
        _count(suite, results)
        if run.began:
            # Without an offset, as the schema wants it.
            at = datetime.fromtimestamp(run.began, UTC).replace(tzinfo=None)
            suite.set("timestamp", at.isoformat(timespec="seconds"))
        known = facts.parse(run.facts).known
        _properties(suite, [("environment", run.environment), *known])
        for result in results:
            _case(suite, result)
    ElementTree.indent(root)
    made: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return made + b"\n"


def _count(element: Element, results: list[Result]) -> None:
    counts = Counter(result.verdict for result in results)
    element.set("tests", str(len(results)))
    element.set("failures", str(counts["failed"] + counts["unknown"]))
    element.set("errors", str(counts["error"]))
    element.set("skipped", str(counts["skipped"]))
    element.set("time", f"{sum(result.seconds for result in results):.3f}")


def _case(suite: Element, result: Result) -> None:
    from xml.etree.ElementTree import SubElement

    case = SubElement(
        suite,
        "testcase",
        classname=clean(result.scenario.replace("/", ".")),
        name=clean(result.name),
        time=f"{result.seconds:.3f}",
    )
    figures = [
        (f"{figure.name} [{figure.unit}]" if figure.unit else figure.name, f"{figure.value:g}")
        for figure in result.figures
    ]
    attempts = [("attempts", str(result.attempts))] if result.attempts > 1 else []
    _properties(case, [*figures, *attempts])
    if result.verdict == "skipped":
        SubElement(case, "skipped", type="pytest.skip", message=clean(result.reason))
    elif result.verdict in BAD:
        name = "error" if result.verdict == "error" else "failure"
        told = SubElement(case, name, type=result.verdict, message=clean(_message(result)))
        told.text = clean(result.detail or result.reason)
    if said := "\n".join(_said(result)):
        SubElement(case, "system-out").text = clean(said)
    if result.logs:
        logs = (f"== {name} ==\n{lines.rstrip()}\n" for name, lines in result.logs.items())
        SubElement(case, "system-err").text = clean("\n".join(logs))


def _message(result: Result) -> str:
    if result.reason:
        return result.reason.partition("\n")[0]
    bad = [f"{one.name}: {one.said}" for one in summary.checks_of(result) if one.verdict != "pass"]
    return "; ".join(bad) or "nothing was checked"


def _said(result: Result) -> Iterable[str]:
    for window in result.evidence.windows if result.evidence else ():
        yield (
            f"fault: {window.fault}: begin {window.begin:.2f} s, held {window.held:.2f} s, "
            f"healed {window.healed:.2f} s"
        )
    for gap in summary.gaps_of(result):
        budget = "" if gap.budget is None else f" (budget {gap.budget:.2f} s)"
        yield f"gap: {gap.client}: {gap.seconds:.2f} s{budget}"
    for check in summary.checks_of(result):
        yield f"{check.verdict}: {check.name}: {check.said}"


def _properties(element: Element, values: Iterable[tuple[str, str]]) -> None:
    from xml.etree.ElementTree import SubElement

    properties = None
    for name, value in values:
        if properties is None:
            properties = SubElement(element, "properties")
        SubElement(properties, "property", name=clean(name), value=clean(value))
