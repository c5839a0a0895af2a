"""What a fault is: something that is injected, seen to hold, and healed."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self

from devenv.core.errors import DevenvError, InputError
from devenv.faults.site import Site


class Inconclusive(DevenvError):
    """A fault was asked for and nobody saw it take hold: nothing that follows proves anything."""


def new_id() -> str:
    """Eight hexadecimal digits."""
    return secrets.token_hex(4)


@dataclass(frozen=True)
class Fault(ABC):
    """A fault on one node. A small value: another process can heal it from its record.

    :param id: of this injection; marks what it leaves on the node.
    """

    node: str
    id: str = field(default_factory=new_id, kw_only=True)

    verb: ClassVar[str]
    #: Whether the node, or something that runs on it, is lost to its cluster meanwhile.
    loses: ClassVar[bool] = True

    @abstractmethod
    def describe(self) -> str:
        """In words, such as ``kill haproxy on ctl2``."""

    def prepare(self, site: Site) -> Self:
        """Look before anything is touched; the fault with all that `heal` will need.

        :raises InputError: when the target is down, paused or cut off already.
        :raises Unsupported: when it is known that it cannot be done there.
        """
        if not site.answers(self.node):
            raise InputError(
                f"`{self.describe()}` was not tried: the node does not answer on SSH already",
                node=self.node,
                remedy="`devenv fault list` tells of faults that hold; `devenv up` puts all right",
            )
        return self

    @abstractmethod
    def inject(self, site: Site) -> None:
        """Do it.

        :raises Unsupported: when the node or its kernel cannot.
        """

    @abstractmethod
    def confirm(self, site: Site) -> None:
        """Return when the effect is seen, by other means than it was made with.

        :raises NotYet: when it is not seen yet.
        """

    @abstractmethod
    def heal(self, site: Site) -> None:
        """Undo it. May be called again, and without `inject` having been called."""

    def to_data(self) -> dict[str, Any]:
        """For JSON."""
        return {"verb": self.verb, **asdict(self)}
