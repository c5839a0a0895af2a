"""What can be wrong with a story, each with the checks that have to tell."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from checkers_stories import CLIENTS, MAJORITY, NODES, SIZE, TICK, Story

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
    story.allocated["id-9"] = {"VCPU": 1}
    return {"allocations": "fail"}


def a_server_without_allocation(story: Story, rng: random.Random) -> dict[str, str]:
    story.allocated.popitem()
    return {"allocations": "fail"}


def an_allocation_without_a_host(story: Story, rng: random.Random) -> dict[str, str]:
    story.allocated["id-3"] = dict(SIZE)
    return {"allocations": "fail"}


def an_allocation_of_another_size(story: Story, rng: random.Random) -> dict[str, str]:
    story.allocated["id-1"][rng.choice(list(SIZE))] += rng.choice((-1, 1))
    return {"allocations": "fail"}


def a_quota_that_is_off(story: Story, rng: random.Random) -> dict[str, str]:
    story.usage["instances"] += rng.choice((-1, 1))
    return {"quota usage": "fail"}


def several_holders_for_long(story: Story, rng: random.Random) -> dict[str, str]:
    story.twice = list(range(3, 10))
    return {"VIP held twice": "fail"}


def several_holders_for_a_moment(story: Story, rng: random.Random) -> dict[str, str]:
    story.twice = [*range(3, 9), *range(10, 16)]  # Not longer than the limit, each.
    return {}


def several_holders_in_a_partition(story: Story, rng: random.Random) -> dict[str, str]:
    several_holders_for_long(story, rng)
    story.apart = [(story.begin + 4, story.begin + 9)]
    return {}


def several_holders_after_a_partition(story: Story, rng: random.Random) -> dict[str, str]:
    several_holders_for_long(story, rng)
    story.apart = [(story.begin, story.begin + 2)]
    return {"VIP held twice": "fail"}


def a_lost_boot(story: Story, rng: random.Random) -> dict[str, str]:
    one = rng.choice(story.history.of("boots"))
    story.swap(one, replace(one, outcome="info"))
    return {"boots that came to no end": "fail"}


def no_boot(story: Story, rng: random.Random) -> dict[str, str]:
    (done,) = story.of("boots", "boot")
    story.swap(done, replace(done, outcome="failed"))
    return {"boots that came to no end": "unknown"}


def an_outage(story: Story, rng: random.Random) -> dict[str, str]:
    """What was under way before, or comes back when it is over, may succeed."""
    story.exceeds, story.outage = "3 of 3 controllers", True
    begin, end = story.window.held, story.window.healed
    for one in story.history.of("rows", "write") + story.history.of("messages", "publish"):
        if begin <= one.invoked and one.completed <= end:
            story.swap(one, replace(one, outcome="info"))
    for client in MAJORITY:
        story.budgets[client] = 1e9
    return {}


def an_outage_that_was_none(story: Story, rng: random.Random) -> dict[str, str]:
    an_outage(story, rng)
    client, (kind,) = rng.choice(list(MAJORITY.items()))
    begin, end = story.window.held, story.window.healed
    value = story.history.of(client, kind)[0].value  # One that is there.
    story.operations.append(Operation(client, kind, value, begin, end, "ok"))
    return {f"outage of {client} {kind}": "fail"}


def an_outage_that_nobody_watched(story: Story, rng: random.Random) -> dict[str, str]:
    an_outage(story, rng)
    story.window = replace(story.window, held=story.end + 1, healed=story.end + 2)
    return dict.fromkeys(("outage of rows write", "outage of messages publish"), "unknown")


def an_outage_that_a_cluster_survives(story: Story, rng: random.Random) -> dict[str, str]:
    an_outage(story, rng)
    story.exceeds = ""
    return {"faults at once": "unknown"}


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
    an_allocation_without_a_host,
    an_allocation_of_another_size,
    a_quota_that_is_off,
    several_holders_for_long,
    several_holders_for_a_moment,
    several_holders_in_a_partition,
    several_holders_after_a_partition,
    a_lost_boot,
    no_boot,
    an_outage,
    an_outage_that_was_none,
    an_outage_that_nobody_watched,
    an_outage_that_a_cluster_survives,
    too_much_at_once,
]
