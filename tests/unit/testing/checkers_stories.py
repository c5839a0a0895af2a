"""Whole histories with a fault in them, and all that can be asked about them."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from devenv.report.results import Check, Window
from devenv.testing.checkers import (
    Booked,
    allocations,
    availability,
    boots,
    down,
    exactly_one,
    held_twice,
    messages,
    overload,
    quotas,
    rows,
)
from devenv.testing.history import History, Operation, Outcome
from devenv.testing.vip import Sample

#: Times are multiples of it, so sums and differences of floats are exact.
TICK = 1 / 64
NODES = ("ctl1", "ctl2", "ctl3")
MAJORITY = {"rows": ("write",), "messages": ("publish",)}
CLIENTS = {**MAJORITY, "ping": ()}
SIZE = {"VCPU": 1, "MEMORY_MB": 96, "DISK_GB": 1}
#: (invoked, completed, outcome)
Attempt = tuple[float, float, Outcome]


@dataclass
class Story:
    begin: float
    window: Window
    end: float
    operations: list[Operation]
    finals: dict[str, list[int]]
    #: The gap of each client in seconds, and how long it may be.
    gaps: dict[str, float]
    budgets: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CLIENTS, 6.0))
    holders: dict[str, bool | None] = field(
        default_factory=lambda: {node: node == "ctl2" for node in NODES}
    )
    #: Seconds after the story's beginning at which a third node has the VIP, too.
    twice: list[int] = field(default_factory=list)
    apart: list[tuple[float, float]] = field(default_factory=list)
    servers: dict[str, Booked] = field(
        default_factory=lambda: {
            "id-1": Booked("vm1", SIZE),
            "id-2": Booked("vm2", SIZE),
            "id-3": Booked("no-host", {}),
        }
    )
    allocated: dict[str, dict[str, int]] = field(
        default_factory=lambda: {"id-1": dict(SIZE), "id-2": dict(SIZE)}
    )
    usage: dict[str, int] = field(default_factory=lambda: {"instances": 3, "cores": 2})
    exceeds: str = ""
    outage: bool = False
    exactly_once: bool = False
    unread: str = ""

    @property
    def history(self) -> History:
        return History(list(self.operations))

    @property
    def samples(self) -> list[Sample]:
        seconds = range(math.ceil(self.end - self.begin) + 20)
        return [
            Sample(self.begin + at, {"ctl1": at in self.twice, "ctl2": True, "ctl3": None})
            if at % 2
            else Sample(self.begin + at, {"ctl1": at in self.twice, "ctl2": True, "ctl3": False})
            for at in seconds
        ]

    def of(self, client: str, *kinds: str, outcome: str = "ok") -> list[Operation]:
        return [one for one in self.history.of(client, *kinds) if one.outcome == outcome]

    def swap(self, old: Operation, new: Operation) -> None:
        self.operations[self.operations.index(old)] = new

    def drop(self, *gone: Operation) -> None:
        self.operations = [one for one in self.operations if one not in gone]


def attempts(rng: random.Random, fault: int, gap: int, after: int) -> list[Attempt]:
    """Successes until the fault, none for `gap` ticks, then successes again."""
    found: list[tuple[int, int, Outcome]] = []
    at = 0
    while (took := rng.randint(1, 6)) + at <= fault:
        found.append((at, at + took, "ok"))
        at += rng.randint(8, 16)
    last = found[-1][1]
    back = last + gap
    # The first is under way when the fault takes hold; one fails surely, one nobody knows.
    at = rng.randint(last, fault + 8)
    unsuccessful: list[Outcome] = ["failed", "info"]
    for outcome in unsuccessful + rng.choices(unsuccessful, k=3):
        done = max(at, fault) + rng.randint(1, 16)
        found.append((at, done, outcome))
        at = done
    found.append((rng.randint(at, back), back, "ok"))
    at = back
    for _ in range(after):
        at += rng.randint(1, 8)
        found.append((at, at + rng.randint(1, 6), "ok"))
        at = found[-1][1]
    return [(a * TICK, b * TICK, outcome) for a, b, outcome in found]


def written(rng: random.Random, lived: list[Attempt]) -> tuple[list[Operation], list[int]]:
    """What rows did, and what is there in the end."""
    found: list[Operation] = []
    there: list[int] = []
    for value, (invoked, completed, outcome) in enumerate(lived, 1):
        found.append(Operation("rows", "write", value, invoked, completed, outcome))
        if outcome == "ok" or (outcome == "info" and rng.random() < 0.5):
            there.append(value)
        if outcome == "ok" and value > 1 and rng.random() < 0.5:
            # Under way at the same time as the write, so it may see it or not.
            seen = there if rng.random() < 0.5 else there[:-1]
            result = max(seen) if rng.random() < 0.3 else rng.sample(seen, len(seen))
            found.append(
                Operation("rows", "read", None, completed - TICK, completed + TICK, "ok", result)
            )
    last = found[-1].completed + TICK
    found.append(Operation("rows", "read", None, last, last + TICK, "ok", list(there)))
    found.append(Operation("rows", "read", None, last, last + TICK, "info"))
    return found, there


def exchanged(rng: random.Random, lived: list[Attempt]) -> list[Operation]:
    """What messages did: some come twice, as they may."""
    found: list[Operation] = []
    for value, (invoked, completed, outcome) in enumerate(lived, 1):
        found.append(Operation("messages", "publish", value, invoked, completed, outcome))
        if outcome == "ok" or (outcome == "info" and rng.random() < 0.5):
            for _ in range(1 if rng.random() < 0.9 else 2):
                at = completed + rng.randint(0, 8) * TICK
                known: Outcome = "ok" if rng.random() < 0.9 else "info"
                found.append(Operation("messages", "consume", value, at, at + TICK, known, False))
    first = found[0]
    found.append(Operation("messages", "consume", first.value, 90.0, 90.5, "ok", True))
    found.append(Operation("messages", "consume", None, 90.0, 90.5, "failed"))
    return found


@st.composite
def stories(draw: st.DrawFn) -> Story:
    rng = random.Random(draw(st.integers(0, 2**32)))
    begin = float(draw(st.integers(0, 100_000)))
    fault = draw(st.integers(40, 80))
    after = draw(st.integers(1, 6))
    gaps = {client: draw(st.integers(180, 384)) for client in CLIENTS}
    lived = {client: attempts(rng, fault, gap, after) for client, gap in gaps.items()}
    operations, there = written(rng, lived["rows"])
    operations += exchanged(rng, lived["messages"])
    operations += [Operation("ping", "ping", None, *one) for one in lived["ping"]]
    operations += [
        Operation("boots", "boot", "b-1", 1.0, 2.0, "ok"),
        Operation("boots", "boot", "b-2", 3.0, 4.0, "failed", error="No valid host was found."),
        Operation("boots", "delete", "b-1", 2.0, 3.0, "ok"),
    ]
    return Story(
        begin=begin,
        window=Window(
            "power off ctl1",
            begin + fault * TICK,
            begin + (fault + draw(st.integers(0, 8))) * TICK,
            begin + (fault + draw(st.integers(9, 300))) * TICK,
        ),
        end=begin + max(one[1] for some in lived.values() for one in some),
        operations=[
            replace(one, invoked=begin + one.invoked, completed=begin + one.completed)
            for one in operations
        ],
        finals={node: rng.sample(there, len(there)) for node in NODES},
        gaps={client: gap * TICK for client, gap in gaps.items()},
    )


def judge(story: Story) -> tuple[Check, ...]:
    history, windows = story.history, [story.window]
    finals = {n: None if n == story.unread else found for n, found in story.finals.items()}
    return (
        *rows(history, finals, story.begin),
        *messages(history, story.begin, exactly_once=story.exactly_once),
        *(
            availability(history, client, windows, kinds=kinds).check(
                story.budgets[client], story.begin
            )
            for client, kinds in CLIENTS.items()
        ),
        exactly_one(story.holders),
        held_twice(story.samples, story.apart, story.begin, limit=5),
        boots(history),
        allocations(story.servers, story.allocated),
        quotas(story.usage, {"instances": len(story.servers)}),
        overload(story.exceeds, expected=story.outage),
        *(
            down(history, client, kind, [(story.window.held, story.window.healed)], story.begin)
            for client, (kind,) in MAJORITY.items()
            if story.outage
        ),
    )


def wrong(story: Story) -> dict[str, str]:
    return {one.name: one.verdict for one in judge(story) if one.verdict != "pass"}
