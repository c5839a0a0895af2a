"""Runs small steps in parallel, each as soon as what it comes after is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from queue import SimpleQueue
from typing import Any

from devenv.core.errors import DeployError, NodeLost
from devenv.core.events import Event, Events, type_name


@dataclass(frozen=True)
class Step:
    """One small piece of work.

    :param id: unique among the steps that run together.
    :param name: what people read, with `type` and `node`, in every event.
    :param why: the reason why it runs.
    :param after: ids of the steps it waits for. An id that is not among the steps counts as
        done: planning leaves out what need not run.
    """

    id: str
    name: str
    type: str
    node: str | None
    why: str
    run: Callable[[], None]
    after: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.name} on {self.node}" if self.node else self.name


@dataclass(frozen=True)
class Timed:
    """When a step ran: `start` and `end` in monotonic seconds since the run began."""

    id: str
    name: str
    node: str | None
    type: str
    start: float
    end: float
    after: frozenset[str]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass
class Timeline:
    """The steps that ran, in the order in which they finished, and `wall` seconds in all."""

    steps: list[Timed] = field(default_factory=list)
    wall: float = 0.0

    def critical_path(self) -> list[Timed]:
        """The chain that bound the run, first step first.

        It ends with the last step to finish; before each step stands the one, of those that it
        waited for, that finished last.
        """
        done = {timed.id: timed for timed in self.steps}
        path: list[Timed] = []
        candidates = self.steps
        while candidates:
            path.append(max(candidates, key=lambda timed: timed.end))
            candidates = [done[id] for id in path[-1].after if id in done]
        return path[::-1]

    @property
    def critical_seconds(self) -> float:
        """Seconds of work on the critical path; the rest of `wall` was waiting for a worker."""
        return sum(timed.seconds for timed in self.critical_path())

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the steps, and the critical path as ids. Seconds, to the millisecond."""
        return {
            "wall": round(self.wall, 3),
            "critical_seconds": round(self.critical_seconds, 3),
            "critical_path": [timed.id for timed in self.critical_path()],
            "steps": [
                {
                    "id": timed.id,
                    "name": timed.name,
                    "node": timed.node,
                    "type": timed.type,
                    "start": round(timed.start, 3),
                    "end": round(timed.end, 3),
                    "after": sorted(timed.after),
                }
                for timed in self.steps
            ],
        }


def run_steps(steps: Sequence[Step], events: Events, *, workers: int = 16) -> Timeline:
    """Run `steps`, at most `workers` at a time, the longest chain of dependents first.

    After a failure no step starts, those in flight finish, every other one is emitted as
    ``skipped``, and the first error is raised as it is, with the later ones as its notes.
    After a :class:`~devenv.core.errors.NodeLost` only the steps on that node, and those that wait
    for what failed, do not start.
    After Ctrl-C no step starts and those in flight are left to themselves: they finish in
    threads that Python joins when the process exits.

    :raises DeployError: before anything runs, if ids repeat or the order is a cycle.
    """
    by_id, after = _checked(steps)
    urgency = _urgency(after)
    begin = time.monotonic()
    finished: SimpleQueue[tuple[Timed, BaseException | None]] = SimpleQueue()

    def work(step: Step) -> None:
        error: BaseException | None = None
        start = time.monotonic() - begin
        try:
            with events.step(step.name, node=step.node, type=step.type, why=step.why):
                step.run()
        except BaseException as caught:
            error = caught
        end = time.monotonic() - begin
        timed = Timed(step.id, step.name, step.node, step.type, start, end, after[step.id])
        finished.put((timed, error))

    timeline = Timeline()
    failures: list[tuple[Step, BaseException]] = []
    lost: set[str | None] = set()
    stopping = False
    waiting = dict(by_id)
    ready: list[str] = []
    running = 0
    sorter = TopologicalSorter(after)
    sorter.prepare()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="step")
    try:
        while True:
            if not stopping:
                ready = [id for id in [*ready, *sorter.get_ready()] if by_id[id].node not in lost]
                ready.sort(key=urgency.__getitem__)
                # Never more than there are workers: the pool's own queue knows no urgency.
                while ready and running < workers:
                    running += 1
                    pool.submit(work, waiting.pop(ready.pop()))
            if not running:
                break
            timed, error = finished.get()
            running -= 1
            if error is None:
                timeline.steps.append(timed)
                sorter.done(timed.id)
            else:
                failures.append((by_id[timed.id], error))
                if isinstance(error, NodeLost):
                    lost.add(timed.node)
                else:
                    stopping = True
    except KeyboardInterrupt:
        _skip(waiting.values(), events, "interrupted")
        raise
    finally:
        pool.shutdown(wait=not running)
    timeline.wall = time.monotonic() - begin
    if failures:
        (culprit, first), *others = failures
        _skip(waiting.values(), events, f"{culprit} failed")
        for step, other in others:
            first.add_note(f"{step} failed too: {str(other) or type_name(other)}")
        raise first
    return timeline


def _checked(steps: Sequence[Step]) -> tuple[dict[str, Step], dict[str, frozenset[str]]]:
    """The steps by id, and what each waits for among them."""
    by_id: dict[str, Step] = {}
    for step in steps:
        if step.id in by_id:
            raise DeployError(f"two steps have the id {step.id!r}: {by_id[step.id]} and {step}")
        by_id[step.id] = step
    return by_id, {step.id: step.after & by_id.keys() for step in steps}


def _urgency(after: Mapping[str, frozenset[str]]) -> dict[str, tuple[int, int]]:
    """For each id the length of the longest chain that waits for it; ties go to the earlier."""
    try:
        order = list(TopologicalSorter(after).static_order())
    except CycleError as error:
        cycle = " -> ".join(error.args[1])
        raise DeployError(f"steps wait for each other in a cycle: {cycle}") from None
    length = dict.fromkeys(after, 0)
    for id in reversed(order):
        for earlier in after[id]:
            length[earlier] = max(length[earlier], length[id] + 1)
    return {id: (length[id], -place) for place, id in enumerate(after)}


def _skip(steps: Iterable[Step], events: Events, reason: str) -> None:
    for step in steps:
        events.emit(Event("skipped", step.name, step.node, step.type, reason))
