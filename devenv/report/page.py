"""The report: one HTML page that opens without a network."""

from __future__ import annotations

import base64
import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

import devenv
from devenv.core.errors import InputError
from devenv.report import facts, gantt, latency, overview, results, summary, text, timeline
from devenv.report.results import Result, Run
from devenv.report.scale import Scale
from devenv.report.summary import Gap
from devenv.report.timeline import Deploy

if TYPE_CHECKING:
    from jinja2 import Environment

#: What is in an environment's folder.
RESULTS, PAGE, JOURNAL = "results.json", "report.html", "journal.jsonl"

_TEMPLATES = Path(__file__).parent / "templates"
#: A test with more figures has a section of its own, and the first ones in the table.
_FIGURES = 3
_CHECK_ORDER = ("fail", "unknown", "pass")


@dataclass(frozen=True)
class Entry:
    """One test, as the page shows it.

    :param anchor: of its section; empty if the table says all there is.
    :param worst: the gap that used up most of its budget.
    :param gaps: the longest of each client, drawn; None without any.
    """

    result: Result
    anchor: str
    worst: Gap | None
    gaps: Markup | None
    checks: list[results.Check]
    figure: latency.Figure | None


def publish(environment_name: str, run: Run, journal_path: Path, folder: Path) -> Path:
    """Merge `run` into the results in `folder` and write them and the page there.

    Results there that cannot be read are replaced.

    :param journal_path: may not exist.
    :returns: the path of the page.
    :raises OSError: when a file cannot be written.
    """
    began = run.began or time.time() - run.seconds
    run = replace(run, environment=environment_name, began=began)
    path = folder / RESULTS
    with suppress(InputError):  # none yet, or of no use
        run = results.merge(results.read(path), run)
    results.write(path, run)
    return write(folder / PAGE, run, timeline.last_up(journal_path))


def write(path: Path, run: Run, deploy: Deploy | None = None) -> Path:
    """Write the page, making its folder.

    :raises OSError: when it cannot be written.
    """
    results.save(path, render(run, deploy))
    return path


def render(run: Run, deploy: Deploy | None = None) -> str:
    """The page. Every text is escaped; secrets are for the caller to hide beforehand."""
    gaps = [gap for result in run.results for gap in summary.gaps_of(result)]
    axis = overview.gap_axis(gaps) if gaps else None
    entries = [_entry(index, result, axis) for index, result in enumerate(run.results)]
    scenarios: dict[str, list[Entry]] = {}
    for entry in entries:
        scenarios.setdefault(entry.result.scenario, []).append(entry)
    style, script = _asset("page.css"), _asset("page.js")
    return _environment().get_template("page.html").render(
        run=run,
        summary=summary.summarise(run),
        facts=facts.parse(run.facts),
        scenarios=scenarios,
        entries=entries,
        axis=overview.labels(axis) if axis else None,
        deploy=deploy,
        chart=gantt.draw(deploy) if deploy else None,
        figures=_FIGURES,
        style=Markup(style),  # noqa: S704 (ours)
        script=Markup(script),  # noqa: S704 (ours)
        style_hash=_hash(style),
        script_hash=_hash(script),
        version=devenv.__version__,
    )  # fmt: skip


def _entry(index: int, result: Result, axis: Scale | None) -> Entry:
    evidence = result.evidence
    tells = evidence is not None or result.verdict in results.BAD or len(result.figures) > _FIGURES
    gaps = summary.gaps_of(result)
    checks = summary.checks_of(result)
    return Entry(
        result=result,
        anchor=f"test-{index + 1}" if tells else "",
        worst=summary.worst(gaps),
        gaps=overview.draw(gaps, axis) if gaps and axis else None,
        checks=sorted(checks, key=lambda check: _CHECK_ORDER.index(check.verdict)),
        figure=latency.draw(evidence)
        if evidence and (evidence.series or evidence.windows)
        else None,
    )


@cache
def _environment() -> Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_cleaned,
    )
    made.filters.update(span=text.span, latency=text.latency, moment=text.moment, count=text.count)
    made.globals.update(words=summary.WORDS, order=summary.ORDER, checked=summary.CHECKED)
    return made


def _cleaned(value: object) -> object:
    """What a template prints, as a page can hold it."""
    return text.clean(value) if type(value) is str else value


def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")


def _hash(asset: str) -> str:
    """As a Content-Security-Policy has it (W3C CSP Level 3, section 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(asset.encode()).digest()).decode()}"
