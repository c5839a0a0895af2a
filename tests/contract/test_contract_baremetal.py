"""The contract, kept by the bare metal provider on hosts in folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from baremetal_fakes import NODES, STORE, Rack, provider, topology
from provider_contract import ProviderContract

from devenv.images.store import Store
from devenv.nodes.node import Node
from devenv.providers.base import Provider
from devenv.topology.load import LoadedTopology

NAMES = ("ctl", "mid1", "mid2", "cmp", "new")


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """Five hosts without an engine."""
    made = Rack(tmp_path_factory.mktemp("rack"), NAMES)
    with pytest.MonkeyPatch.context() as patch:
        made.install(patch)
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the topology's file."""
    return tmp_path_factory.mktemp("topology")


@pytest.fixture(scope="module")
def lab(rack: Rack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """The environment `lab`; in the end every host is as it was found."""
    before = {host.address: host.tree() for host in rack}
    made = provider("lab", tmp_path_factory.mktemp("state"))
    yield made
    made.restore_hosts = True
    made.destroy()
    for name in ("ctl", "cmp"):
        assert rack[name].tree() == before[rack[name].address]
    assert all(host.lock is None for host in rack)


@pytest.fixture(scope="module", name="provider")
def _provider(lab: Provider) -> Provider:
    return lab


@pytest.fixture(scope="module")
def wanted(rack: Rack, folder: Path) -> LoadedTopology:
    """Two nodes."""
    return topology(folder, NODES + rack.section())


@pytest.fixture(scope="module")
def larger(rack: Rack, folder: Path) -> LoadedTopology:
    """Nodes between those of `wanted`, and after them."""
    text = NODES.replace("  cmp:", "  mid: {count: 2, roles: [compute]}\n  cmp:")
    return topology(folder, f"{text}  new: {{roles: [network]}}\n{rack.section()}")


@pytest.fixture(scope="module")
def refused(rack: Rack, folder: Path) -> LoadedTopology:
    """Several control nodes, where one has its own address as the virtual IP."""
    return topology(folder, f"{NODES}  more: {{count: 2, roles: [control]}}\n{rack.section()}")


@pytest.fixture(scope="module")
def store() -> Store:
    """Nothing is asked of it: images come to hosts later."""
    return STORE


class TestBaremetalProvider(ProviderContract):
    """Two hosts with power switches."""

    @pytest.fixture(autouse=True)
    def _rack(self, rack: Rack) -> None:
        self._current = rack

    def birth(self, provider: Provider, node: Node) -> str | None:
        """Its boot, and how often the environment took it; only with a key that it accepts."""
        host = self._current[node.name]
        key = (node.ssh.key.parent / "id_ed25519.pub").read_text().split()[1]
        if not host.on or key not in host.read("root/.ssh/authorized_keys"):
            return None
        assert host.lock
        return f"{host.boots} {host.lock.id}"

    def names(self, provider: Provider, node: Node) -> dict[str, str]:
        """Out of /etc/hosts; the first line on a name counts."""
        lines = self._current[node.name].read("etc/hosts").splitlines()
        pairs = [line.split() for line in lines if line[:4] == "172."]
        assert len(pairs) == len({name for _, name in pairs})
        return {name: address for address, name in pairs}

    def wipe(self, provider: Provider, node: Node) -> None:
        """Installed anew, with the same host key."""
        self._current[node.name].install()
        self._current[node.name].switch(True)
