"""Verdicts, figures and evidence of scenarios: what testing writes and the report reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

#: ``unknown`` is never a pass: a client that never succeeded proves nothing.
Verdict = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True)
class Figure:
    """Something that was measured.

    :param unit: ``s``, ``MB/s``, ``packets``; empty for a bare number.
    """

    name: str
    value: float
    unit: str = ""

    def __str__(self) -> str:
        value = str(self.value) if isinstance(self.value, int) else f"{self.value:.2f}"
        return f"{self.name}: {value} {self.unit}".rstrip()


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
    """

    client: str
    points: tuple[Point, ...]
    gaps: tuple[tuple[float, float], ...] = ()


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

    :param outcome: ``passed``, ``failed``, ``skipped`` or ``error`` (outside the test itself).
    :param seconds: with its fixtures.
    :param reason: why it failed or was skipped, in its last line.
    :param detail: of a failure: the whole of it, as pytest tells it.
    :param logs: of a failure: the last log lines of containers, by ``NODE/CONTAINER``.
    """

    test: str
    outcome: str = "passed"
    seconds: float = 0.0
    reason: str = ""
    detail: str = ""
    figures: list[Figure] = field(default_factory=list)
    evidence: Evidence | None = None
    logs: dict[str, str] = field(default_factory=dict)


@dataclass
class Run:
    """The results of one environment's scenarios.

    :param facts: what ran on which versions and nodes, as ``devenv status`` has it for JSON.
    """

    environment: str
    results: list[Result] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def write(path: Path, environment: str, results: Iterable[Result]) -> None:
    """Write results as JSON, making the folder."""
    found = {"environment": environment, "results": [asdict(result) for result in results]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")
