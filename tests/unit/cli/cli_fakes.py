"""An environment that records what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, ClassVar

from click.testing import Result

from devenv.access.clouds import Cloud
from devenv.core.events import Events
from devenv.core.parallel import Timeline
from devenv.core.redact import Redactor
from devenv.deploy.actual import Actual, NodeState
from devenv.deploy.status import Guest, Status
from devenv.environment import Outcome
from devenv.nodes.node import ExternalLink, Node, SshTarget
from devenv.providers.base import Inventory
from devenv.topology.load import LoadedTopology

#: Runs ``devenv`` with these words.
Run = Callable[..., Result]

NODE = Node(
    name="aio",
    roles=frozenset({"control", "compute"}),
    address="172.30.0.11",
    external=ExternalLink("eth1", "172.31.0.11/24"),
    ssh=SshTarget("172.30.0.11", Path("/keys/id"), Path("/keys/known_hosts")),
)
INVENTORY = Inventory(
    environment="default",
    source="aio",
    nodes=(NODE,),
    api=IPv4Network("172.30.0.0/24"),
    external=IPv4Network("172.31.0.0/24"),
    vip=IPv4Address("172.30.0.11"),
    gateway=IPv4Address("172.31.0.1"),
)


def actual(name: str, *, job: bool = False, code: int | None = None, service: str = "") -> Actual:
    """A container that runs, or one that ended with `code`."""
    state, status = ("running", "Up 2 minutes") if code is None else ("exited", f"Exited ({code})")
    service = service or name.split("_")[0]
    return Actual(f"id-{name}", name, service, f"devenv/{name}:1", "h", job, state, status, code)


STATUS = Status(
    INVENTORY,
    {
        "aio": NodeState(
            {
                "nova_api": actual("nova_api"),
                "mariadb": actual("mariadb", code=1),
                "nova_bootstrap": actual("nova_bootstrap", job=True, code=0),
                "keystone_bootstrap": actual("keystone_bootstrap", job=True, code=3),
            },
            frozenset(),
        )
    },
    Guest("first", "172.31.0.150", answers=True),
    "2026.1",
)


class FakeEnvironment:
    """Stands for :class:`devenv.environment.Environment`."""

    calls: ClassVar[list[tuple[Any, ...]]] = []
    changed: ClassVar[list[str]] = []

    def __init__(self, name: str, provider: str, events: Events, redact: Redactor) -> None:
        self.events = events
        self.redact = redact
        self.calls.append(("open", name, provider))

    def up(
        self, wanted: LoadedTopology, sources: Mapping[str, Path], *, force: bool = False
    ) -> Outcome:
        """Says one step and that all went well."""
        words = ("forced",) if force else ()
        self.calls.append(("up", wanted.source, wanted.topology.provider, dict(sources), *words))
        with self.events.step("nova_api", node="aio", type="container"):
            pass
        return Outcome(STATUS, Timeline(), self.changed)

    def down(self, *, force: bool = False, restore_hosts: bool = False) -> list[str]:
        """Says what it would have removed."""
        words = {"forced": force, "restored": restore_hosts}
        self.calls.append(("down", *(word for word, said in words.items() if said)))
        return ["container devenv-default-aio", "network devenv-default-api"]

    def snapshot(self, name: str) -> None:
        """Notes that it was asked."""
        self.calls.append(("snapshot", name))

    def restore(self, name: str) -> None:
        """Notes that it was asked."""
        self.calls.append(("restore", name))

    def status(self) -> Status:
        """One node."""
        return STATUS

    def inventory(self) -> Inventory:
        """One node."""
        return INVENTORY

    def cloud(self) -> Cloud:
        """Not a secret of anybody."""
        return Cloud("default", "http://172.30.0.11:5000/v3", "open sesame")
