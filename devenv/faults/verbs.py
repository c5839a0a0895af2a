"""The faults as a test or a person asks for them: a verb and target words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from devenv.core.events import Events
from devenv.faults.containers import KillContainer, PauseContainer, StopContainer
from devenv.faults.disk import FillDisk
from devenv.faults.fault import Fault
from devenv.faults.inject import Injected, inject
from devenv.faults.network import Delay, Lossy, Partition
from devenv.faults.power import PauseNode, PowerOff, Reset
from devenv.faults.site import Site
from devenv.faults.targets import resolve
from devenv.nodes.connection import Connection
from devenv.providers.base import Inventory, Provider

Injection = AbstractContextManager[Injected]


class Faults:
    """Each verb is a context manager: ``with faults.kill("haproxy", on="vip-holder") as fault:``.

    The block runs while the fault holds; it is healed on every way out. Target words are those of
    :func:`devenv.faults.targets.resolve`; where they mean several nodes, all are hit at once.
    Each raises as :func:`devenv.faults.inject.inject`.
    """

    def __init__(
        self,
        environment_name: str,
        provider: Provider,
        inventory: Inventory,
        connections: Mapping[str, Connection],
        events: Events,
    ) -> None:
        self.site = Site(environment_name, provider, inventory, connections, events)
        self.connections = connections

    def nodes(self, words: str) -> list[str]:
        """The names of the nodes that `words` mean now."""
        return resolve(words, self.site.inventory, self.connections)

    @contextmanager
    def inject(self, *faults: Fault) -> Iterator[Injected]:
        """Faults of any kinds, at the same time."""
        with inject(faults, self.site) as injected:
            yield injected

    @contextmanager
    def _on(self, words: str, make: Callable[[str], Fault]) -> Iterator[Injected]:
        with self.inject(*(make(name) for name in self.nodes(words))) as injected:
            yield injected

    def kill(self, container: str, on: str) -> Injection:
        """SIGKILL to a container; it stays dead."""
        return self._on(on, lambda node: KillContainer(node, container))

    def stop(self, container: str, on: str) -> Injection:
        """Stop a container as an operator does."""
        return self._on(on, lambda node: StopContainer(node, container))

    def pause(self, container: str, on: str) -> Injection:
        """Freeze a container."""
        return self._on(on, lambda node: PauseContainer(node, container))

    def power_off(self, node: str) -> Injection:
        """Pull the plug."""
        return self._on(node, PowerOff)

    def reset(self, node: str) -> Injection:
        """Press the reset button."""
        return self._on(node, Reset)

    def pause_node(self, node: str) -> Injection:
        """Freeze a whole node."""
        return self._on(node, PauseNode)

    def partition(self, node: str, away_from: str | None = None) -> Injection:
        """Cut nodes off on the API network: from the nodes `away_from`, or from all the world."""
        return self._on(node, self.partitions(away_from))

    def partitions(self, away_from: str | None) -> Callable[[str], Partition]:
        """Makes the partition of a node. The peers are resolved now, the node itself left out."""
        peers = None if away_from is None else self.nodes(away_from)

        def make(name: str) -> Partition:
            others = None if peers is None else tuple(peer for peer in peers if peer != name)
            return Partition(name, others)

        return make

    def delay(self, node: str, ms: int) -> Injection:
        """Make the link slow: what leaves the node leaves `ms` milliseconds later."""
        return self._on(node, lambda name: Delay(name, ms))

    def lossy(self, node: str, percent: int) -> Injection:
        """Lose `percent` of 100 frames on the link, each way."""
        return self._on(node, lambda name: Lossy(name, percent))

    def fill_disk(self, node: str) -> Injection:
        """Leave nothing free on the disk."""
        return self._on(node, FillDisk)

    def close(self) -> None:
        """Close the connections that were opened here."""
        self.site.close()
