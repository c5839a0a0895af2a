"""The contract, kept by the Vagrant provider over programs that answer as the real ones do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import vagrant_fakes
from provider_contract import ProviderContract

from devenv.core.events import Events
from devenv.host.capabilities import Privileges
from devenv.images.store import Store
from devenv.nodes.node import Node
from devenv.providers.base import Provider
from devenv.providers.vagrant import VagrantProvider
from devenv.topology.load import LoadedTopology, load

THREE = """\
version: 1
provider: vagrant
vagrant: {box: debian/trixie64}
nodes:
  ctl: {count: 2, roles: [control, network]}
  cmp: {roles: [compute], memory: 1GiB}
"""


@pytest.fixture(scope="module")
def world() -> Iterator[vagrant_fakes.World]:
    """One machine's libvirt for all tests."""
    made = vagrant_fakes.World()
    with pytest.MonkeyPatch.context() as patch:
        vagrant_fakes.install(made, patch)
        yield made


@pytest.fixture(scope="module")
def provider(
    world: vagrant_fakes.World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Provider]:
    """The environment `lab`, beside one whose name begins with the same word."""
    before = vagrant_fakes.empty()
    world.state["volumes"] = ["devenv-lab-2_ctl1.img"]
    provider = VagrantProvider("lab", tmp_path_factory.mktemp("state"), Events(), Privileges)
    yield provider
    provider.destroy()
    assert world.state.pop("pools") == {"default": True}
    del before["pools"]
    assert world.state == before | {"volumes": ["devenv-lab-2_ctl1.img"]}


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """Three nodes."""
    return _topology(tmp_path_factory, THREE)


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """Nodes that stand between those of `wanted`, and after them."""
    text = THREE.replace("  cmp:", "  mid: {count: 2, roles: [compute]}\n  cmp:")
    return _topology(tmp_path_factory, f"{text}  new: {{roles: [network]}}\n")


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """One control node instead of two, and one node more."""
    text = THREE.replace("count: 2", "count: 1") + "  new: {roles: [compute]}\n"
    return _topology(tmp_path_factory, text)


def _topology(factory: pytest.TempPathFactory, text: str) -> LoadedTopology:
    """Always from the same file: it is one topology, at different times."""
    folder: Path = factory.getbasetemp() / "vagrant-topology"
    folder.mkdir(exist_ok=True)
    file = folder / "topology.yaml"
    file.write_text(text)
    return load(file)


@pytest.fixture(scope="module")
def store() -> Store:
    """No box of devenv's own is built here."""
    return Store("devenv-images-1234", {}, 0)


class TestVagrantProvider(ProviderContract):
    """Three nodes, two of them with the same roles."""

    @pytest.fixture(autouse=True)
    def _world(self, world: vagrant_fakes.World) -> None:
        self._current = world

    def birth(self, provider: Provider, node: Node) -> str | None:
        """Its domain and how often that was started; only with a key that it accepts."""
        domain = self._current.domains.get(f"devenv-lab_{node.name}")
        if domain is None or domain["state"] != "running":
            return None
        assert Path(f"{node.ssh.key}.pub").read_text().strip() == domain["key"]
        return f"{domain['uuid']} {domain['boots']}"

    def names(self, provider: Provider, node: Node) -> dict[str, str]:
        """What it was told."""
        lines = self._current.domains[f"devenv-lab_{node.name}"]["hosts"].splitlines()
        return {name: address for address, name in (line.split() for line in lines)}

    def wipe(self, provider: Provider, node: Node) -> None:
        """As `virsh undefine --remove-all-storage`."""
        del self._current.domains[f"devenv-lab_{node.name}"]
        self._current.state["volumes"].remove(f"devenv-lab_{node.name}.img")
