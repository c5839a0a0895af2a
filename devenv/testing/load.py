"""Runs clients side by side, each at its own pace, while something is done to the cloud."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from devenv.core.errors import DevenvError, WaitTimeout
from devenv.core.wait import NotYet, wait_until
from devenv.testing.clients.base import Client, words
from devenv.testing.history import History, Operation


class Load:
    """Clients, each in a thread of its own, and what they record. Used once.

    :param history: where they record; a new one if none is given.
    """

    def __init__(self, clients: Sequence[Client], history: History | None = None) -> None:
        self.clients = list(clients)
        self.history = history if history is not None else History()
        self._stop = threading.Event()
        self._crash = threading.Event()
        self._crashed: list[tuple[Client, Exception]] = []
        self._threads: list[tuple[Client, threading.Thread]] = []

    @contextmanager
    def running(self) -> Iterator[Load]:
        """The clients run for as long as the block.

        :raises DevenvError: see :meth:`start` and :meth:`stop`; an error of the block comes first.
        """
        self.start()
        try:
            yield self
        except BaseException as error:
            try:
                self.stop()
            except DevenvError as second:
                error.add_note(str(second))
            raise
        self.stop()

    def start(self) -> None:
        """Open all clients, one after the other, then run them.

        :raises DevenvError: naming the client that could not start; none is running then.
        """
        for opened, client in enumerate(self.clients):
            try:
                client.open()
            except Exception as error:
                problem = _problem(client, "could not start", error)
                # The one that failed may hold something, too.
                for other in self._close(self.clients[: opened + 1]):
                    problem.add_note(str(other))
                raise problem from error
        for client in self.clients:
            thread = threading.Thread(
                target=self._run, args=(client,), name=f"client-{client.name}", daemon=True
            )
            self._threads.append((client, thread))
            thread.start()

    def stop(self) -> None:
        """End all clients: each finishes the step that is under way, then is closed.

        Safe to call twice.

        :raises DevenvError: when a client broke, did not end, or left something behind.
        """
        self._stop.set()
        begin = time.monotonic()
        problems: list[DevenvError] = []
        for client, thread in self._threads:
            thread.join(max(0.0, begin + client.patience - time.monotonic()))
            if thread.is_alive():
                what = f"the client {client.name} did not end within {client.patience:g} s"
                problems.append(WaitTimeout(what))
        if self._threads:
            problems += self._close(self.clients)
        self._threads.clear()
        problems[:0] = self._crashes()
        if problems:
            for other in problems[1:]:
                problems[0].add_note(str(other))
            raise problems[0]

    # -- what a scenario waits for -----------------------------------------------------

    def mark(self) -> float:
        """Now, on the clock of the history."""
        return time.monotonic()

    def run_for(self, seconds: float) -> None:
        """Let the clients work for so long.

        :raises DevenvError: at once, when a client broke.
        """
        self._crash.wait(seconds)
        self._raise_crash()

    def baseline(self, seconds: float = 5.0, limit: float = 60.0) -> float:
        """Wait until nothing went wrong for `seconds`, before anything is broken.

        :returns: the moment, on the clock of the history.
        :raises WaitTimeout: as :meth:`wait_quiet` does.
        """
        return self.wait_quiet(seconds, limit)

    def wait_quiet(self, seconds: float = 3.0, limit: float = 90.0) -> float:
        """Wait until every steady client had nothing but ``ok`` for `seconds`, counted from now.

        Silence is not quiet: each kind of operation of a client must have been done meanwhile.

        :returns: the moment, on the clock of the history.
        :raises WaitTimeout: after `limit` seconds, naming the clients and their last errors.
        :raises DevenvError: at once, when a client broke.
        """
        begin = self.mark()

        def quiet() -> float:
            self._raise_crash()
            now = self.mark()
            noisy = [
                f"{client.name} ({kind}): {trouble}"
                for client in self.clients
                for kind in (client.kinds if client.steady else ())
                if (trouble := self._trouble(client, kind, now - max(seconds, 2 * client.interval)))
            ]
            if noisy:
                raise NotYet("; ".join(noisy))
            if now - begin < seconds:
                raise NotYet("nothing wrong, but not for so long yet")
            return now

        return wait_until(
            quiet, what=f"all clients to be well for {seconds:g} s", timeout=limit, longest=0.25
        )

    def _trouble(self, client: Client, kind: str, since: float) -> str | None:
        """What went wrong with operations that ended `since`, last first; None if nothing did."""
        operations = self.history.operations[::-1]  # a copy, while others append

        def ours(one: Operation) -> bool:
            return one.client == client.name and one.kind == kind

        recent = itertools.takewhile(lambda one: one.completed >= since, operations)
        found = [one for one in recent if ours(one)]
        failed = next((one for one in found if one.outcome != "ok"), None)
        if failed:
            return failed.error
        if any(one.invoked >= since for one in found):
            return None
        last = next((one for one in operations if ours(one) and one.outcome != "ok"), None)
        return f"nothing came back; before: {last.error}" if last else "nothing came back"

    # -- threads -----------------------------------------------------------------------

    def _run(self, client: Client) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            try:
                client.step(self.history)
            except Exception as error:  # A defect of the client's: its trouble is an outcome.
                self._crashed.append((client, error))
                self._crash.set()
                return
            due = next_tick(due, client.interval, time.monotonic())

    def _crashes(self) -> list[DevenvError]:
        return [_problem(client, "broke", error) for client, error in self._crashed]

    def _raise_crash(self) -> None:
        for problem in self._crashes():
            raise problem

    @staticmethod
    def _close(clients: Sequence[Client]) -> list[DevenvError]:
        """Close all; the troubles of those that had any."""
        problems = []
        for client in clients:
            try:
                client.close()
            except Exception as error:
                problems.append(_problem(client, "left something behind", error))
        return problems


def next_tick(due: float, interval: float, now: float) -> float:
    """The first tick of the schedule that is not over yet: after a hang none is made up for.

    :param due: the last tick.
    """
    return due + interval * max(1, math.ceil((now - due) / interval))


def _problem(client: Client, what: str, error: Exception) -> DevenvError:
    problem = DevenvError(f"the client {client.name} {what}", detail=words(error))
    problem.__cause__ = error
    return problem
