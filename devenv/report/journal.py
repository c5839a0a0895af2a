"""The journal: every event as one JSON object a line, in a file that outlives the process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from devenv.core.events import Event
from devenv.core.redact import Redactor


class Journal:
    """A subscriber that appends events to the file at `path`, readable by its owner only.

    Nothing is buffered: a killed process loses no line. Several processes may append at once,
    which is why each line carries its ``pid``.

    :raises OSError: if the file cannot be opened or written.
    """

    def __init__(self, path: Path, redact: Redactor) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._redact = redact
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(self._file, 0o600)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            # A process died while it wrote; its torn line must not swallow our first one.
            os.write(self._file, b"\n")

    def __call__(self, event: Event) -> None:
        """Append `event`, without secrets."""
        row = {
            "at": event.at,
            "kind": event.kind,
            "type": event.type,
            "step": self._redact(event.step),
            "node": event.node,
            "text": self._redact(event.text),
            "seconds": event.seconds,
            "pid": os.getpid(),
        }
        # One write a line, so that lines of several processes never mix.
        os.write(self._file, json.dumps(row).encode() + b"\n")

    def close(self) -> None:
        """Close the file; further events are an error."""
        os.close(self._file)


def read_journal(path: Path) -> Iterator[Event]:
    """The events in the journal at `path`, oldest first.

    A line that is no event is left out: a process killed while it writes leaves a torn one.

    :raises OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        for line in file:
            event = _parse(line)
            if event:
                yield event


def _parse(line: bytes) -> Event | None:
    try:
        row: Any = json.loads(line)
        return Event(
            kind=row["kind"],
            step=row["step"],
            node=row["node"],
            type=row["type"],
            text=row["text"],
            seconds=row["seconds"],
            at=row["at"],
        )
    except (ValueError, KeyError, TypeError):
        return None
