"""What a check says, how it can be mended, and the error when it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from devenv.core.errors import HostError


@dataclass(frozen=True)
class Fix:
    """A way to mend a failed check.

    :param says: what will be done, told to the person before it is done.
    :param apply: does it; raises :class:`HostError` when that fails.
    """

    says: str
    apply: Callable[[], None]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    :param found: what is there, with figures.
    :param remedy: a command that can be pasted, or a sentence; it counts when not `ok`.
    :param fix: what ``devenv doctor --fix`` may do about it.
    :param fatal: whether devenv cannot work without it.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""
    fix: Fix | None = None
    fatal: bool = True


#: A check that can be run again, to see whether a fix has helped.
Probe = Callable[[], Check]


def raise_for(checks: Iterable[Check]) -> None:
    """Say everything that is missing at once.

    :raises HostError: if any fatal check failed; it lists them all with their remedies.
    """
    failed = [check for check in checks if check.fatal and not check.ok]
    if not failed:
        return
    lines = []
    for check in failed:
        lines.append(f"{check.name}: {check.found}")
        if check.remedy:
            lines.append(f"  -> {check.remedy}")
    raise HostError(
        f"devenv cannot start with what is there ({', '.join(check.name for check in failed)})",
        detail="\n".join(lines),
        remedy="devenv doctor --fix" if any(check.fix for check in failed) else None,
    )
