"""What happens, as it happens: one stream that the terminal, the journal and the report read.

A step has a name ("keystone", "keystone_db_sync"), the node it runs on, a kind
("container", "job", "ready", "node", "image", ...) and a reason why it runs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

EventKind = Literal["start", "note", "done", "failed", "skipped"]


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    :param at: seconds since the epoch.
    :param seconds: duration, set on ``done`` and ``failed``.
    :param text: the reason on ``start``, the words of a ``note``, the error on ``failed``.
    """

    kind: EventKind
    step: str
    node: str | None = None
    type: str = "step"
    text: str = ""
    seconds: float | None = None
    at: float = field(default_factory=time.time)


Subscriber = Callable[[Event], None]


class Events:
    """A thread-safe stream of events to its subscribers, in the order of emission.

    :param redact: hides secrets in the words of every event, once, before anybody sees them.
    """

    def __init__(self, *subscribers: Subscriber, redact: Callable[[str], str] = str) -> None:
        self._subscribers = list(subscribers)
        self._redact = redact
        self._lock = threading.RLock()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Add `subscriber`; it is called for every later event, one at a time."""
        with self._lock:
            self._subscribers.append(subscriber)

    def emit(self, event: Event) -> None:
        """Hand `event` to every subscriber."""
        event = replace(event, text=self._redact(event.text))
        with self._lock:
            for subscriber in self._subscribers:
                subscriber(event)

    def note(self, step: str, text: str, *, node: str | None = None, type: str = "step") -> None:
        """Say something about a step that is under way."""
        self.emit(Event("note", step, node, type, text))

    @contextmanager
    def step(
        self, step: str, *, node: str | None = None, type: str = "step", why: str = ""
    ) -> Iterator[None]:
        """Emit ``start``, then ``done`` or ``failed`` with the duration; errors pass through."""
        start = time.monotonic()
        self.emit(Event("start", step, node, type, why))
        try:
            yield
        except BaseException as error:
            text = str(error) or type_name(error)
            self.emit(Event("failed", step, node, type, text, time.monotonic() - start))
            raise
        self.emit(Event("done", step, node, type, "", time.monotonic() - start))


def type_name(value: object) -> str:
    """The class name of `value`, for an exception that has no words."""
    return type(value).__name__
