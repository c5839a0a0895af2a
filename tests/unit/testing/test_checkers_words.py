"""What checkers say has to be enough to act on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devenv.testing.checkers import (
    Booked,
    allocations,
    down,
    exactly_one,
    held_twice,
    messages,
    overload,
    quotas,
    rows,
)
from devenv.testing.checkers.words import between, listed, on_members
from devenv.testing.history import History, Operation, Outcome
from devenv.testing.vip import Sample


def write(value: int, at: float, outcome: Outcome = "ok") -> Operation:
    return Operation("rows", "write", value, at - 0.5, at, outcome)


def read(result: object, at: float, outcome: Outcome = "ok") -> Operation:
    return Operation("rows", "read", None, at, at + 0.5, outcome, result)


WRITES = [write(1, 101), write(2, 102), write(3, 103, "failed"), write(4, 104, "info"),
          write(5, 105), write(6, 106)]  # fmt: skip


def said(operations: list[Operation], finals: dict[str, list[int] | None]) -> dict[str, str]:
    found = rows(History(operations), finals, 100.0)
    return {one.name: f"{one.verdict}: {one.said}" for one in found}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], ""),
        ([3], "3"),
        ([5, 3, 4, 9], "3-5, 9"),
        (range(0, 40, 2), "0, 2, 4, 6, 8, 10, 12, 14 and 12 more"),
        (["b", "a", 1], "1, a, b"),
    ],
)
def test_values_are_listed(values: list[int], text: str) -> None:
    assert listed(values) == text


def test_members_with_the_same_are_named_together() -> None:
    found = {"ctl3": [1, 2], "ctl1": {2, 1}, "ctl2": [7], "ctl4": []}
    assert on_members(found) == "1-2 on ctl1, ctl3; 7 on ctl2"
    assert between([3.5], 1) == "at 2.50 s"
    assert between([7, 3.5, 4], 1) == "from 2.50 s to 6.00 s"


def test_lost_rows() -> None:
    finals: dict[str, list[int] | None] = {"a": [1, 2, 4, 5, 6], "b": [1, 2, 4], "c": [2, 4, 5]}
    checks = said(WRITES, finals)
    assert checks["lost rows"] == (
        "fail: missing: 5-6 on b; 1, 6 on c (3 of 4 acknowledged rows, acknowledged from 1.00 s"
        " to 6.00 s)"
    )
    assert checks["members that disagree"] == (
        "fail: not on every member; missing: 5-6 on b; 1, 6 on c"
    )
    assert checks["duplicated rows"].startswith("pass")
    assert checks["phantom rows"].startswith("pass")


def test_a_member_that_was_not_read_hides_no_loss() -> None:
    checks = said(WRITES, {"a": [1, 2, 5], "b": None})
    assert checks["lost rows"] == (
        "fail: missing: 6 on a (1 of 4 acknowledged rows, acknowledged at 6.00 s); "
        "b could not be read in the end"
    )
    assert checks["members that disagree"] == "unknown: b could not be read in the end"


def test_rows_that_should_not_be_there() -> None:
    full = [1, 2, 5, 6]
    checks = said(WRITES, {"a": [*full, 3], "b": [*full, 3, 77], "c": [*full, 1, 1]})
    assert checks["phantom rows"] == (
        "fail: nobody wrote 77 on b; there although the write failed: 3 on a, b"
    )
    assert checks["duplicated rows"] == "fail: there more than once: 1 on c"


def test_a_write_that_failed_and_then_worked_may_be_there() -> None:
    checks = said([write(1, 101, "failed"), write(1, 102)], {"a": [1], "b": [1]})
    assert checks["phantom rows"].startswith("pass")
    assert checks["lost rows"] == "pass: none of 1 acknowledged rows is missing on a, b"


def test_nothing_proves_nothing() -> None:
    assert {one.split(":")[0] for one in said([], {}).values()} == {"unknown"}
    assert said([write(1, 101, "info")], {"a": [1], "b": [1]})["lost rows"] == (
        "unknown: no write was acknowledged"
    )
    assert said(WRITES, {})["lost rows"] == "unknown: no member was read in the end"
    assert said(WRITES, {"a": [1, 2, 5, 6]})["members that disagree"] == (
        "unknown: there are no two members to compare"
    )


def test_stale_reads_are_told_with_their_pair() -> None:
    reads = [
        read([], 101),  # At the same instant: nobody knows which was first.
        read([1, 2], 103),
        read([2], 103.5),
        read([1, 2, 5], 110),
        read([1, 2], 110.5),
        read([1], 111, "info"),
        read(5, 112),
        read(4, 113),
        read(6, 114),
    ]
    finals: dict[str, list[int] | None] = {"a": [1, 2, 5, 6], "b": [1, 2, 5, 6]}
    assert said([*WRITES, *reads], finals)["stale reads"] == (
        "fail: 5 of 7 reads: "
        "the read at 3.50 s lacks 1 (1 was acknowledged at 1.00 s); "
        "the read at 10.00 s lacks 6 (6 was acknowledged at 6.00 s); "
        "the read at 10.50 s lacks 5-6 (5 was acknowledged at 5.00 s)"
    )
    assert said([*WRITES, reads[-1]], finals)["stale reads"] == (
        "pass: each of 1 reads saw all that was acknowledged before it"
    )
    assert said([*WRITES, reads[0]], finals)["stale reads"].startswith("unknown")


def message(kind: str, value: object, at: float, outcome: Outcome = "ok") -> Operation:
    return Operation("messages", kind, value, at - 0.5, at, outcome, False)


MESSAGES = [
    *(message("publish", value, 100 + value) for value in range(1, 7)),
    message("publish", 7, 107, "failed"),
    message("publish", 8, 108, "info"),
    message("consume", None, 103, "failed"),
    message("consume", 1, 103),
    message("consume", 1, 104),
    message("consume", 2, 104, "info"),
    message("consume", 7, 108),
    message("consume", 9, 108),
    message("consume", 5, 108, "failed"),
    message("consume", 6, 108),
    message("consume", 6, 109, "info"),
]


def test_messages() -> None:
    told = [f"{c.verdict}: {c.said}" for c in messages(History(MESSAGES), 100.0)]
    assert told == [
        "fail: never came: 3-5 (3 of 6 acknowledged messages, acknowledged from 3.00 s to 5.00 s)",
        "fail: nobody published 9; came although publishing failed: 7",
        "pass: 1 of 4 messages came more than once: 1",
    ]
    once = messages(History(MESSAGES), 100.0, exactly_once=True)[-1]
    assert (once.verdict, once.said) == ("fail", "1 of 4 messages came more than once: 1")


def test_messages_without_a_consumer_prove_nothing() -> None:
    published = [message("publish", 1, 101)]
    assert {one.verdict for one in messages(History(published), 0.0)} == {"unknown"}
    only = messages(History([message("consume", 1, 101)]), 0.0)
    assert [one.verdict for one in only] == ["unknown", "fail", "pass"]


def test_other_clients_are_not_looked_at() -> None:
    found = messages(History(MESSAGES), 100.0, client="others")
    assert {one.verdict for one in found} == {"unknown"}


@pytest.mark.parametrize(
    ("holders", "verdict", "text"),
    [
        ({"a": True, "b": False}, "pass", "held by a"),
        ({"a": True, "b": True, "c": None}, "fail", "held by a, b; c could not be asked"),
        ({"b": False, "a": False}, "fail", "held by none of a, b"),
        ({"a": False, "b": None}, "unknown", "b could not be asked"),
        ({"a": True, "b": None}, "unknown", "b could not be asked"),
        ({}, "unknown", "no node was asked"),
    ],
)
def test_one_holder(holders: dict[str, bool | None], verdict: str, text: str) -> None:
    found = exactly_one(holders)
    assert (found.name, found.verdict, found.said) == ("VIP holder", verdict, text)
    assert exactly_one(holders, "lease").name == "lease holder"


def test_allocations_are_those_of_servers() -> None:
    size = {"VCPU": 1, "MEMORY_MB": 96}
    servers = {"id-1": Booked("vm1", size), "id-2": Booked("vm2", size), "id-3": Booked("vm3", {})}
    found = allocations(servers, {"id-2": size | {"VCPU": 2}, "id-9": size, "id-8": size})
    assert found.verdict == "fail"
    assert found.said == (
        "allocations of servers that are gone: id-8, id-9; "
        "vm1 (id-1) takes MEMORY_MB 96, VCPU 1, allocated nothing; "
        "vm2 (id-2) takes MEMORY_MB 96, VCPU 1, allocated MEMORY_MB 96, VCPU 2"
    )
    good = allocations(servers, {"id-1": size, "id-2": size})
    assert (good.verdict, good.said) == (
        "pass", "2 servers on a host, each with what its flavor takes, and nothing else",
    )  # fmt: skip
    assert allocations({}, {}).verdict == "pass"


def test_several_holders() -> None:
    def sample(at: float, *having: str) -> Sample:
        return Sample(at, {node: node in having for node in ("a", "b")} | {"c": None})

    samples = [sample(100 + at, *("ab" if 2 <= at <= 8 else "a")) for at in range(12)]
    told = held_twice(samples, [], 100.0, limit=5)
    assert (told.verdict, told.said) == (
        "fail", "by several nodes from 2.00 s to 8.00 s; c never answered",
    )  # fmt: skip
    assert held_twice(samples, [], 100.0, limit=6).verdict == "unknown"
    answering = [replace(one, holders={**one.holders, "c": False}) for one in samples]
    told = held_twice(answering, [(101.0, 109.0)], 100.0, limit=5)
    assert (told.verdict, told.said) == (
        "pass",
        "in 12 samples never for longer than 5 s, but for 7 while nodes were apart, where it has "
        "to be expected",
    )
    assert held_twice([], [], 100.0).verdict == "unknown"


def test_an_outage_that_was_expected() -> None:
    survivable = overload("", expected=True)
    assert (survivable.verdict, "survives" in survivable.said) == ("unknown", True)
    assert overload("3 of 3", expected=True).verdict == "pass"
    outage = [(102.5, 106.0)]
    early = [write(3, 102.75), write(4, 104, "failed"), write(5, 107)]
    assert down(History(early), "rows", "write", outage, 100.0).verdict == "pass"
    found = down(History([*early, write(6, 105)]), "rows", "write", outage, 100.0)
    assert (found.verdict, found.said) == ("fail", "1 succeeded, at 5.00 s")
    for nothing in ([write(1, 101)], [write(9, 109)]):
        assert down(History(nothing), "rows", "write", outage, 100.0).verdict == "unknown"
    assert down(History(early), "rows", "write", [], 100.0).verdict == "unknown"


def test_usage_is_what_exists() -> None:
    found = quotas({"instances": 3, "cores": 2, "ram": 1}, {"instances": 2, "cores": 2, "ports": 1})
    assert found.verdict == "fail"
    assert found.said == "instances: usage 3 while 2 exist; ports: usage 0 while 1 exist"
    assert quotas({"instances": 3, "cores": 9}, {"instances": 3}).said == "instances 3"
    assert quotas({"instances": 3}, {}).verdict == "unknown"


def test_more_than_the_cluster_survives() -> None:
    found = overload("2 of 3 controllers at once")
    assert found.verdict == "unknown"
    assert found.said == "more than the cluster can survive: 2 of 3 controllers at once"
    assert overload("").verdict == "pass"
