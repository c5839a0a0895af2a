from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from devenv.core.errors import DevenvError, WaitTimeout
from devenv.testing.clients.base import Client
from devenv.testing.history import Failed, History, Operation, Outcome
from devenv.testing.load import Load, next_tick


class Fake(Client):
    """Does what `act` does; remembers that it was opened and closed."""

    kinds = ("write",)

    def __init__(
        self,
        name: str,
        act: Callable[[int], None] = lambda number: None,
        *,
        steady: bool = True,
        interval: float = 0.005,
        patience: float = 10.0,
    ) -> None:
        self.name, self.steady, self.interval, self.patience = name, steady, interval, patience
        self.act = act
        self.number = 0
        self.life: list[str] = []

    def open(self) -> None:
        self.life.append("open")

    def step(self, history: History) -> None:
        self.number += 1
        with history.operation(self.name, "write", self.number):
            self.act(self.number)

    def close(self) -> None:
        self.life.append("close")


def fails(number: int) -> None:
    raise Failed("HTTP 503")


@pytest.mark.parametrize(
    ("now", "due"),
    [
        (10.0, 10.5),  # at once
        (10.2, 10.5),
        (10.5, 10.5),  # just in time for the next
        (10.6, 11.0),  # one missed
        (17.3, 17.5),  # hung for long: one tick, and not fifteen
    ],
)
def test_missed_ticks_are_not_made_up_for(now: float, due: float) -> None:
    assert next_tick(10.0, 0.5, now) == due


def test_a_client_that_hung_does_not_burst() -> None:
    hung, ended = threading.Event(), []

    def act(number: int) -> None:
        if number == 2:
            hung.wait(0.3)
            ended.append(time.monotonic())

    client = Fake("rows", act, interval=0.05)
    load = Load([client])
    with load.running():
        load.run_for(0.55)
    after = [one.invoked for one in load.history.of("rows") if one.invoked > ended[0]]
    # However slow this machine is, a schedule cannot have more ticks than this.
    over = max(after) if after else ended[0]
    assert len(after) <= (over - ended[0]) / 0.05 + 1


def test_clients_run_side_by_side_between_open_and_close() -> None:
    first, second = Fake("rows"), Fake("tokens")
    history = History()
    load = Load([first, second], history)
    with load.running() as running:
        assert running is load
        load.baseline(0.05)
    assert history.clients() == ["rows", "tokens"]
    assert first.life == second.life == ["open", "close"]
    done = len(history.operations)
    load.stop()  # Again.
    assert (len(history.operations), first.life) == (done, ["open", "close"])


def test_a_client_that_cannot_start_is_named_and_none_runs() -> None:
    class Shut(Fake):
        def open(self) -> None:
            raise OSError("refused")

    first, bad, last = Fake("rows"), Shut("tokens"), Fake("ping")
    with pytest.raises(DevenvError, match="tokens could not start") as caught:
        Load([first, bad, last]).start()
    assert "refused" in str(caught.value)
    assert (first.life, bad.life, last.life) == (["open", "close"], ["close"], [])
    assert first.number == 0


def test_stopping_waits_for_the_step_that_is_under_way() -> None:
    begun, go = threading.Event(), threading.Event()

    def act(number: int) -> None:
        begun.set()
        go.wait(10)

    load = Load([Fake("boots", act)])
    load.start()
    assert begun.wait(10)
    threading.Timer(0.05, go.set).start()
    load.stop()
    assert [one.outcome for one in load.history.operations] == ["ok"]


def test_a_client_that_does_not_end_is_named() -> None:
    begun, go = threading.Event(), threading.Event()

    def act(number: int) -> None:
        begun.set()
        go.wait(10)

    stuck, other = Fake("stream", act, patience=0.01), Fake("rows")
    load = Load([stuck, other])
    load.start()
    assert begun.wait(10)
    with pytest.raises(WaitTimeout, match="stream did not end"):
        load.stop()
    go.set()
    assert other.life == ["open", "close"]


def test_what_a_client_leaves_behind_is_told_after_all_are_closed() -> None:
    class Leaves(Fake):
        def close(self) -> None:
            raise OSError("a server resists")

    last = Fake("rows")
    load = Load([Leaves("boots"), last])
    load.start()
    with pytest.raises(DevenvError, match="boots left something behind") as caught:
        load.stop()
    assert "a server resists" in str(caught.value)
    assert last.life == ["open", "close"]


def test_an_error_of_the_scenario_comes_first() -> None:
    class Leaves(Fake):
        def close(self) -> None:
            raise OSError("a server resists")

    with pytest.raises(ZeroDivisionError) as caught, Load([Leaves("boots")]).running():
        raise ZeroDivisionError
    assert "a server resists" in caught.value.__notes__[0]


def test_a_defect_of_a_client_ends_what_waits_for_it() -> None:
    class Defect(Fake):
        def step(self, history: History) -> None:
            raise KeyError("no such thing")

    load = Load([Defect("tokens")])
    load.start()
    with pytest.raises(DevenvError, match="tokens broke"):
        load.run_for(60)
    with pytest.raises(DevenvError, match="tokens broke"):
        load.wait_quiet(30, 60)
    with pytest.raises(DevenvError, match="tokens broke"):
        load.stop()


# -- wait_quiet ----------------------------------------------------------------------------


def test_it_waits_until_the_trouble_is_over() -> None:
    healed = threading.Event()

    def act(number: int) -> None:
        if not healed.is_set():
            fails(number)

    load = Load([Fake("rows"), Fake("tokens", act)])
    with load.running():
        threading.Timer(0.2, healed.set).start()
        moment = load.wait_quiet(0.1, limit=30)
    last = max(one.completed for one in load.history.operations if one.outcome != "ok")
    assert moment >= last + 0.1


def verdict(*clients: Client, operations: list[Operation]) -> str:
    """What is said at 104 of the last 3 seconds, having waited since 100."""
    load, clock = Load(clients, History(operations)), iter([100.0, 104.0])
    load.mark = lambda: next(clock)  # type: ignore[method-assign]
    try:
        load.wait_quiet(3, limit=0)
    except WaitTimeout as error:
        return str(error)
    return "quiet"


def done(client: str, at: float, outcome: Outcome = "ok", *, took: float = 0.1) -> Operation:
    error = "" if outcome == "ok" else f"HTTP 503 at {at}"
    return Operation(client, "write", None, at - took, at, outcome, error=error)


def test_quiet_is_nothing_but_success() -> None:
    found = [done("tokens", 100.9, "failed"), done("rows", 102), done("tokens", 103)]
    assert verdict(Fake("rows"), Fake("tokens"), operations=found) == "quiet"


@pytest.mark.parametrize("outcome", ["failed", "info"])
def test_it_names_the_culprit_and_its_last_error(outcome: Outcome) -> None:
    found = [
        done("tokens", 101.5, outcome), done("rows", 102), done("tokens", 102, outcome),
        done("tokens", 103), done("rows", 103.5), done("boots", 103.9, outcome),
    ]  # fmt: skip
    said = verdict(Fake("rows"), Fake("tokens"), operations=found)
    assert "last seen: tokens (write): HTTP 503 at 102" in said
    assert "rows" not in said


def test_silence_is_not_quiet() -> None:
    found = [done("rows", 99, "failed"), done("rows", 100), done("ping", 103)]
    said = verdict(Fake("rows"), Fake("ping"), Fake("stream"), operations=found)
    assert "rows (write): nothing came back; before: HTTP 503 at 99" in said
    assert "stream (write): nothing came back" in said
    assert "ping" not in said


def test_one_answer_to_what_was_asked_long_ago_is_not_quiet() -> None:
    found = [done("rows", 103, took=20)]
    assert "rows (write): nothing came back" in verdict(Fake("rows"), operations=found)


def test_every_kind_of_a_client_has_to_be_heard_of() -> None:
    client = Fake("messages")
    client.kinds = ("write", "read")
    said = verdict(client, operations=[done("messages", 103)])
    assert "messages (read): nothing came back" in said
    assert "(write)" not in said


def test_what_was_well_before_does_not_count() -> None:
    load, clock = Load([Fake("rows")], History([done("rows", 101)])), iter([100.0, 102.0])
    load.mark = lambda: next(clock)  # type: ignore[method-assign]
    with pytest.raises(WaitTimeout, match="not for so long yet"):
        load.wait_quiet(3, limit=0)


def test_slow_clients_are_not_waited_for() -> None:
    load = Load([Fake("rows"), Fake("boots", fails, steady=False)])
    with load.running():
        load.wait_quiet(0.05, limit=30)
