"""Clients, a load and a clock for a trial, which do what the test says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from devenv.testing.clients.boots import Boots
from devenv.testing.clients.messages import Consumer, Publisher
from devenv.testing.clients.rows import Rows
from devenv.testing.history import History, Operation, Outcome
from devenv.testing.vip import Sample


class World:
    """What the fakes share: the time, the history, and what is to go wrong."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.history = History()
        self.failing = False
        self.recovers_late = 0.0
        self.boots: list[Operation] = []
        self.holders: dict[str, bool | None] = {"ctl1": False, "ctl2": True, "ctl3": False}
        self.twice = False
        self.written: list[int] = []
        self.troubles: dict[str, Exception] = {}
        self.logs_asked = 0

    def trouble(self, what: str) -> None:
        if what in self.troubles:
            raise self.troubles[what]

    def monotonic(self) -> float:
        return self.now

    def work(self, seconds: int) -> None:
        """Each second each client does its work once."""
        for _ in range(seconds):
            begin, self.now = self.now, self.now + 1
            outcome: Outcome = "failed" if self.failing else "ok"
            value = len(self.history.of("rows", "write")) + 1
            if not self.failing:
                self.written.append(value)
            seen = list(self.written)
            for client, kind, what, result in (
                ("rows", "write", value, None),
                ("rows", "read", None, seen),
                ("messages", "publish", value, None),
                ("messages", "consume", value, None),
            ):
                # A read comes after the write, or it would be stale.
                half = begin + (0.75 if kind in ("read", "consume") else 0.25)
                self.history.add(Operation(client, kind, what, half, half + 0.125, outcome, result))


class FakeLoad:
    def __init__(self, clients: Sequence[Any], world: World) -> None:
        self.clients, self.world, self.history = clients, world, world.history

    @contextmanager
    def running(self) -> Iterator[FakeLoad]:
        self.world.trouble("open")
        yield self
        self.world.trouble("close")

    def baseline(self, seconds: float) -> None:
        self.world.trouble("baseline")
        self.world.work(10)

    def run_for(self, seconds: float) -> None:
        self.world.work(int(seconds))

    def wait_quiet(self, seconds: float, limit: float) -> None:
        self.world.work(int(self.world.recovers_late))
        self.world.failing = False
        self.world.trouble("quiet")
        self.world.work(5)


class FakeRows(Rows):
    def __init__(self, world: World) -> None:
        self.world = world

    def final(self, addresses: Mapping[str, str], timeout: float = 60) -> Any:
        self.world.trouble("final")
        return {node: list(self.world.written) for node in addresses}

    def drop(self) -> None:
        self.world.trouble("drop")


class FakePublisher(Publisher):
    def __init__(self) -> None: ...
    def drop(self) -> None: ...


class FakeConsumer(Consumer):
    def __init__(self) -> None: ...
    def drain(self, history: History, timeout: float = 60) -> list[int]:
        return []


class FakeBoots(Boots):
    def __init__(self) -> None: ...


class FakeWatch:
    def __init__(self, world: World) -> None:
        self.world = world

    @contextmanager
    def running(self) -> Iterator[None]:
        yield

    @property
    def samples(self) -> list[Sample]:
        times = range(1000, int(self.world.now))
        both = {"ctl1": True, "ctl2": True, "ctl3": False}
        return [
            Sample(at, both if self.world.twice and 1012 < at < 1020 else self.world.holders)
            for at in times
        ]

    def ask(self, patience: float) -> dict[str, bool | None]:
        return self.world.holders
