"""Words and numbers for people."""

from __future__ import annotations

import re
from datetime import UTC, datetime

#: Terminal colours and the like (ECMA-48 control sequences), which programs write into logs.
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
#: What XML 1.0 (section 2.2) and so JUnit cannot hold; HTML has no use for it either.
_ILLEGAL = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """`text` without terminal control sequences; what a document cannot hold becomes U+FFFD."""
    return _ILLEGAL.sub("\ufffd", _TERMINAL.sub("", text))


def span(seconds: float) -> str:
    """How long something took: ``0.32 s``, ``12.3 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def latency(seconds: float) -> str:
    """Three digits at most, in the unit that fits: ``0.4 ms``, ``12 ms``, ``2.1 s``."""
    value, unit = (seconds, "s") if seconds >= 0.9995 else (seconds * 1000, "ms")
    return f"{value:.0f} {unit}" if value >= 10 else f"{value:.2g} {unit}"


def count(number: int, what: str) -> str:
    """``1 node``, ``2 nodes``; thousands are set apart."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def moment(at: float) -> str:
    """Seconds since the epoch as a date and time, UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
