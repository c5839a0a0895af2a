"""Verdicts, figures and evidence of scenarios: what testing writes and the report reads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from devenv.core.errors import InputError

#: ``unknown`` is never a pass: a client that never succeeded proves nothing.
Verdict = Literal["pass", "fail", "unknown"]

#: What became of a test, worst first.
Outcome = Literal["failed", "error", "unknown", "passed", "skipped"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
#: Those after which people run a test again.
BAD = OUTCOMES[:3]


@dataclass(frozen=True)
class Figure:
    """Something that was measured.

    :param unit: ``s``, ``MB/s``, ``packets``; empty for a bare number.
    """

    name: str
    value: float
    unit: str = ""

    @property
    def said(self) -> str:
        """The value with its unit."""
        fine = 0 < abs(self.value) < 0.1  # milliseconds, say
        places = "" if isinstance(self.value, int) else ".2g" if fine else ".2f"
        return f"{self.value:{places}} {self.unit}".rstrip()

    def __str__(self) -> str:
        return f"{self.name}: {self.said}"


@dataclass(frozen=True)
class Window:
    """A fault, from the moment that it was asked for. Seconds since the evidence begins.

    :param fault: in words, such as ``kill haproxy on ctl2``.
    :param held: when it was seen to have taken hold.
    :param healed: when healing ended, which is when everything was said to be right again.
    """

    fault: str
    begin: float
    held: float
    healed: float


@dataclass(frozen=True)
class Point:
    """One operation of a client. Seconds.

    :param at: when it was invoked, since the evidence begins.
    :param outcome: ``ok``, ``failed``, or ``info`` where nobody knows whether it took effect.
    """

    at: float
    latency: float
    outcome: str


@dataclass(frozen=True)
class Series:
    """What a client lived through.

    :param gaps: (begin, end) of the times without success that are longer than the baseline's.
    :param budget: seconds that a gap may last, if the scenario set a limit for this client.
    """

    client: str
    points: tuple[Point, ...]
    gaps: tuple[tuple[float, float], ...] = ()
    budget: float | None = None

    @property
    def longest(self) -> tuple[float, float] | None:
        """The longest of `gaps`."""
        return max(self.gaps, key=lambda gap: gap[1] - gap[0], default=None)


@dataclass(frozen=True)
class Check:
    """One question that was put to the evidence, and the answer in words."""

    name: str
    verdict: Verdict
    said: str


@dataclass(frozen=True)
class Evidence:
    """What a scenario recorded while it broke something."""

    windows: tuple[Window, ...] = ()
    series: tuple[Series, ...] = ()
    checks: tuple[Check, ...] = ()


@dataclass
class Result:
    """One test's verdict and figures.

    :param outcome: ``passed``, ``failed``, ``skipped``, ``error`` (outside the test itself) or
        ``unknown`` (what was recorded proves nothing).
    :param seconds: with its fixtures.
    :param reason: why it failed or was skipped, in its last line.
    :param detail: of a failure: the whole of it, as pytest tells it.
    :param logs: of a failure: the last log lines of containers, by ``NODE/CONTAINER``.
    :param attempts: how often it ran until this outcome, since it last passed.
    """

    test: str
    outcome: Outcome = "passed"
    seconds: float = 0.0
    reason: str = ""
    detail: str = ""
    figures: list[Figure] = field(default_factory=list)
    evidence: Evidence | None = None
    logs: dict[str, str] = field(default_factory=dict)
    attempts: int = 1

    @property
    def verdict(self) -> Outcome:
        """The outcome, but no better than the evidence; a failure over a doubt is ``unknown``."""
        found = {check.verdict for check in self.evidence.checks} if self.evidence else set()
        if self.outcome == "failed" and "unknown" in found and "fail" not in found:
            return "unknown"
        if self.outcome != "passed" or self.evidence is None or found == {"pass"}:
            return self.outcome
        return "failed" if "fail" in found else "unknown"

    @property
    def scenario(self) -> str:
        """As ``devenv test`` calls its file: ``failover/vip-holder``."""
        folder, slash, file = self.test.partition("::")[0].rpartition("/")
        short = file.removesuffix(".py").removeprefix("test_").replace("_", "-")
        return f"{folder}{slash}{short}"

    @property
    def name(self) -> str:
        """The test function, with its parameters."""
        head, bracket, parameters = self.test.partition("[")
        return head.rpartition("::")[2] + bracket + parameters

    @property
    def title(self) -> str:
        """The test within its scenario, as people say it: ``haproxy is killed [ctl1]``."""
        name, bracket, parameters = self.name.partition("[")
        words = name.removeprefix("test_").replace("_", " ")
        return f"{words} {bracket}{parameters}".strip()


@dataclass
class Run:
    """The results of one environment's scenarios.

    :param facts: what ran on which versions and nodes, as ``devenv status`` has it for JSON.
    :param began: seconds since the epoch; 0 if nobody noted it.
    """

    environment: str
    results: list[Result] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    began: float = 0.0

    @property
    def seconds(self) -> float:
        """All tests together."""
        return sum(result.seconds for result in self.results)


def data(run: Run) -> dict[str, Any]:
    """A run for JSON."""
    return asdict(run)


def write(path: Path, run: Run, redact: Callable[[str], str] = str) -> None:
    """Write a run as JSON, making the folder.

    :param redact: hides secrets in every text.
    :raises OSError: if the file cannot be written.
    """
    save(path, json.dumps(_redacted(data(run), redact), indent=1) + "\n")


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """`value`, made of what JSON knows, with every text redacted."""
    match value:
        case str():
            return redact(value)
        case dict():
            return {key: _redacted(one, redact) for key, one in value.items()}
        case list() | tuple():
            return [_redacted(one, redact) for one in value]
    return value


def save(path: Path, text: str) -> None:
    """Write a file as a whole, making the folder: what is there is the old text or the new one.

    :raises OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text, "utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> Run:
    """The run that :func:`write` wrote there.

    :raises InputError: when there is none, or it cannot be used.
    """
    from pydantic import TypeAdapter, ValidationError  # only those who read pay for it

    try:
        return TypeAdapter(Run).validate_python(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise InputError(f"there are no results in {path}", remedy="devenv test") from None
    except (OSError, ValueError) as error:
        said = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise InputError(
            f"the results in {path} cannot be used: {said}",
            remedy="devenv test, which replaces them",
        ) from error


def merge(old: Run, new: Run) -> Run:
    """`old` with what ran again replaced by `new`, each test in its old place; new ones follow.

    Attempts add up as long as a test does not pass. A file that could not be collected is a result
    as well; the file's tests replace it.
    """
    fresh = {result.test: result for result in new.results}
    collected = {file for file, inside, _ in (test.partition("::") for test in fresh) if inside}
    past = [result for result in old.results if result.test not in collected]
    kept = [result for result in past if result.test not in fresh]
    merged = []
    for before in past:
        again = fresh.pop(before.test, None)
        if again and before.verdict in BAD:
            again = replace(again, attempts=before.attempts + again.attempts)
        merged.append(again or before)
    began = (old.began if kept else 0.0) or new.began
    return Run(new.environment, [*merged, *fresh.values()], new.facts or old.facts, began)
