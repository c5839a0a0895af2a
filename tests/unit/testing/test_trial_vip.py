from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from devenv.core.errors import NodeError
from devenv.testing.vip import Watch

TRIE = """Local:
  +-- 0.0.0.0/0 3 0 5
           |-- {address}
              /32 host LOCAL
"""


class Node:
    """Has an address, or an error to tell."""

    def __init__(self, address: str = "", error: Exception | None = None) -> None:
        self.address, self.error = address, error
        self.asked = threading.Event()
        self.timeouts: list[float] = []

    def run(self, command: list[str], timeout: float) -> Any:
        assert command == ["cat", "/proc/net/fib_trie"]
        self.timeouts.append(timeout)
        if len(self.timeouts) > 2:
            self.asked.set()
        if self.error:
            raise self.error
        return SimpleNamespace(stdout=TRIE.format(address=self.address).encode())


def watch(**nodes: Node) -> Watch:
    return Watch("172.30.0.10", nodes, interval=0.001)  # type: ignore[arg-type]


def test_who_has_it() -> None:
    nodes = {
        "ctl1": Node("172.30.0.10"),
        "ctl2": Node("172.30.0.11"),
        "ctl3": Node(error=NodeError("it did not end in 2 s")),
        "ctl4": Node(error=OSError("no ssh")),
    }
    found = watch(**nodes)
    assert found.ask(9) == {"ctl1": True, "ctl2": False, "ctl3": None, "ctl4": None}
    assert {*nodes["ctl1"].timeouts} == {9}


def test_samples_are_taken_until_the_end() -> None:
    node, other = Node("172.30.0.10"), Node(error=NodeError("off"))
    found = watch(ctl1=node, ctl2=other)
    before = threading.active_count()
    with found.running():
        assert node.asked.wait(30)
    assert threading.active_count() == before
    assert len(found.samples) >= 2
    assert {tuple(one.holders.items()) for one in found.samples} == {
        (("ctl1", True), ("ctl2", None))
    }
    times = [one.at for one in found.samples]
    assert times == sorted(times)
    assert not found.samples[0].several
    other.error, other.address = None, "172.30.0.10"
    with found.running():
        pass
    assert found.samples[-1].several  # One at least, however short the block is.
