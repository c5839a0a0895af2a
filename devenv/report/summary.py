"""All of a run in one glance: verdicts, and what the faults cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from devenv.report import text
from devenv.report.results import OUTCOMES, Check, Outcome, Result, Run, Series

#: Kinds of operations that change something, as the names of series end (``rows write``).
_WRITES = {"write", "publish"}
#: Verdicts in the order of the headline, and their words in it.
ORDER: tuple[Outcome, ...] = ("passed", "failed", "error", "unknown", "skipped")
WORDS = {"passed": "passed", "failed": "failed", "error": "in error", "unknown": "unknown",
         "skipped": "skipped"}  # fmt: skip
#: A check's verdict as a test's.
CHECKED = {"pass": "passed", "fail": "failed", "unknown": "unknown"}


@dataclass(frozen=True)
class Gap:
    """A time without success: seconds, of which client, and how many are allowed."""

    seconds: float
    client: str
    budget: float | None
    result: Result

    @property
    def over(self) -> bool:
        """Whether it is longer than is allowed."""
        return self.budget is not None and self.seconds > self.budget

    @property
    def share(self) -> float:
        """How much of its budget it used up, 1 for all of it; 0 without a budget."""
        return self.seconds / self.budget if self.budget else 0.0


@dataclass(frozen=True)
class Summary:
    """What stands at the top.

    :param verdict: the worst of all; ``skipped`` if nothing else is there, empty for nothing.
    :param counts: tests by verdict.
    :param broken: tests with a fault.
    :param longest: of the clients with a budget, if any has one: a boot takes long by itself.
    :param budgets: checks of longest gaps by verdict.
    :param lost: checks of what was acknowledged, by verdict.
    :param acknowledged: writes that those checks are about.
    :param rerun: tests that did not pass at once.
    """

    verdict: str
    counts: Counter[Outcome]
    scenarios: int
    faults: int
    broken: int
    longest: Gap | None
    budgets: Counter[str]
    lost: Counter[str]
    acknowledged: int
    rerun: int

    @property
    def headline(self) -> str:
        """``10 passed, 1 failed``."""
        said = [f"{self.counts[one]} {WORDS[one]}" for one in ORDER if self.counts[one]]
        return ", ".join(said) or "no scenario ran"

    @property
    def losses(self) -> str:
        """What became of acknowledged writes; a doubt is told as one."""
        if self.lost["fail"]:
            return f"lost in {text.count(self.lost['fail'], 'check')}"
        if self.lost["unknown"]:
            return "unknown"
        return "0" if self.lost else "not checked"

    @property
    def safe(self) -> str:
        """The verdict on acknowledged writes: ``passed``, ``failed``, ``unknown`` or empty."""
        found = [one for one in ("fail", "unknown", "pass") if self.lost[one]]
        return CHECKED[found[0]] if found else ""


def summarise(run: Run) -> Summary:
    """The summary of `run`."""
    counts = Counter(result.verdict for result in run.results)
    gaps = [gap for result in run.results for gap in gaps_of(result)]
    checked = [result for result in run.results if any(map(about_loss, checks_of(result)))]
    return Summary(
        verdict=next((one for one in OUTCOMES if counts[one]), ""),
        counts=counts,
        scenarios=len({result.scenario for result in run.results}),
        faults=sum(len(result.evidence.windows) for result in run.results if result.evidence),
        broken=sum(bool(result.evidence and result.evidence.windows) for result in run.results),
        longest=max(gaps, key=lambda gap: (gap.budget is not None, gap.seconds), default=None),
        budgets=_verdicts(run, lambda check: check.name.startswith("longest gap")),
        lost=_verdicts(run, about_loss),
        acknowledged=sum(map(acknowledged, checked)),
        rerun=sum(result.attempts > 1 for result in run.results),
    )


def checks_of(result: Result) -> tuple[Check, ...]:
    """A test's checks; none without evidence."""
    return result.evidence.checks if result.evidence else ()


def about_loss(check: Check) -> bool:
    """Whether a check asks if what was acknowledged is still there."""
    return check.name.startswith("lost ")


def gaps_of(result: Result) -> list[Gap]:
    """The longest gap of each client that had one."""
    series: Iterable[Series] = result.evidence.series if result.evidence else ()
    return [
        Gap(one.longest[1] - one.longest[0], one.client, one.budget, result)
        for one in series
        if one.longest
    ]


def worst(gaps: Iterable[Gap]) -> Gap | None:
    """The gap that used up most of its budget; the longest where none has one."""
    return max(gaps, key=lambda gap: (gap.share, gap.seconds), default=None)


def acknowledged(result: Result) -> int:
    """How many writes were acknowledged while a test ran."""
    return sum(
        point.outcome == "ok"
        for series in (result.evidence.series if result.evidence else ())
        if series.client.rpartition(" ")[2] in _WRITES
        for point in series.points
    )


def _verdicts(run: Run, wanted: Callable[[Check], bool]) -> Counter[str]:
    return Counter(
        check.verdict for result in run.results for check in checks_of(result) if wanted(check)
    )
