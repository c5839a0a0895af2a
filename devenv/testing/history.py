"""What clients did while something was broken: invoked, then ok, failed, or nobody knows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["ok", "failed", "info"]


@dataclass(frozen=True)
class Operation:
    """One thing that a client did. Times are monotonic, in seconds.

    :param client: which one, such as ``rows``.
    :param kind: what it did: ``write``, ``read``, ``token``, ``list``, ``boot``, ``delete``,
        ``publish``, ``consume``, ``ping``, ``tcp``, ``stream``.
    :param value: what was written or asked for.
    :param result: what came back, of an ``ok``.
    :param outcome: ``failed`` surely had no effect; ``info``: it may have had one, now or later.
    :param error: in one line, of what is not ``ok``.
    """

    client: str
    kind: str
    value: Any
    invoked: float
    completed: float
    outcome: Outcome
    result: Any = None
    error: str = ""

    @property
    def seconds(self) -> float:
        """How long the client waited."""
        return self.completed - self.invoked


class Failed(Exception):
    """Raised inside :meth:`History.operation` for what surely had no effect."""


@dataclass
class Answer:
    """Where a client puts what came back."""

    result: Any = None


@dataclass
class History:
    """The operations of all clients, in the order of completion; thread-safe."""

    operations: list[Operation] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, operation: Operation) -> None:
        """Append an operation that is over."""
        with self._lock:
            self.operations.append(operation)

    @contextmanager
    def operation(self, client: str, kind: str, value: Any = None) -> Iterator[Answer]:
        """Record the block: ``ok`` at its end, ``failed`` on :class:`Failed`, else ``info``.

        The error ends here: a client goes on.
        """
        invoked = time.monotonic()
        answer, outcome, error = Answer(), "ok", ""
        try:
            yield answer
        except Failed as refused:
            outcome, error = "failed", str(refused)
        except Exception as unknown:
            outcome, error = "info", f"{type(unknown).__name__}: {unknown}".partition("\n")[0]
        self.add(
            Operation(
                client, kind, value, invoked, time.monotonic(),
                outcome, answer.result, error[:300],  # type: ignore[arg-type]
            )
        )  # fmt: skip

    def of(self, client: str, *kinds: str) -> list[Operation]:
        """A client's operations, in the order of invocation; all kinds if none is named."""
        with self._lock:
            found = [
                one
                for one in self.operations
                if one.client == client and (not kinds or one.kind in kinds)
            ]
        return sorted(found, key=lambda one: one.invoked)

    def clients(self) -> list[str]:
        """The names of all clients that did something."""
        with self._lock:
            return sorted({one.client for one in self.operations})
