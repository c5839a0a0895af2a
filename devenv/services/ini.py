"""Changing options in an INI file as text: comments, order and repeated options stay."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Scalar = str | int | float | bool
Options = Mapping[str, Mapping[str, "Scalar | Sequence[Scalar]"]]

_SECTION = re.compile(r"^\[(?P<name>[^\]]+)\]\s*$")


def merge(text: str, changes: Options) -> str:
    """`text` with `changes` applied: section -> option -> value, the section "" for the top.

    A value that is a list becomes one line for each item, as oslo.config's MultiStr wants it.
    """
    lines = text.splitlines()
    for section, options in changes.items():
        for option, value in options.items():
            lines = _set(lines, section, option, value)
    return "\n".join(lines) + "\n"


def _set(
    lines: list[str], section: str, option: str, value: Scalar | Sequence[Scalar]
) -> list[str]:
    start, end = _bounds(lines, section)
    values = [value] if isinstance(value, str | int | float | bool) else list(value)
    fresh = [f"{option} = {_text(item)}" for item in values]
    if start is None:
        return [*lines, "", f"[{section}]", *fresh]
    same = re.compile(rf"^\s*{re.escape(option)}\s*=")
    body, dropped = [], False
    for line in lines[start:end]:
        # An indented line goes on with the value before it, as oslo.config reads it.
        dropped = bool(same.match(line) or (dropped and line[:1].isspace() and line.strip()))
        if not dropped:
            body.append(line)
    return [*lines[:start], *fresh, *body, *lines[end:]]


def _bounds(lines: list[str], section: str) -> tuple[int | None, int]:
    """The lines of `section`: from the one after its head to the next head; None if absent."""
    start: int | None = 0 if not section else None
    for number, line in enumerate(lines):
        head = _SECTION.match(line)
        if head and start is not None:
            return start, number
        if head and head["name"] == section:
            start = number + 1
    return start, len(lines)


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
