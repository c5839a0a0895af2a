"""The contract, kept by the local provider over an engine in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import local_fakes
import pytest
from docker.errors import NotFound
from fake_engine import Engine
from provider_contract import ProviderContract

from devenv.images.store import Store
from devenv.nodes.node import Node
from devenv.providers.base import Provider
from devenv.topology.load import LoadedTopology


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """One engine for all tests."""
    made = Engine()
    with pytest.MonkeyPatch.context() as patch:
        local_fakes.install(made, patch)
        yield made


@pytest.fixture(scope="module")
def provider(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """The environment `lab`."""
    provider = local_fakes.provider("lab", tmp_path_factory.mktemp("state"))
    yield provider
    provider.destroy()
    assert engine.containers_by_id == {} and engine.networks_by_id == {}
    assert engine.volumes_by_name.keys() == {local_fakes.STORE}


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """Three nodes."""
    return local_fakes.topology(_folder(tmp_path_factory))


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """Nodes that stand between those of `wanted`, and after them."""
    text = local_fakes.THREE.replace("  cmp:", "  mid: {count: 2, roles: [compute]}\n  cmp:")
    return local_fakes.topology(_folder(tmp_path_factory), f"{text}  new: {{roles: [network]}}\n")


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """One control node instead of two, and one node more."""
    text = local_fakes.THREE.replace("count: 2", "count: 1") + "  new: {roles: [compute]}\n"
    return local_fakes.topology(_folder(tmp_path_factory), text)


def _folder(factory: pytest.TempPathFactory) -> Path:
    """The same for all: it is one topology, at different times."""
    folder = factory.getbasetemp() / "contract-topology"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def store() -> Store:
    """A volume that counts as a complete store."""
    return Store(local_fakes.STORE, {}, 0)


class TestLocalProvider(ProviderContract):
    """Three nodes, two of them with the same roles."""

    @pytest.fixture(autouse=True)
    def _engine(self, engine: Engine) -> None:
        self._current = engine

    def birth(self, provider: Provider, node: Node) -> str | None:
        """Its container and how often that was started; only with a key that it accepts."""
        try:
            container = local_fakes.container_of(self._current, "lab", node.name)
        except NotFound:
            return None
        if container.state != "running":
            return None
        assert (node.ssh.key.parent / "id_ed25519.pub").read_text().strip() in container.keys
        return f"{container.id} {container.starts}"

    def names(self, provider: Provider, node: Node) -> dict[str, str]:
        """Out of /etc/hosts."""
        return local_fakes.names_of(self._current, "lab", node.name)

    def wipe(self, provider: Provider, node: Node) -> None:
        """Its container and its volume."""
        local_fakes.wipe(self._current, "lab", node.name)
