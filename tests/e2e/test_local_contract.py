"""The contract, kept by the local provider on this machine's engine: one light node."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import Environments

from devenv.core.events import Events
from devenv.core.redact import Redactor
from devenv.core.wait import NotYet, wait_until
from devenv.environment import Environment, required_images
from devenv.images.store import Store
from devenv.nodes.node import Node
from devenv.providers.base import Provider
from devenv.topology.load import LoadedTopology, load

sys.path.append(str(Path(__file__).parents[1] / "contract"))
pytest.register_assert_rewrite("provider_contract")
from provider_contract import ProviderContract  # noqa: E402

TOPOLOGY = """\
version: 1
nodes:
  light: {roles: [control], memory: 1GiB}
"""
#: Another after each boot: of a virtual machine by the first, of a container by the second.
BIRTH = "cat /proc/sys/kernel/random/boot_id && cut -d' ' -f22 /proc/1/stat"


@pytest.fixture(scope="module")
def environment(
    environments: Environments, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environment]:
    """With a name and a home of its own, removed at the end."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("contract")
        patch.setenv("DEVENV_HOME", str(home))
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(home / "clouds.yaml"))
        made = Environment(f"e2e-{secrets.token_hex(3)}", "local", Events(), Redactor())
        yield made
        made.down()


@pytest.fixture(scope="module")
def provider(environment: Environment) -> Provider:
    """The environment's own."""
    return environment.provider


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """One node."""
    return _load(tmp_path_factory, TOPOLOGY)


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """And another one."""
    return _load(tmp_path_factory, TOPOLOGY + "  other: {roles: [compute], memory: 1GiB}\n")


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """Several control nodes, where one has its own address as the virtual IP."""
    more = "  more: {count: 2, roles: [control], memory: 1GiB}\n"
    return _load(tmp_path_factory, TOPOLOGY + more)


def _load(factory: pytest.TempPathFactory, text: str) -> LoadedTopology:
    """Always from the same file: it is one topology, at different times."""
    folder = factory.getbasetemp() / "contract-topology"
    folder.mkdir(exist_ok=True)
    file = folder / "light.yaml"
    file.write_text(text)
    return load(file)


@pytest.fixture(scope="module")
def store(environment: Environment) -> Store:
    """That of the preset, which the other tests have as well: a new one would replace it."""
    return environment.stores.ensure(required_images(load("aio")))


class TestLocalProvider(ProviderContract):
    """The real thing; no service is deployed."""

    def birth(self, provider: Provider, node: Node) -> str | None:
        """Asked of the node itself, through SSH; a node that is booting refuses at first."""

        def ask() -> str | None:
            try:
                done = subprocess.run(
                    ["ssh", *node.ssh.options(), node.ssh.destination, BIRTH],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=5,
                )
            except subprocess.TimeoutExpired:
                return None
            if any(word in done.stderr for word in ("refused", "reset", "closed")):
                raise NotYet(done.stderr)
            return done.stdout if done.returncode == 0 else None

        return wait_until(ask, what="SSH", timeout=30, node=node.name)

    def names(self, provider: Provider, node: Node) -> dict[str, str]:
        """Out of its /etc/hosts, as the engine shows it."""
        text = subprocess.run(
            ["docker", "exec", self._container(provider, node), "cat", "/etc/hosts"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        found = {name: line.split()[0] for line in text.splitlines() for name in line.split()[1:]}
        inventory = provider.nodes()
        assert inventory is not None
        known = {one.name for one in inventory.nodes} | {"other", "light", "more1", "more2"}
        return {name: address for name, address in found.items() if name in known}

    def wipe(self, provider: Provider, node: Node) -> None:
        """Its container and its volume."""
        name = self._container(provider, node)
        subprocess.run(["docker", "rm", "-f", "-v", name], check=True, capture_output=True)
        subprocess.run(["docker", "volume", "rm", name], check=True, capture_output=True)

    def _container(self, provider: Provider, node: Node) -> str:
        inventory = provider.nodes()
        return f"devenv-{inventory.environment}-{node.name}" if inventory else ""
