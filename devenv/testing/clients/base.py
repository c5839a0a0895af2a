"""What a client is."""

from __future__ import annotations

from abc import ABC, abstractmethod

from devenv.testing.history import History


class Client(ABC):
    """Does something again and again, and records it; used by one thread at a time."""

    #: The `client` of its operations. Two that share a name are two ends of the same thing.
    name: str
    #: The kinds of operations that it records.
    kinds: tuple[str, ...]
    #: Seconds from one step to the next.
    interval: float = 1.0
    #: Whether every step is quick where nothing is broken, so that silence means trouble.
    steady: bool = True
    #: Seconds that a step under way may still take when the run ends.
    patience: float = 15.0

    def open(self) -> None:  # noqa: B027 (most need nothing)
        """Make what it needs.

        :raises Exception: when it cannot; nothing was broken yet, so that is an error.
        """

    @abstractmethod
    def step(self, history: History) -> None:
        """Do it once and record one operation or more. Trouble is an outcome, never raised."""

    def close(self) -> None:  # noqa: B027
        """Give back what it holds. Safe to call twice.

        :raises Exception: when something is left behind.
        """


def words(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]
