"""LocalProvider over the engine in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_engine import Engine
from fake_objects import Container

from devenv.core.events import Events
from devenv.host import resources
from devenv.host.capabilities import Privileges
from devenv.providers import local
from devenv.providers.local import LocalProvider
from devenv.topology.load import LoadedTopology, load

STORE = "devenv-images-1234"
THREE = """\
version: 1
nodes:
  ctl: {count: 2, roles: [control, network]}
  cmp: {roles: [compute], memory: 1GiB}
"""


def install(engine: Engine, patch: pytest.MonkeyPatch) -> None:
    """Have the provider find `engine`, with an image store in it, and a machine without routes."""
    patch.setattr(local, "connect", engine.client)
    patch.setattr(resources, "routes", list)
    engine.client().volumes.create(STORE, labels={})


def provider(name: str, state: Path) -> LocalProvider:
    """For environment `name`; its state folder is made."""
    state.mkdir(parents=True, exist_ok=True)
    return LocalProvider(name, state, Events(), Privileges)


def topology(folder: Path, text: str = THREE) -> LoadedTopology:
    """The same file each time, so that it counts as the same topology."""
    file = folder / "topology.yaml"
    file.write_text(text)
    return load(file)


def container_of(engine: Engine, environment: str, node: str) -> Container:
    """The container of a node."""
    return engine.find_container(f"devenv-{environment}-{node}")


def names_of(engine: Engine, environment: str, node: str) -> dict[str, str]:
    """What a node's /etc/hosts says on names of nodes; the first line on a name counts."""
    lines = container_of(engine, environment, node).hosts.splitlines()
    pairs = [line.split() for line in lines if not line.startswith("#")]
    return {name: pair[0] for pair in reversed(pairs) for name in pair[1:] if "local" not in name}


def wipe(engine: Engine, environment: str, node: str) -> None:
    """As `docker rm -f` of a node's container and `docker volume rm` of its volume."""
    container = container_of(engine, environment, node)
    container.remove(force=True)
    engine.volumes_by_name[container.volumes[0]].remove()
