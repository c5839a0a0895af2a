"""Where services are rendered for in these tests: one node, and several."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devenv.core.redact import Redactor
from devenv.core.secrets import Secrets
from devenv.nodes.node import ExternalLink, Node, SshTarget
from devenv.services.catalogue import catalogue
from devenv.services.model import Service
from devenv.services.render import Place, Rendered, Renderer
from devenv.topology.models import Topology

ALL = frozenset({"control", "network", "compute"})
SERVICES = list(catalogue().values())
IMAGES = {
    spec.image: (f"devenv/{spec.image}:1", f"hash-of-{spec.image}")
    for service in SERVICES
    for spec in service.containers.values()
}


def node(name: str, number: int, *roles: str) -> Node:
    address = f"172.30.0.{number}"
    return Node(
        name,
        frozenset(roles or ALL),
        address,
        ExternalLink("eth1", f"172.31.0.{number}/24"),
        SshTarget(address, Path("/keys/id"), Path("/keys/known_hosts")),
    )


EXTERNAL = {
    "cidr": "172.31.0.0/24",
    "gateway": "172.31.0.1",
    "start": "172.31.0.100",
    "end": "172.31.0.250",
}
AIO = Place((node("aio", 11),), "172.30.0.11", EXTERNAL, "ssh-ed25519 AAAA devenv")
MULTINODE = Place(
    (
        *(node(f"ctl{n}", 10 + n, "control", "network") for n in (1, 2, 3)),
        *(node(f"cmp{n}", 20 + n, "compute") for n in (1, 2)),
    ),
    "172.30.0.10",
    EXTERNAL,
    "ssh-ed25519 AAAA devenv",
)
PLACES = {"aio": AIO, "multinode": MULTINODE}


class Handed(Redactor):
    """Remembers every secret that was handed out."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        super().__init__()

    def add(self, secrets: Any) -> None:
        self.secrets |= set(secrets)
        super().add(secrets)


def renderer(
    place: Place = AIO,
    overrides: Mapping[str, Any] | None = None,
    *,
    master: str = "a master secret",
    images: Mapping[str, tuple[str, str]] = IMAGES,
    redact: Redactor | None = None,
    services: list[Service] = SERVICES,
) -> Renderer:
    topology = Topology.model_validate(
        {"version": 1, "nodes": {"aio": {"roles": sorted(ALL)}}, "overrides": overrides or {}}
    )
    return Renderer(topology, services, place, Secrets(master, redact or Redactor()), images)


def render_all(made: Renderer) -> dict[str, Rendered]:
    """Every container on every node that it runs on, by ``node/name``."""
    return {
        f"{where.name}/{name}": made.render(service, name, where)
        for service in made.services
        for name, spec in service.containers.items()
        for where in made.nodes_for(spec)
    }


def changed(before: Renderer, after: Renderer) -> set[str]:
    """Names of the containers whose hash differs."""
    old, new = render_all(before), render_all(after)
    assert old.keys() == new.keys()
    return {new[id].name for id in old if old[id].hash != new[id].hash}
