"""Who has the virtual IP: asked at rest, and each second while clients run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from devenv.faults.targets import has_address
from devenv.nodes.connection import Connection

#: Seconds from one sample to the next.
INTERVAL = 1.0
#: Seconds in which a node has to answer; one that needs more is asked again with the next sample.
PATIENCE = 2.0


@dataclass(frozen=True)
class Sample:
    """Who had the address.

    :param at: when the nodes were asked, all at the same time; monotonic seconds.
    :param holders: by node; None for one that did not answer.
    """

    at: float
    holders: Mapping[str, bool | None]

    @property
    def several(self) -> bool:
        """Whether more than one node had it."""
        return sum(bool(holds) for holds in self.holders.values()) > 1


class Watch:
    """Asks the kernels of `nodes` whether they have `address`.

    :param nodes: the connections to all that may have it, by name.
    """

    def __init__(
        self, address: str, nodes: Mapping[str, Connection], interval: float = INTERVAL
    ) -> None:
        self.samples: list[Sample] = []
        self._address = address
        self._nodes = nodes
        self._interval = interval

    @contextmanager
    def running(self) -> Iterator[None]:
        """Takes samples for as long as the block, in a thread of its own."""
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(stop,), name="vip", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()  # ask() ends by itself.

    def ask(self, patience: float = PATIENCE) -> dict[str, bool | None]:
        """Who has it now; None for a node that does not answer within `patience` seconds."""

        def holds(connection: Connection) -> bool | None:
            try:
                done = connection.run(["cat", "/proc/net/fib_trie"], timeout=patience)
            except Exception:  # However a node is broken: it does not answer.
                return None
            return has_address(done.stdout.decode(errors="replace"), self._address)

        with ThreadPoolExecutor(max(1, len(self._nodes))) as pool:
            return dict(zip(self._nodes, pool.map(holds, self._nodes.values()), strict=True))

    def _run(self, stop: threading.Event) -> None:
        while True:
            self.samples.append(Sample(time.monotonic(), self.ask()))
            if stop.wait(self._interval):
                return
