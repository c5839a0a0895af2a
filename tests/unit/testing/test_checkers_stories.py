"""A valid history passes, and each anomaly turns exactly the checks that it concerns."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from checkers_anomalies import ANOMALIES, Anomaly
from checkers_stories import Story, judge, stories, wrong
from hypothesis import given, settings
from hypothesis import strategies as st

from devenv.testing.checkers import combine, evidence, messages, rows

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
    story.end += 4096
    story.apart = [(first + 4096, last + 4096) for first, last in story.apart]
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
