"""The stream of events: order, redaction, and what a step says."""

from __future__ import annotations

import threading

import pytest

from devenv.core.events import Event, Events
from devenv.core.redact import Redactor


def test_a_step() -> None:
    seen: list[Event] = []
    with Events(seen.append).step("nova_api", node="ctl1", type="container", why="it is not there"):
        pass
    assert [(e.kind, e.step, e.node, e.type, e.text) for e in seen] == [
        ("start", "nova_api", "ctl1", "container", "it is not there"),
        ("done", "nova_api", "ctl1", "container", ""),
    ]
    assert seen[0].seconds is None
    assert seen[1].seconds is not None and 0 <= seen[1].seconds < 5
    assert seen[0].at <= seen[1].at


@pytest.mark.parametrize(
    ("error", "text"), [(ValueError("no"), "no"), (KeyboardInterrupt(), "KeyboardInterrupt")]
)
def test_a_step_that_fails_says_so_and_lets_the_error_pass(error: BaseException, text: str) -> None:
    seen: list[Event] = []
    with pytest.raises(type(error)) as caught, Events(seen.append).step("x"):
        raise error
    assert caught.value is error
    assert (seen[-1].kind, seen[-1].text) == ("failed", text)
    assert seen[-1].seconds is not None


def test_secrets_are_gone_before_anybody_sees_them() -> None:
    """In reasons, notes and errors; a secret that is learned later counts from then on."""
    seen: list[Event] = []
    redact = Redactor(["open sesame"])
    events = Events(seen.append, redact=redact)
    later: list[Event] = []
    events.subscribe(later.append)
    events.note("x", "the password is open sesame")
    redact.add(["hunter22"])
    with pytest.raises(ValueError, match="hunter22"), events.step("x", why="open sesame"):
        raise ValueError("login with hunter22 failed")
    texts = ["the password is ***", "***", "login with *** failed"]
    assert [event.text for event in seen] == texts
    assert later == seen


def test_a_later_subscriber_sees_later_events() -> None:
    seen: list[Event] = []
    events = Events()
    events.note("x", "one")
    events.subscribe(seen.append)
    events.note("x", "two")
    assert [event.text for event in seen] == ["two"]


def test_all_subscribers_see_the_same_order_one_event_at_a_time() -> None:
    first: list[str] = []
    second: list[str] = []
    inside = threading.Lock()

    def alone(event: Event) -> None:
        assert inside.acquire(blocking=False), "two at a time"
        first.append(event.text)
        inside.release()

    events = Events(alone, lambda event: second.append(event.text))

    def talk(name: str) -> None:
        for number in range(200):
            events.note("x", f"{name}.{number}")

    threads = [threading.Thread(target=talk, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(first) == 800
    assert first == second
