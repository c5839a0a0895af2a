"""Steps run in order, in parallel, and stop in an orderly way."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from devenv.core.errors import DeployError, NodeError, NodeLost
from devenv.core.events import Event, Events
from devenv.core.parallel import Step, Timed, Timeline, run_steps


def nothing() -> None:
    pass


def step(id: str, *after: str, run: Callable[[], None] = nothing, node: str | None = "aio") -> Step:
    return Step(id, f"name-{id}", "job", node, f"why-{id}", run, frozenset(after))


class Recorder:
    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.events = Events(self.seen.append)

    def of(self, kind: str) -> list[str]:
        return [event.step for event in self.seen if event.kind == kind]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_each_step_runs_once_and_after_what_it_waits_for(recorder: Recorder) -> None:
    ran: list[str] = []
    shape = {"d": "bc", "b": "a", "c": "a", "a": "", "e": "d"}
    steps = [step(id, *after, run=partial(ran.append, id)) for id, after in shape.items()]
    timeline = run_steps(steps, recorder.events)
    assert sorted(ran) == sorted(shape)
    assert [ran.index("a"), ran.index("d"), ran.index("e")] == [0, 3, 4]
    times = {timed.id: timed for timed in timeline.steps}
    for id, after in shape.items():
        assert all(times[earlier].end <= times[id].start for earlier in after)
    assert timeline.wall >= max(timed.end for timed in timeline.steps)


def test_events_carry_name_node_type_and_reason(recorder: Recorder) -> None:
    run_steps([step("a")], recorder.events)
    start, done = recorder.seen
    assert (start.kind, start.step, start.node, start.type, start.text) == (
        "start", "name-a", "aio", "job", "why-a",
    )  # fmt: skip
    assert done.kind == "done" and done.seconds is not None


def test_independent_steps_run_at_the_same_time(recorder: Recorder) -> None:
    meet = threading.Barrier(3, timeout=5)  # broken, and so an error, unless three are here

    def run() -> None:
        meet.wait()

    run_steps([step(id, run=run) for id in "abc"], recorder.events)


def test_a_step_starts_as_soon_as_its_own_dependency_is_done(recorder: Recorder) -> None:
    after_quick = threading.Event()

    def slow() -> None:
        assert after_quick.wait(5), "the step after the quick one waited for the slow one"

    steps = [step("slow", run=slow), step("quick"), step("next", "quick", run=after_quick.set)]
    run_steps(steps, recorder.events)


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_steps_at_once_than_workers(recorder: Recorder, workers: int) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def run() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1

    run_steps([step(str(n), run=run) for n in range(9)], recorder.events, workers=workers)
    assert most == workers


def test_the_longest_chain_of_dependents_goes_first(recorder: Recorder) -> None:
    steps = [step("x"), step("y"), step("a"), step("b", "a"), step("c", "b"), step("p"),
             step("q", "p")]  # fmt: skip
    run_steps(steps, recorder.events, workers=1)
    assert "".join(name[-1] for name in recorder.of("start")) == "abpxycq"


def test_what_is_not_among_the_steps_is_done_already(recorder: Recorder) -> None:
    timeline = run_steps([step("a", "left-out"), step("b", "a", "gone")], recorder.events)
    assert [(timed.id, timed.after) for timed in timeline.steps] == [
        ("a", frozenset()),
        ("b", frozenset("a")),
    ]


def test_nothing_to_do_is_fine(recorder: Recorder) -> None:
    timeline = run_steps([], recorder.events)
    assert (timeline.steps, timeline.critical_path(), timeline.critical_seconds) == ([], [], 0)


def test_a_failure_lets_steps_in_flight_finish_and_skips_the_rest(recorder: Recorder) -> None:
    failed = threading.Event()
    flying = threading.Event()
    error = NodeError("the container died", node="ctl1")

    def fail() -> None:
        assert flying.wait(5)
        failed.set()
        raise error

    def fly() -> None:
        flying.set()
        assert failed.wait(5)
        time.sleep(0.05)

    steps = [step("bad", run=fail, node="ctl1"), step("flying", run=fly), step("next", "bad"),
             step("later", "flying"), step("last", "next")]  # fmt: skip
    with pytest.raises(NodeError) as caught:
        run_steps(steps, recorder.events)
    assert caught.value is error
    assert recorder.of("failed") == ["name-bad"]
    assert recorder.of("done") == ["name-flying"]
    assert sorted(recorder.of("skipped")) == ["name-last", "name-later", "name-next"]
    reasons = {event.text for event in recorder.seen if event.kind == "skipped"}
    assert reasons == {"name-bad on ctl1 failed"}
    assert sorted(recorder.of("start")) == ["name-bad", "name-flying"]


def test_ready_steps_that_had_no_worker_are_skipped_after_a_failure(recorder: Recorder) -> None:
    def fail() -> None:
        raise NodeError("no")

    with pytest.raises(NodeError):
        run_steps([step("a", run=fail), step("b"), step("c")], recorder.events, workers=1)
    assert recorder.of("start") == ["name-a"]
    assert recorder.of("skipped") == ["name-b", "name-c"]


def test_others_go_on_when_a_node_is_lost(recorder: Recorder) -> None:
    """What is on it, and what waits for that, is skipped; the error names it in the end."""

    def lose() -> None:
        raise NodeLost("it answers no more", node="ctl1")

    steps = [step("bad", run=lose, node="ctl1"), step("same", node="ctl1"),
             step("waits", "bad", node="ctl2"), step("free", node="ctl2"),
             step("more", "free", node="ctl2")]  # fmt: skip
    with pytest.raises(NodeLost, match="answers no more"):
        run_steps(steps, recorder.events, workers=1)
    assert recorder.of("done") == ["name-free", "name-more"]
    assert sorted(recorder.of("skipped")) == ["name-same", "name-waits"]


def test_a_failure_elsewhere_ends_it_all_the_same(recorder: Recorder) -> None:
    def lose() -> None:
        raise NodeLost("it answers no more", node="ctl1")

    def fail() -> None:
        raise NodeError("no", node="ctl2")

    steps = [step("lost", run=lose, node="ctl1"), step("bad", run=fail, node="ctl2"),
             step("free", node="ctl3")]  # fmt: skip
    with pytest.raises(NodeLost) as caught:
        run_steps(steps, recorder.events, workers=1)
    assert recorder.of("skipped") == ["name-free"]
    assert caught.value.__notes__ == ["name-bad on ctl2 failed too: ctl2: no"]


def test_the_first_error_is_raised_with_the_later_ones_as_notes(recorder: Recorder) -> None:
    both = threading.Barrier(2, timeout=5)
    first_raised = threading.Event()

    def first() -> None:
        both.wait()
        first_raised.set()
        raise NodeError("first")

    def second() -> None:
        both.wait()
        assert first_raised.wait(5)
        time.sleep(0.1)
        raise ValueError

    with pytest.raises(NodeError, match="first") as caught:
        run_steps([step("two", run=second, node=None), step("one", run=first)], recorder.events)
    assert caught.value.__notes__ == ["name-two failed too: ValueError"]


def test_ctrl_c_is_raised_at_once_and_starts_no_step(recorder: Recorder) -> None:
    release = threading.Event()
    ran: list[str] = []

    def long() -> None:
        time.sleep(0.1)  # by then the main thread waits for this step
        os.kill(os.getpid(), signal.SIGINT)
        release.wait(5)

    steps = [step("long", run=long), step("next", "long", run=lambda: ran.append("next"))]
    begin = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_steps(steps, recorder.events)
        assert time.monotonic() - begin < 2
        assert [(event.step, event.text) for event in recorder.seen if event.kind == "skipped"] == [
            ("name-next", "interrupted")
        ]
    finally:
        release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("step"):
            thread.join(5)
    assert recorder.of("done") == ["name-long"] and not ran


def test_a_cycle_is_named_before_anything_runs(recorder: Recorder) -> None:
    steps = [step("free"), step("a", "c"), step("b", "a"), step("c", "b")]
    with pytest.raises(
        DeployError, match=r"cycle: (a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c)"
    ):
        run_steps(steps, recorder.events)
    with pytest.raises(DeployError, match="a -> a"):
        run_steps([step("a", "a")], recorder.events)
    assert recorder.seen == []


def test_an_id_that_repeats_is_an_error(recorder: Recorder) -> None:
    with pytest.raises(DeployError, match="'a'"):
        run_steps([step("a"), step("b"), step("a")], recorder.events)
    assert recorder.seen == []


def timed(id: str, start: float, end: float, *after: str) -> Timed:
    return Timed(id, id, None, "job", start, end, frozenset(after))


def test_the_critical_path_is_the_chain_that_bound() -> None:
    timeline = Timeline(
        [
            timed("a", 0, 1),
            timed("b", 0, 3),
            timed("x", 0, 4),
            timed("c", 3.5, 5, "a", "b", "left-out"),  # waited half a second for a worker
            timed("d", 5, 6, "c", "x"),
            timed("e", 4, 5.5, "x"),
        ],
        wall=6.25,
    )
    assert [step.id for step in timeline.critical_path()] == ["b", "c", "d"]
    assert timeline.critical_seconds == pytest.approx(3 + 1.5 + 1)


def test_a_timeline_survives_json() -> None:
    timeline = Timeline([timed("a", 0, 1.00049), timed("b", 1, 2, "a", "0")], wall=2.5)
    assert json.loads(json.dumps(timeline.as_dict())) == {
        "wall": 2.5,
        "critical_seconds": 2.0,
        "critical_path": ["a", "b"],
        "steps": [
            {"id": "a", "name": "a", "node": None, "type": "job", "start": 0, "end": 1.0,
             "after": []},
            {"id": "b", "name": "b", "node": None, "type": "job", "start": 1, "end": 2,
             "after": ["0", "a"]},
        ],
    }  # fmt: skip
