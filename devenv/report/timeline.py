"""The last `up` out of the journal: which steps ran when, where and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

#: Steps that only a deploy has: other commands write into the same journal.
_DEPLOY = {"node", "job", "ready", "remove", "stop", "forget"}
#: A note of this type has the ids (NODE/STEP) of the critical path as its words, with this between.
CRITICAL, BETWEEN = "critical-path", " > "
#: Seconds of silence, while nothing runs, after which a line belongs to another process, though it
#: has the same id: in a container, ids are few.
_SILENCE = 60.0


@dataclass
class Ran:
    """A step that ran, or was skipped.

    :param node: empty for a step on no node.
    :param why: the reason why it ran; of one that was skipped, why not.
    :param begin, end: seconds since the deploy began.
    :param outcome: ``done``, ``failed``, ``skipped``, or ``unfinished``: the process was killed.
    :param error: of one that failed.
    :param critical: whether it is known to be on the critical path.
    """

    step: str
    node: str
    type: str
    why: str
    begin: float
    end: float
    outcome: str = "unfinished"
    error: str = ""
    critical: bool = False

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin


@dataclass(frozen=True)
class Deploy:
    """What an `up` did.

    :param began: seconds since the epoch.
    :param wall: seconds from its first step's start to its last step's end.
    """

    began: float
    wall: float
    steps: tuple[Ran, ...]

    @property
    def ran(self) -> tuple[Ran, ...]:
        """The steps that were not skipped."""
        return tuple(step for step in self.steps if step.outcome != "skipped")

    @property
    def critical(self) -> float:
        """Seconds of work on the critical path; 0 if the journal does not tell of one."""
        return sum(step.seconds for step in self.ran if step.critical)

    @property
    def parallel(self) -> float:
        """Steps at a time, on average."""
        return sum(step.seconds for step in self.ran) / self.wall if self.wall else 0.0

    def running(self) -> list[tuple[float, int]]:
        """From which time on how many steps run."""
        edges: dict[float, int] = {}
        for step in self.ran:
            edges[step.begin] = edges.get(step.begin, 0) + 1
            edges[step.end] = edges.get(step.end, 0) - 1
        found, now = [], 0
        for at in sorted(edges):
            now += edges[at]
            found.append((at, now))
        return found

    @property
    def busy(self) -> float:
        """The share of `wall` in which at least one step ran, 0 to 1."""
        busy = sum(later - at for (at, count), (later, _) in pairwise(self.running()) if count > 0)
        return busy / self.wall if self.wall else 0.0


def last_up(path: Path) -> Deploy | None:
    """The last deploy in the journal at `path`; None without a journal or a deploy in it."""
    if not path.exists():
        return None
    found = None
    for rows in _processes(_rows(path)):
        if any(row["type"] in _DEPLOY for row in rows):
            found = rows
    return _deploy(found) if found else None


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Lines that are events; a process killed while it writes leaves a torn one."""
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
                row["at"] = float(row["at"])
                if {"pid", "kind", "type", "step"} <= row.keys():
                    yield row
            except (ValueError, KeyError, TypeError):
                continue


def _processes(rows: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows of each process, in the order in which the processes began."""
    found: list[list[dict[str, Any]]] = []
    last: dict[int, list[dict[str, Any]]] = {}
    running: dict[int, set[tuple[Any, ...]]] = {}
    for row in rows:
        pid = row["pid"]
        open_steps = running.setdefault(pid, set())
        mine = last.get(pid)
        again = row["kind"] == "start" and _key(row) in open_steps
        quiet = mine and not open_steps and row["at"] - mine[-1]["at"] > _SILENCE
        if mine is None or again or quiet:
            mine = last[pid] = []
            open_steps.clear()
            found.append(mine)
        mine.append(row)
        if row["kind"] == "start":
            open_steps.add(_key(row))
        elif row["kind"] != "note":
            open_steps.discard(_key(row))
    return found


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row.get("node"), row["type"], row["step"]


def _deploy(rows: list[dict[str, Any]]) -> Deploy:
    began = rows[0]["at"]
    steps: list[Ran] = []
    running: dict[tuple[Any, ...], Ran] = {}
    critical: list[str] = []
    for row in rows:
        kind, at = row["kind"], row["at"] - began
        said = str(row.get("text") or "")
        if kind == "note":
            if row["type"] == CRITICAL:
                critical = said.split(BETWEEN)
            continue
        step = running.pop(_key(row), None)
        if step is None:
            name, node = str(row["step"]), str(row.get("node") or "")
            step = Ran(name, node, str(row["type"]), said, at, at)
            steps.append(step)
        if kind == "start":
            running[_key(row)] = step
            continue
        step.end, step.outcome = at, kind
        if kind == "failed":
            step.error = said
    last = max(row["at"] for row in rows) - began
    for step in running.values():
        step.end = last
    for step in steps:
        step.critical = f"{step.node}/{step.step}" in critical
    wall = max((step.end for step in steps), default=0.0)
    return Deploy(began, wall, tuple(sorted(steps, key=lambda step: (step.begin, step.end))))
