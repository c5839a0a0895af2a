"""The contract, kept by the bare metal provider on hosts of the lab, whose switch is real."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from baremetal_lab import Lab, lab

from devenv.core.events import Events
from devenv.host.capabilities import Privileges
from devenv.images.store import Store
from devenv.nodes.node import Node
from devenv.providers import baremetal_power
from devenv.providers.baremetal import BaremetalProvider
from devenv.providers.baremetal_power import Power, Switch
from devenv.providers.base import Provider
from devenv.topology.load import LoadedTopology, load
from devenv.topology.machines import Host

sys.path.append(str(Path(__file__).parents[1] / "contract"))
pytest.register_assert_rewrite("provider_contract")
from provider_contract import ProviderContract  # noqa: E402

NODES = """\
version: 1
defaults: {memory: 1GiB, cpus: 1, disk: 1GiB}
nodes:
  ctl: {roles: [control]}
"""
#: Another after each boot (of a container: its first process's start), and each time that the
#: environment took the host.
BIRTH = "cut -d' ' -f22 /proc/1/stat && grep -o '\"id\":\"[0-9a-f]*\"' /etc/devenv/lock.json"


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two hosts; their switches stand in place of Redfish's."""
    with (
        lab(["ctl", "cmp"], tmp_path_factory.mktemp("keys")) as made,
        pytest.MonkeyPatch.context() as patch,
    ):

        def power_for(name: str, host: Host) -> Power:
            return Switch(name, partial(type(made.hosts[name]).controller, made.hosts[name]))

        patch.setattr(baremetal_power, "power_for", power_for)
        yield made


@pytest.fixture(scope="module")
def provider(rack: Lab, tmp_path_factory: pytest.TempPathFactory) -> Provider:
    """The environment `lab`; its hosts go with the lab."""
    return BaremetalProvider("lab", tmp_path_factory.mktemp("state"), Events(), Privileges)


@pytest.fixture(scope="module")
def wanted(rack: Lab, tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """One node."""
    return _load(tmp_path_factory, NODES + rack.section(power=True))


@pytest.fixture(scope="module")
def larger(rack: Lab, tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """And another one."""
    more = "  cmp: {roles: [compute]}\n"
    return _load(tmp_path_factory, NODES + more + rack.section(power=True))


@pytest.fixture(scope="module")
def refused(rack: Lab, tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """Several control nodes, where one has its own address as the virtual IP."""
    more = "  more: {count: 2, roles: [control]}\n"
    return _load(tmp_path_factory, NODES + more + rack.section(power=True))


def _load(factory: pytest.TempPathFactory, text: str) -> LoadedTopology:
    """Always from the same file: it is one topology, at different times."""
    folder = factory.getbasetemp() / "contract-rack"
    folder.mkdir(exist_ok=True)
    file = folder / "rack.yaml"
    file.write_text(text)
    return load(file)


@pytest.fixture(scope="module")
def store() -> Store:
    """Nothing is asked of it: images come to hosts later."""
    return Store("", {}, 0)


class TestBaremetalProvider(ProviderContract):
    """Hosts that had no Docker; no service is deployed."""

    @pytest.fixture(autouse=True)
    def _rack(self, rack: Lab) -> None:
        self._current = rack

    def birth(self, provider: Provider, node: Node) -> str | None:
        """Asked of the node itself, through SSH as everything above the providers does."""
        done = subprocess.run(
            ["ssh", "-o", "ConnectTimeout=2", *node.ssh.options(), node.ssh.destination, BIRTH],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout if done.returncode == 0 else None

    def names(self, provider: Provider, node: Node) -> dict[str, str]:
        """Out of /etc/hosts, without those that it had before."""
        lines = self._current.hosts[node.name].run("cat /etc/hosts").splitlines()
        pairs = [line.split() for line in lines if line and line[0] not in "#:fF"]
        return {
            name: address for address, *names in pairs for name in names if address[:4] != "127."
        }

    def wipe(self, provider: Provider, node: Node) -> None:
        """Installed anew; it has the same host key."""
        self._current.hosts[node.name].install()
