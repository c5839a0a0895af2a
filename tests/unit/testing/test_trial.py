"""A trial's verdict, with clients and a clock that do what the test says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest
from trial_fakes import FakeBoots, FakeConsumer, FakeLoad, FakePublisher, FakeRows, FakeWatch, World

from devenv.core.errors import DeployError, DevenvError, Unsupported, WaitTimeout
from devenv.faults.containers import KillContainer
from devenv.faults.fault import Fault, Inconclusive
from devenv.faults.inject import Injected
from devenv.faults.network import Partition
from devenv.faults.power import PowerOff
from devenv.report.results import Check, Evidence
from devenv.testing import trial
from devenv.testing.checkers import combine
from devenv.testing.history import Operation
from devenv.testing.trial import Budget, Trial

CONTROL = ("ctl1", "ctl2", "ctl3")
BUDGET = Budget(api=3.0)
#: Evidence and logs.
Kept = list[tuple[Evidence, Mapping[str, str]]]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def books(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    found = [Check("quota usage", "pass", "")]

    def balance(cloud: object) -> list[Check]:
        world.trouble("books")
        return found

    monkeypatch.setattr(trial.books, "balance", balance)
    return found


@pytest.fixture
def kept() -> Kept:
    return []


@pytest.fixture
def made(
    world: World,
    books: list[Check],
    kept: Kept,
    monkeypatch: pytest.MonkeyPatch,
) -> Trial:
    def clients(self: Trial, boots: bool) -> list[Any]:
        found = [FakeRows(world), FakePublisher(), FakeConsumer()]
        return [*found, FakeBoots()] if boots else found

    monkeypatch.setattr(trial, "time", world)
    monkeypatch.setattr(trial, "Load", lambda clients: FakeLoad(clients, world))
    monkeypatch.setattr(trial, "Watch", lambda vip, nodes: FakeWatch(world))
    monkeypatch.setattr(Trial, "_clients", clients)
    control = [SimpleNamespace(name=name, address=name) for name in CONTROL]
    inventory = SimpleNamespace(
        vip=IPv4Address("172.30.0.10"),
        with_role=lambda role: control if role == "control" else [],
    )

    def logs() -> dict[str, str]:
        world.logs_asked += 1
        return {"ctl1/mariadb": "its last words"}

    containers = SimpleNamespace(wait_members=lambda: world.trouble("members"), logs=logs)
    return Trial(
        environment=SimpleNamespace(),  # type: ignore[arg-type]
        inventory=inventory,  # type: ignore[arg-type]
        connections=dict.fromkeys(CONTROL),  # type: ignore[arg-type]
        containers=containers,  # type: ignore[arg-type]
        cloud=None,
        guest=None,
        measure=lambda name, value, unit: None,
        say=lambda words: nullcontext(),
        keep=lambda evidence, logs: kept.append((evidence, logs)),
    )


@contextmanager
def fault(world: World, *faults: Fault, breaks: bool = False) -> Iterator[Injected]:
    """Takes no time; the clients fail meanwhile, if it breaks them."""
    injected = Injected(faults or (KillContainer("ctl1", "mariadb"),), world.now, world.now)
    world.failing = breaks
    yield injected
    injected.healed = world.now


def verdicts(kept: Kept) -> dict[str, str]:
    ((evidence, _),) = kept
    return {one.name: one.verdict for one in evidence.checks if one.verdict != "pass"}


def made_with(
    made: Trial, injection: AbstractContextManager[Injected], **parameters: Any
) -> BaseException | None:
    """What came of it."""
    try:
        made(injection, budget=BUDGET, **parameters)
    except Exception as error:
        return error
    return None


def test_all_is_well(made: Trial, world: World, kept: Kept) -> None:
    made(fault(world), budget=BUDGET)
    ((evidence, logs),) = kept
    assert combine(evidence.checks) == "pass"
    assert {"lost rows", "lost messages", "longest gap of rows write", "VIP holder",
            "VIP held twice", "quota usage", "faults at once"} <= {
        one.name for one in evidence.checks
    }  # fmt: skip
    assert (logs, world.logs_asked) == ({}, 0)
    ((window,), series) = evidence.windows, evidence.series
    assert (window.fault, window.begin, window.healed) == ("kill mariadb on ctl1", 10, 18)
    assert {one.client: one.budget for one in series} == {"rows write": 3, "messages publish": 3}


def test_a_gap_within_the_budget_is_a_pass(made: Trial, world: World) -> None:
    assert made_with(made, fault(world, breaks=True), hold=2) is None


def test_a_gap_over_the_budget_fails(made: Trial, world: World, kept: Kept) -> None:
    error = made_with(made, fault(world, breaks=True), hold=4)
    assert str(error).startswith("fail: fail: longest gap of rows write: 5.00 s")
    assert verdicts(kept) == dict.fromkeys(
        ("longest gap of rows write", "longest gap of messages publish"), "fail"
    )
    assert kept[0][1] == {"ctl1/mariadb": "its last words"}


@pytest.mark.parametrize("where", ["members", "open", "baseline"])
@pytest.mark.parametrize(
    "trouble",
    [
        DeployError("mariadb is not in sync", node="ctl2"),
        WaitTimeout("waited 60 s"),
        OSError("no engine"),
    ],
)
def test_what_is_broken_before_the_fault_proves_nothing(
    made: Trial, world: World, kept: Kept, where: str, trouble: Exception
) -> None:
    world.troubles[where] = trouble
    with pytest.raises(Inconclusive) as caught:
        made(fault(world), budget=BUDGET)
    assert str(trouble).splitlines()[0] in str(caught.value)
    assert caught.value.__cause__ is trouble
    assert made.injected == []
    assert len(kept) == (where != "members")  # Once there are clients there is evidence.


def test_what_cannot_be_done_is_still_skipped(made: Trial, world: World) -> None:
    world.troubles["members"] = Unsupported("no such thing here")
    assert type(made_with(made, fault(world))) is Unsupported


def test_clients_that_do_not_recover_fail(made: Trial, world: World, kept: Kept) -> None:
    world.troubles["quiet"] = WaitTimeout("waited 150 s for all clients to be well")
    assert made_with(made, fault(world)) is world.troubles["quiet"]
    ((evidence, logs),) = kept
    assert (evidence.checks, len(evidence.windows)) == ((), 1)
    assert logs != {}


def test_a_client_that_leaves_something_behind_fails(made: Trial, world: World, kept: Kept) -> None:
    world.troubles["close"] = DevenvError("the client boots left something behind")
    assert made_with(made, fault(world)) is world.troubles["close"]
    assert len(kept) == 1


def test_what_cannot_be_dropped_does_not_hide_the_verdict(made: Trial, world: World) -> None:
    world.troubles["drop"] = DevenvError("no database")
    assert made_with(made, fault(world)) is None


def test_a_judgement_that_ends_early_keeps_what_it_has(
    made: Trial, world: World, kept: Kept
) -> None:
    world.troubles["books"] = RuntimeError("a defect")
    error = made_with(made, fault(world))
    assert error is world.troubles["books"]
    assert "pass: lost rows" in "".join(error.__notes__)
    ((evidence, logs),) = kept
    assert verdicts(kept) == {"judgement": "unknown"}
    assert {"lost rows", "VIP holder"} <= {one.name for one in evidence.checks}
    assert len(evidence.windows) == 1
    assert logs != {}


def test_the_books_count(made: Trial, world: World, books: list[Check]) -> None:
    books[:] = [Check("quota usage", "fail", "off by one")]
    assert "fail: quota usage: off by one" in str(made_with(made, fault(world)))


def test_boots_are_judged(made: Trial, world: World, kept: Kept) -> None:
    world.history.add(Operation("boots", "boot", "b-1", 1002.0, 1003.0, "ok"))
    assert made_with(made, fault(world), boots=True) is None
    assert "boots that came to no end" in {one.name for one in kept[0][0].checks}
    world.history.add(Operation("boots", "boot", "b-2", 1012.0, 1013.0, "info"))
    kept.clear()
    made_with(made, fault(world), boots=True)
    assert verdicts(kept)["boots that came to no end"] == "fail"


# -- the virtual IP ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (KillContainer("ctl1", "mariadb"), False),
        (PowerOff("ctl1"), False),
        (KillContainer("ctl1", "keepalived"), True),
        (Partition("ctl1"), True),
    ],
)
def test_several_holders_are_expected_where_nodes_are_apart(
    made: Trial, world: World, kept: Kept, one: Fault, expected: bool
) -> None:
    world.twice = True
    made_with(made, fault(world, one), hold=8)
    assert verdicts(kept) == ({} if expected else {"VIP held twice": "fail"})


def test_in_the_end_there_is_one(made: Trial, world: World, kept: Kept) -> None:
    world.holders["ctl2"] = False
    made_with(made, fault(world))
    assert verdicts(kept) == {"VIP holder": "fail"}


# -- faults at once ------------------------------------------------------------------------


def test_faults_of_one_injection_count_together(made: Trial, world: World, kept: Kept) -> None:
    error = made_with(made, fault(world, PowerOff("ctl1"), PowerOff("ctl3")))
    assert str(error).startswith("unknown: unknown: faults at once: more than the cluster")
    assert "(ctl1, ctl3)" in str(error)
    assert verdicts(kept) == {"faults at once": "unknown"}


@pytest.mark.parametrize("overlap", [True, False])
def test_faults_count_together_only_while_both_hold(
    made: Trial, world: World, kept: Kept, overlap: bool
) -> None:
    def both() -> None:
        with made.running(budget=BUDGET) as load:
            with fault(world, PowerOff("ctl1")) as first:
                made.injected.append(first)
                load.run_for(3)
                if overlap:
                    with fault(world, PowerOff("ctl2")) as second:
                        made.injected.append(second)
                        load.run_for(3)
            if not overlap:
                with fault(world, PowerOff("ctl2")) as second:
                    made.injected.append(second)
                    load.run_for(3)
            load.wait_quiet(3, 60)

    if overlap:
        with pytest.raises(AssertionError, match=r"unknown: .*faults at once"):
            both()
    else:
        both()
    assert verdicts(kept) == ({"faults at once": "unknown"} if overlap else {})


def everything(world: World, breaks: bool = True) -> AbstractContextManager[Injected]:
    return fault(world, *(PowerOff(name) for name in CONTROL), breaks=breaks)


def test_an_outage_that_is_expected_is_no_failure(made: Trial, world: World, kept: Kept) -> None:
    world.recovers_late = 4
    made(everything(world), budget=Budget(api=60), hold=5, outage=True)
    told = {one.name: one.said for one in kept[0][0].checks}
    assert told["faults at once"].startswith("as expected: 3 of 3 control nodes are hit")
    assert {"outage of rows write", "outage of messages publish"} <= told.keys()


def test_an_outage_has_to_be_seen(made: Trial, world: World, kept: Kept) -> None:
    made_with(made, everything(world, breaks=False), outage=True)
    assert verdicts(kept) == dict.fromkeys(
        ("outage of rows write", "outage of messages publish"), "fail"
    )


def test_an_outage_that_a_cluster_survives_is_none(made: Trial, world: World, kept: Kept) -> None:
    made_with(made, fault(world, PowerOff("ctl1"), breaks=True), hold=1, outage=True)
    assert verdicts(kept) == {"faults at once": "unknown"}
