"""A valid history passes, and each anomaly turns exactly the checks that it concerns."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from checkers_stories import CLIENTS, NODES, TICK, Story, judge, stories, wrong
from hypothesis import given, settings
from hypothesis import strategies as st

from devenv.testing.checkers import combine, evidence, messages, rows
from devenv.testing.history import Operation, Outcome

#: Changes a story and tells which checks are no pass any more.
Anomaly = Callable[[Story, random.Random], dict[str, str]]


def acknowledged(story: Story, rng: random.Random, client: str, kind: str) -> Operation:
    return rng.choice(story.of(client, kind))


def lives(story: Story, client: str, outcome: Callable[[Operation], Outcome]) -> None:
    """Give all that a client did another outcome."""
    for one in story.history.of(client):
        story.swap(one, replace(one, outcome=outcome(one)))


def a_row_lost_on_one_member(story: Story, rng: random.Random) -> dict[str, str]:
    story.finals[rng.choice(NODES)].remove(acknowledged(story, rng, "rows", "write").value)
    return {"lost rows": "fail", "members that disagree": "fail"}


def a_row_lost_on_all_members(story: Story, rng: random.Random) -> dict[str, str]:
    value = acknowledged(story, rng, "rows", "write").value
    for values in story.finals.values():
        values.remove(value)
    return {"lost rows": "fail"}


def an_unknown_row_on_one_member(story: Story, rng: random.Random) -> dict[str, str]:
    value = rng.choice(story.of("rows", "write", outcome="info")).value
    for values in story.finals.values():
        if value in values:
            values.remove(value)
    story.finals[rng.choice(NODES)].append(value)
    return {"members that disagree": "fail"}


def a_row_twice(story: Story, rng: random.Random) -> dict[str, str]:
    values = story.finals[rng.choice(NODES)]
    values.append(rng.choice(values))
    return {"duplicated rows": "fail"}


def a_row_from_nowhere(story: Story, rng: random.Random) -> dict[str, str]:
    for values in story.finals.values():
        values.append(5000)
    return {"phantom rows": "fail"}


def a_failed_write_is_there(story: Story, rng: random.Random) -> dict[str, str]:
    value = rng.choice(story.of("rows", "write", outcome="failed")).value
    for values in story.finals.values():
        values.append(value)
    return {"phantom rows": "fail"}


def a_member_that_cannot_be_read(story: Story, rng: random.Random) -> dict[str, str]:
    story.unread = rng.choice(NODES)
    names = ("lost rows", "duplicated rows", "phantom rows", "members that disagree")
    return dict.fromkeys(names, "unknown")


def a_stale_read(story: Story, rng: random.Random) -> dict[str, str]:
    writes = story.of("rows", "write")
    reads = [one for one in story.of("rows", "read") if writes[0].completed < one.invoked]
    read = rng.choice(reads)
    due = [one.value for one in writes if one.completed < read.invoked]
    lacking = rng.choice(due)
    result = max(due) - 1 if isinstance(read.result, int) else set(read.result) - {lacking}
    story.swap(read, replace(read, result=result))
    return {"stale reads": "fail"}


def a_read_of_nothing(story: Story, rng: random.Random) -> dict[str, str]:
    read = story.of("rows", "read")[-1]
    story.swap(read, replace(read, result=None))
    return {"stale reads": "fail"}


def no_read(story: Story, rng: random.Random) -> dict[str, str]:
    story.drop(*story.of("rows", "read"))
    return {"stale reads": "unknown"}


def a_lost_message(story: Story, rng: random.Random) -> dict[str, str]:
    value = acknowledged(story, rng, "messages", "publish").value
    story.drop(*(one for one in story.history.of("messages", "consume") if one.value == value))
    return {"lost messages": "fail"}


def a_message_from_nowhere(story: Story, rng: random.Random) -> dict[str, str]:
    one = acknowledged(story, rng, "messages", "consume")
    story.operations.append(replace(one, value=5000, outcome=rng.choice(("ok", "info"))))
    return {"phantom messages": "fail"}


def a_failed_message_comes(story: Story, rng: random.Random) -> dict[str, str]:
    failed = rng.choice(story.of("messages", "publish", outcome="failed"))
    story.operations.append(replace(failed, kind="consume", outcome="ok"))
    return {"phantom messages": "fail"}


def a_message_twice_where_once_is_promised(story: Story, rng: random.Random) -> dict[str, str]:
    story.exactly_once = True
    story.operations.append(acknowledged(story, rng, "messages", "consume"))
    return {"duplicated messages": "fail"}


def a_message_twice(story: Story, rng: random.Random) -> dict[str, str]:
    story.operations.append(acknowledged(story, rng, "messages", "consume"))
    return {}


def no_message_ever_comes(story: Story, rng: random.Random) -> dict[str, str]:
    story.drop(*story.of("messages", "consume"))
    story.drop(*story.of("messages", "consume", outcome="info"))
    names = ("lost messages", "phantom messages", "duplicated messages")
    return dict.fromkeys(names, "unknown")


def gap_name(client: str) -> str:
    return " ".join(("longest gap of", client, *CLIENTS[client]))


def a_gap_of_the_budget(story: Story, rng: random.Random) -> dict[str, str]:
    story.budgets = dict(story.gaps)
    return {}


def a_gap_a_little_longer(story: Story, rng: random.Random) -> dict[str, str]:
    client = rng.choice(list(CLIENTS))
    story.budgets[client] = story.gaps[client] - TICK
    return {gap_name(client): "fail"}


def never_again(story: Story, rng: random.Random) -> dict[str, str]:
    lives(story, "ping", lambda one: "ok" if one.completed <= story.window.begin else "failed")
    (last, *_) = reversed(story.of("ping"))
    over = story.history.of("ping")[-1].completed
    story.budgets["ping"] = over - last.completed - TICK
    return {"longest gap of ping": "fail"}


def a_client_that_never_succeeds(story: Story, rng: random.Random) -> dict[str, str]:
    lives(story, "ping", lambda one: rng.choice(("failed", "info")))
    return {"longest gap of ping": "unknown"}


def a_client_that_only_succeeds_later(story: Story, rng: random.Random) -> dict[str, str]:
    for one in story.of("ping"):
        if one.completed <= story.window.begin:
            story.drop(one)
    return {"longest gap of ping": "unknown"}


def a_client_dead_before_the_fault(story: Story, rng: random.Random) -> dict[str, str]:
    first = story.of("ping")[0]
    lives(story, "ping", lambda one: "ok" if one.invoked == first.invoked else "info")
    return {"longest gap of ping": "unknown"}


def a_failure_before_the_fault(story: Story, rng: random.Random) -> dict[str, str]:
    earlier = [one for one in story.of("ping") if one.completed <= story.window.begin]
    one = rng.choice(earlier[1:])
    story.swap(one, replace(one, outcome=rng.choice(("failed", "info"))))
    story.budgets["ping"] = TICK  # Even far over the budget it proves nothing.
    return {"longest gap of ping": "unknown"}


def a_client_that_looked_away(story: Story, rng: random.Random) -> dict[str, str]:
    window = story.window
    seen = story.history.of("ping")
    story.drop(*(o for o in seen if o.completed > window.begin and o.invoked <= window.healed))
    return {"longest gap of ping": "unknown"}


def two_holders(story: Story, rng: random.Random) -> dict[str, str]:
    story.holders["ctl3"] = True
    return {"VIP holder": "fail"}


def no_holder(story: Story, rng: random.Random) -> dict[str, str]:
    story.holders["ctl2"] = False
    return {"VIP holder": "fail"}


def a_node_that_cannot_be_asked(story: Story, rng: random.Random) -> dict[str, str]:
    story.holders[rng.choice(NODES)] = None
    return {"VIP holder": "unknown"}


def a_leaked_allocation(story: Story, rng: random.Random) -> dict[str, str]:
    story.consumers.append("id-9")
    return {"allocations": "fail"}


def a_server_without_allocation(story: Story, rng: random.Random) -> dict[str, str]:
    story.consumers.pop()
    return {"allocations": "fail"}


def a_quota_that_is_off(story: Story, rng: random.Random) -> dict[str, str]:
    story.usage["instances"] += rng.choice((-1, 1))
    return {"quota usage": "fail"}


def too_much_at_once(story: Story, rng: random.Random) -> dict[str, str]:
    story.exceeds = "2 of 3 controllers"
    return {"faults at once": "unknown"}


ANOMALIES: list[Anomaly] = [
    a_row_lost_on_one_member,
    a_row_lost_on_all_members,
    an_unknown_row_on_one_member,
    a_row_twice,
    a_row_from_nowhere,
    a_failed_write_is_there,
    a_member_that_cannot_be_read,
    a_stale_read,
    a_read_of_nothing,
    no_read,
    a_lost_message,
    a_message_from_nowhere,
    a_failed_message_comes,
    a_message_twice_where_once_is_promised,
    a_message_twice,
    no_message_ever_comes,
    a_gap_of_the_budget,
    a_gap_a_little_longer,
    never_again,
    a_client_that_never_succeeds,
    a_client_that_only_succeeds_later,
    a_client_dead_before_the_fault,
    a_failure_before_the_fault,
    a_client_that_looked_away,
    two_holders,
    no_holder,
    a_node_that_cannot_be_asked,
    a_leaked_allocation,
    a_server_without_allocation,
    a_quota_that_is_off,
    too_much_at_once,
]

#: Much faster than random numbers that hypothesis draws one by one, and so many more stories.
seeds = st.integers(0, 2**32).map(random.Random)


@given(stories())
@settings(max_examples=100, deadline=None)
def test_a_valid_story_passes(story: Story) -> None:
    assert wrong(story) == {}
    assert combine(judge(story)) == "pass"


@pytest.mark.parametrize("anomaly", ANOMALIES, ids=lambda one: one.__name__)
@given(story=stories(), rng=seeds)
@settings(max_examples=20, deadline=None)
def test_each_anomaly_is_found(anomaly: Anomaly, story: Story, rng: random.Random) -> None:
    expected = anomaly(story, rng)
    assert wrong(story) == expected


@given(story=stories(), anomaly=st.sampled_from(ANOMALIES), rng=seeds)
@settings(max_examples=100, deadline=None)
def test_the_order_of_completion_changes_nothing(
    story: Story, anomaly: Anomaly, rng: random.Random
) -> None:
    anomaly(story, rng)
    said = judge(story)
    rng.shuffle(story.operations)
    assert judge(story) == said


@given(story=stories(), anomaly=st.sampled_from(ANOMALIES), rng=seeds)
@settings(max_examples=100, deadline=None)
def test_what_is_said_counts_from_the_beginning(
    story: Story, anomaly: Anomaly, rng: random.Random
) -> None:
    anomaly(story, rng)
    said = judge(story)
    told = evidence(story.history, [story.window], said, story.begin)
    window = story.window
    story.operations = [
        replace(one, invoked=one.invoked + 4096, completed=one.completed + 4096)
        for one in story.operations
    ]
    story.begin += 4096
    story.window = replace(
        window,
        begin=window.begin + 4096,
        held=window.held + 4096,
        healed=window.healed + 4096,
    )
    assert judge(story) == said
    assert evidence(story.history, [story.window], said, story.begin) == told


@given(story=stories(), rng=seeds)
@settings(max_examples=100, deadline=None)
def test_what_nobody_knows_is_never_a_failure(story: Story, rng: random.Random) -> None:
    """Any write may turn out to be unknown, and be there or not; so may any consume."""
    for one in story.history.of("rows", "write"):
        if rng.random() < 0.5:
            story.swap(one, replace(one, outcome="info"))
            there = rng.random() < 0.5
            for values in story.finals.values():
                values[:] = [value for value in values if value != one.value]
                values.extend([one.value] if there else [])
    for one in story.history.of("messages"):
        if rng.random() < 0.5:
            story.swap(one, replace(one, outcome="info"))
    unknown = {one.value for one in story.of("messages", "publish", outcome="info")}
    story.drop(
        *(
            one
            for one in story.history.of("messages", "consume")
            if one.value in unknown and rng.random() < 0.5
        )
    )
    found = (*rows(story.history, story.finals, story.begin), *messages(story.history, story.begin))
    assert [one for one in found if one.verdict == "fail"] == []
