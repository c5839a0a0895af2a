"""Waiting, on a clock that the test moves."""

from __future__ import annotations

import pytest

from devenv.core import wait
from devenv.core.errors import NodeError, WaitTimeout
from devenv.core.wait import NotYet, wait_until


class Clock:
    """Stands for the module `time`: sleeping moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(wait, "time", made)
    return made


class Later:
    """True at the n-th time."""

    def __init__(self, times: int) -> None:
        self.asked, self.times = 0, times

    def __call__(self) -> str:
        self.asked += 1
        if self.asked < self.times:
            raise NotYet(f"asked {self.asked} times")
        return "there"


def test_true_at_once_takes_no_time(clock: Clock) -> None:
    assert wait_until(Later(1), what="it", timeout=0) == "there"
    assert clock.pauses == []


def test_pauses_grow_up_to_the_longest(clock: Clock) -> None:
    assert wait_until(Later(7), what="it", timeout=60, interval=0.2, longest=1) == "there"
    assert clock.pauses == pytest.approx([0.2, 0.3, 0.45, 0.675, 1, 1])


def test_a_timeout_says_the_last_thing_seen(clock: Clock) -> None:
    with pytest.raises(WaitTimeout, match=r"^waited 5 s for it; last seen: asked \d+ times$") as e:
        wait_until(Later(1000), what="it", timeout=5, node="")
    assert clock.now <= 1005
    assert isinstance(e.value.__cause__, NotYet)


def test_a_timeout_names_the_node() -> None:
    with pytest.raises(WaitTimeout) as caught:
        wait_until(Later(1000), what="it", timeout=1, node="ctl1")
    assert caught.value.node == "ctl1"


def test_it_does_not_sleep_past_the_end(clock: Clock) -> None:
    with pytest.raises(WaitTimeout):
        wait_until(Later(3), what="it", timeout=0.5, interval=0.6)
    assert clock.pauses == []


def test_another_error_ends_the_wait_at_once(clock: Clock) -> None:
    def died() -> None:
        raise NodeError("it is dead")

    with pytest.raises(NodeError):
        wait_until(died, what="it", timeout=60)
    assert clock.pauses == []
