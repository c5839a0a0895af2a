"""Gaps, baselines, and the evidence that is made of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devenv.report.results import Check, Figure, Point, Verdict, Window
from devenv.testing.checkers import availability, combine, evidence, explain
from devenv.testing.checkers.gaps import Availability
from devenv.testing.history import History, Operation, Outcome

FAULT = Window("kill haproxy on ctl2", 110.0, 111.0, 115.0)


def ping(at: float, outcome: Outcome = "ok", took: float = 0.25, error: str = "") -> Operation:
    """Completed at `at`."""
    return Operation("ping", "ping", None, at - took, at, outcome, error=error)


#: A success each second, 1.25 s once.
BEFORE = [ping(at) for at in (101, 102, 103.25, 104, 105, 106, 107, 108, 109)]
OUTAGE = [ping(at, "info", took=1) for at in (111, 112, 113)]
AFTER = [ping(at) for at in (114, 115, 116, 117, 118)]


def measured(
    *operations: Operation, end: float | None = None, tolerance: float = 0.5
) -> Availability:
    return availability(History(list(operations)), "ping", [FAULT], end=end, tolerance=tolerance)


def test_the_gap_reaches_back_to_the_last_success() -> None:
    found = measured(*BEFORE, *OUTAGE, *AFTER)
    assert found.baseline == 1.25
    assert found.gaps == ((109, 114), (114, 115), (115, 116), (116, 117), (117, 118))
    assert found.outages == ((109, 114),)
    assert (found.longest, found.total) == (5, 5)
    assert found.check(5, 100) == Check(
        "longest gap of ping",
        "pass",
        "5.00 s without success, from 9.00 s to 14.00 s (budget 5.00 s, without a fault 1.25 s, "
        "1 outages of 5.00 s in all)",
    )
    assert found.check(4.99, 100).verdict == "fail"
    assert found.figures() == (
        Figure("longest gap of ping", 5, "s"),
        Figure("outages of ping in all", 5, "s"),
        Figure("longest gap of ping without a fault", 1.25, "s"),
    )


def test_outages_are_added_up_and_the_longest_is_judged() -> None:
    later = [ping(118, "failed"), ping(120), ping(121)]
    found = measured(*BEFORE, *OUTAGE, *AFTER[:3], *later)
    assert found.outages == ((109, 114), (116, 120))
    assert (found.longest, found.total) == (5, 9)
    assert found.check(5, 100).verdict == "pass"


def test_successes_count_when_they_are_complete() -> None:
    slow = ping(113, took=2.5)  # Overtaken by others that began later.
    found = measured(*BEFORE, slow, ping(111), ping(112))
    assert found.gaps == ((109, 111), (111, 112), (112, 113))


def test_a_gap_is_an_outage_only_above_baseline_and_tolerance() -> None:
    quick = [*BEFORE, ping(110.5, "failed"), ping(110.75), ping(111.5)]
    assert measured(*quick).gaps == ((109, 110.75), (110.75, 111.5))
    assert measured(*quick, tolerance=0.5).outages == ()
    assert measured(*quick, tolerance=0.25).outages == ((109, 110.75),)
    assert measured(*quick).check(2, 100).verdict == "pass"
    slow = measured(*quick).check(1.5, 100)
    assert (slow.verdict, "too slow without a fault" in slow.said) == ("unknown", True)


def test_the_first_invocation_is_an_edge_of_the_baseline() -> None:
    found = measured(ping(109, took=3), ping(111, "info"), ping(114))
    assert found.baseline == 3
    assert found.outages == ((109, 114),)


@pytest.mark.parametrize(("end", "gap"), [(None, 4), (113.0, 4), (150.0, 41)])
def test_a_client_that_never_comes_back(end: float | None, gap: float) -> None:
    found = measured(*BEFORE, *OUTAGE, end=end)
    assert found.outages == ((109, 109 + gap),)
    assert found.check(gap, 100).verdict == "pass"
    assert found.check(gap - 0.5, 100).verdict == "fail"


def test_a_client_that_hung_after_it_came_back() -> None:
    assert measured(*BEFORE, *OUTAGE, *AFTER).check(6, 100).verdict == "pass"
    assert measured(*BEFORE, *OUTAGE, *AFTER, end=130).check(6, 100).verdict == "fail"


@pytest.mark.parametrize(
    ("operations", "said"),
    [
        ([], "made no attempt"),
        (OUTAGE, "never succeeded before the fault began"),
        ([*OUTAGE, *AFTER], "never succeeded before the fault began"),
        (
            [ping(103, "failed", error="refused"), ping(105, "info"), *AFTER],
            "never succeeded before the fault began; 2 operations failed before the fault began, "
            "the first with: refused",
        ),
        (
            [*BEFORE, ping(110, "failed"), *OUTAGE],
            "the baseline is broken: 1 operations failed before the fault began",
        ),
        ([*BEFORE, ping(116)], "no attempt during kill haproxy on ctl2"),
    ],
)
def test_what_proves_nothing_is_unknown(operations: list[Operation], said: str) -> None:
    found = measured(*operations, end=200)
    assert found.check(0.5, 100) == Check("longest gap of ping", "unknown", said)
    assert found.figures() == ()


def test_without_a_fault_there_is_nothing_to_say() -> None:
    check = availability(History([*BEFORE]), "ping", []).check(5, 100)
    assert (check.verdict, check.said) == ("unknown", "there was no fault")


def test_an_operation_under_way_when_the_fault_begins_is_the_faults() -> None:
    found = measured(*BEFORE, ping(110.25, "failed"), ping(111))
    assert found.broken == ""
    assert not found.blind


def test_each_of_several_faults_has_to_be_watched() -> None:
    second = Window("kill it again", 130.0, 130.5, 131.0)
    history = History([*BEFORE, *OUTAGE, *AFTER, ping(129), ping(132)])
    found = availability(history, "ping", [second, FAULT])
    assert found.check(20, 100) == Check(
        "longest gap of ping", "unknown", "no attempt during kill it again"
    )
    assert found.check(4, 100).verdict == "fail"


def test_only_the_kinds_asked_for_count() -> None:
    def boot(one: Operation) -> Operation:
        return Operation("nova", "boot", None, one.invoked, one.completed, one.outcome)

    lists = [Operation("nova", "list", None, at, at + 0.1, "ok") for at in range(100, 120)]
    history = History([*lists, *map(boot, [*BEFORE, *OUTAGE, *AFTER])])
    assert availability(history, "nova", [FAULT]).longest < 2
    boots = availability(history, "nova", [FAULT], kinds=["boot"])
    assert (boots.client, boots.longest) == ("nova boot", 5)
    assert boots.check(3, 100).name == "longest gap of nova boot"


VERDICTS: st.SearchStrategy[Verdict] = st.sampled_from(["pass", "fail", "unknown"])


@given(st.lists(VERDICTS))
def test_the_worst_verdict_counts(verdicts: list[Verdict]) -> None:
    checks = [Check(str(index), verdict, "") for index, verdict in enumerate(verdicts)]
    if "fail" in verdicts:
        expected = "fail"
    elif not verdicts or "unknown" in verdicts:
        expected = "unknown"
    else:
        expected = "pass"
    assert combine(checks) == expected
    assert combine(iter(checks)) == expected


def test_failures_are_explained_first() -> None:
    checks = [
        Check("a", "pass", "fine"), Check("b", "unknown", "dark"),
        Check("c", "fail", "bad"), Check("d", "fail", "worse"),
    ]  # fmt: skip
    assert explain(iter(checks)) == (
        "fail: c: bad\nfail: d: worse\nunknown: b: dark\npass: a: fine"
    )
    assert explain([]) == "unknown: nothing was checked"


def test_evidence_counts_from_its_beginning() -> None:
    later = Window("again", 120.0, 121.0, 122.0)
    reads = [Operation("rows", "read", None, 103.0, 104.5, "failed")]
    writes = [Operation("rows", "write", 1, 102.0, 102.5, "ok")]
    operations = [*AFTER, *OUTAGE, *BEFORE, *reads, *writes]
    checks = [Check("a", "pass", "fine")]
    found = evidence(History(operations), [later, FAULT], iter(checks), 100.0, end=125.0)
    assert found.windows == (
        Window("kill haproxy on ctl2", 10.0, 11.0, 15.0), Window("again", 20.0, 21.0, 22.0),
    )  # fmt: skip
    assert found.checks == tuple(checks)
    assert [one.client for one in found.series] == ["ping", "rows read", "rows write"]
    pings, read, wrote = found.series
    assert pings.gaps == ((9, 14), (18, 25))
    assert pings.points[0] == Point(0.75, 0.25, "ok")
    assert [one.outcome for one in pings.points] == ["ok"] * 9 + ["info"] * 3 + ["ok"] * 5
    assert [one.at for one in pings.points] == sorted(one.at for one in pings.points)
    assert (read.points, read.gaps) == ((Point(3.0, 1.5, "failed"),), ())
    assert wrote.gaps == ((2.5, 25),)
    patient = evidence(History(operations), [FAULT], [], 100.0, tolerance=5, end=125.0)
    assert patient.series[0].gaps == ((18, 25),)
