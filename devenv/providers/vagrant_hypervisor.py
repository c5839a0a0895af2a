"""What runs the virtual machines, asked without Vagrant: it has the truth, and the plug."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Interface, IPv4Network
from typing import ClassVar, Literal, TypeVar

State = Literal["running", "paused", "off"]
Plug = Literal["start", "kill", "reset", "pause", "resume"]

#: The networks of an environment; Vagrant reaches the machines on the first.
MANAGEMENT, API, EXTERNAL = KINDS = ("management", "api", "external")


@dataclass(frozen=True)
class Facts:
    """What devenv has written on a machine, once the machine was a node.

    :param order: a number that grows with the node's place in the topology.
    :param source: where the topology came from.
    :param address: on the API network, with its prefix.
    :param external: on the external network, with its prefix; `interface` is the device there.
    :param vip: the virtual IP, empty if the environment was made without.
    :param memory: bytes; `disk` as well, 0 for what the box has.
    :param host_key: type and key of its SSH server.
    :param hosts: the addresses of all nodes by name, as it was told them.
    :param created: ISO 8601, UTC.
    """

    environment: str
    node: str
    order: int
    roles: tuple[str, ...]
    source: str
    address: str
    external: str
    interface: str
    vip: str
    memory: int
    cpus: int
    disk: int
    host_key: str
    hosts: dict[str, str]
    owner: str
    created: str

    @property
    def api(self) -> IPv4Interface:
        """Its place on the API network."""
        return IPv4Interface(self.address)

    @property
    def outside(self) -> IPv4Interface:
        """Its place on the external network."""
        return IPv4Interface(self.external)

    def text(self) -> str:
        """As it is written on the machine."""
        return json.dumps(asdict(self), sort_keys=True)


def read_facts(text: str) -> Facts | None:
    """The facts in a machine's description; None if these are no facts of ours."""
    try:
        facts = Facts(**json.loads(text))
    except (ValueError, TypeError):
        return None
    return replace(facts, roles=tuple(facts.roles))


@dataclass(frozen=True)
class Machine:
    """A virtual machine of the environment.

    :param node: the node's name.
    :param facts: None if it is not a node yet: a kill came first.
    :param emulated: whether its processor is.
    """

    node: str
    state: State
    facts: Facts | None
    emulated: bool


class Hypervisor(ABC):
    """One environment's machines and networks. All raise HostError when the backend refuses."""

    name: ClassVar[str]

    def __init__(self, environment: str) -> None:
        self.environment = environment
        #: What machines' names begin with. No environment's name has an underscore.
        self.prefix = f"devenv-{environment}_"

    @classmethod
    @abstractmethod
    def names(cls) -> list[str]:
        """The names of all machines, and of the networks where these have names, of anybody."""

    def network(self, kind: str) -> str:
        """The name of a network of the environment."""
        return f"devenv-{self.environment}-{kind}"

    @abstractmethod
    def machines(self) -> list[Machine]:
        """All of the environment, by their place in the topology; two calls at least."""

    @abstractmethod
    def describe(self, node: str, facts: Facts) -> None:
        """Write `facts` on the machine."""

    @abstractmethod
    def plug(self, node: str, act: Plug) -> None:
        """Do `act` to a machine that is in a state for it; returns when it took effect."""

    @abstractmethod
    def resize(self, node: str, memory: int, cpus: int) -> None:
        """Give a machine that is off other memory (bytes) and processors."""

    @abstractmethod
    def snapshots(self, node: str) -> dict[str, bool]:
        """The machine's, the oldest first, and whether it was on."""

    @abstractmethod
    def save(self, node: str, name: str) -> None:
        """Save a machine that is paused or off."""

    @abstractmethod
    def revert(self, node: str, name: str) -> None:
        """Put a machine back to what was saved: it is paused then, or off as it was."""

    @abstractmethod
    def networks(self) -> dict[str, IPv4Network]:
        """Those of the environment that are there, by kind."""

    @abstractmethod
    def taken(self) -> list[tuple[IPv4Network, str]]:
        """The networks that the backend has for others, each with its name."""

    @abstractmethod
    def candidates(self, kind: str) -> Iterator[IPv4Network]:
        """The networks to pick one from for `kind`."""

    @abstractmethod
    def make_network(self, kind: str, subnet: IPv4Network) -> None:
        """Make a network with this machine at its first address."""

    def prepare(self) -> None:  # noqa: B027 - not every backend needs it
        """Have ready what machines need: storage, networks that run."""

    @abstractmethod
    def remove(self, node: str) -> list[str]:
        """Remove a machine and its disk, or what a kill left of it; says what it removed."""

    @abstractmethod
    def remove_rest(self) -> list[str]:
        """Remove all else that is the environment's; says what it removed."""

    @abstractmethod
    def console_path(self, node: str) -> str | None:
        """The file that its serial console is to be written to, None for none."""

    @abstractmethod
    def console(self, node: str) -> str:
        """The last lines of its serial console; empty if it has none."""

    @abstractmethod
    def kept_key(self) -> str | None:
        """The environment's private SSH key, which the backend keeps for a lost state folder."""

    @abstractmethod
    def keep_key(self, private: str) -> None:
        """Keep it."""


T = TypeVar("T")
R = TypeVar("R")


def parallel(work: Callable[[T], R], each: Iterable[T]) -> list[R]:
    """The results in order: each is a process that mostly waits, for a daemon or a machine."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        return list(pool.map(work, each))


def by_place(machines: list[Machine]) -> list[Machine]:
    """In the topology's order; those that are no nodes yet last."""
    return sorted(machines, key=lambda m: (m.facts.order if m.facts else 2**63, m.node))
