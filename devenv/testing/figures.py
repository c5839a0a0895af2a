"""Figures that scenarios measure, and results as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path


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


@dataclass
class Result:
    """One test's verdict and figures.

    :param outcome: ``passed``, ``failed``, ``skipped`` or ``error`` (outside the test itself).
    :param seconds: with its fixtures.
    :param reason: why it failed or was skipped, in its last line.
    """

    test: str
    outcome: str = "passed"
    seconds: float = 0.0
    reason: str = ""
    figures: list[Figure] = field(default_factory=list)


def write(path: Path, environment: str, results: Iterable[Result]) -> None:
    """Write results as JSON, making the folder."""
    found = {"environment": environment, "results": [asdict(result) for result in results]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")
