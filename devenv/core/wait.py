"""Waiting for a condition, with a limit and the last thing seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from devenv.core.errors import WaitTimeout

T = TypeVar("T")


class NotYet(Exception):
    """Raised by a condition that is not true yet; its text is the last thing seen."""


def wait_until(
    condition: Callable[[], T],
    *,
    what: str,
    timeout: float,
    interval: float = 0.1,
    longest: float = 1.0,
    node: str | None = None,
) -> T:
    """Call `condition` until it returns instead of raising :class:`NotYet`.

    Any other exception ends the wait at once: that is how a condition reports a
    terminal state (a container that died, a server in ERROR).

    :param timeout: seconds.
    :param interval: first pause in seconds; it grows by half up to `longest`.
    :raises WaitTimeout: with the last thing seen.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return condition()
        except NotYet as last:
            if time.monotonic() + interval > deadline:
                raise WaitTimeout(
                    f"waited {timeout:.0f} s for {what}; last seen: {last}", node=node
                ) from last
        time.sleep(interval)
        interval = min(interval * 1.5, longest)
