"""What an environment keeps where, and that it can be found and forgotten."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from devenv import environment
from devenv.access import clouds
from devenv.core.errors import DevenvError, InputError
from devenv.core.events import Events
from devenv.core.redact import Redactor
from devenv.core.secrets import Secrets
from devenv.environment import Environment
from devenv.nodes.connection import Connection, File
from devenv.nodes.node import ExternalLink, Node, SshTarget
from devenv.providers.base import Inventory
from devenv.topology.load import load


def node(name: str, number: int) -> Node:
    address = f"172.30.0.{number}"
    ssh = SshTarget(address, Path("/k"), Path("/h"))
    return Node(name, frozenset({"control"}), address, ExternalLink("", ""), ssh)


INVENTORY = Inventory(
    "lab",
    "aio",
    (node("ctl1", 11), node("ctl2", 12)),
    IPv4Network("172.30.0.0/24"),
    IPv4Network("172.31.0.0/24"),
    IPv4Address("172.30.0.10"),
    IPv4Address("172.31.0.1"),
)
SECRET = "/etc/kolla/devenv-secret"


class FakeProvider:
    """Has the inventory until it is destroyed."""

    def __init__(self, *_: object) -> None:
        self.inventory: Inventory | None = INVENTORY

    def nodes(self) -> Inventory | None:
        return self.inventory

    def destroy(self) -> list[str]:
        found, self.inventory = self.inventory, None
        return ["container devenv-lab-ctl1"] if found else []

    def collect_garbage(self) -> list[str]:
        return [] if self.inventory else ["volume devenv-lab-ctl1"]


class FakeNode:
    """A connection to a node that has files."""

    def __init__(self, made: Node) -> None:
        self.node = made
        self.files: dict[str, bytes] = {}

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def put(self, files: Iterable[File]) -> None:
        for file in files:
            assert file.mode == 0o600
            self.files[file.path] = file.content


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeNode]:
    """What `connected` finds behind the inventory."""
    made = {each.name: FakeNode(each) for each in INVENTORY.nodes}

    @contextmanager
    def connected(wanted: Iterable[Node], *_: Any, **__: Any) -> Iterator[dict[str, FakeNode]]:
        yield {each.name: made[each.name] for each in wanted}

    monkeypatch.setattr(environment, "connected", connected)
    return made


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.setenv("DEVENV_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    monkeypatch.setattr(environment, "provider_class", lambda name: FakeProvider)
    monkeypatch.setattr(environment, "connect", lambda timeout=60: None)
    monkeypatch.setattr("devenv.images.leftovers.remove_helpers", lambda client: [])
    return Environment("lab", "local", Events(), Redactor())


def secrets_of(lab: Environment, nodes: dict[str, FakeNode]) -> Secrets:
    return lab._secrets(cast(dict[str, Connection], nodes), INVENTORY, "version: 1\n")


def test_a_new_master_is_kept_here_and_on_every_control_node(
    lab: Environment, nodes: dict[str, FakeNode]
) -> None:
    made = secrets_of(lab, nodes)
    here = lab.state / "secret"
    assert stat.S_IMODE(here.stat().st_mode) == 0o600
    assert {found.files[SECRET] for found in nodes.values()} == {here.read_bytes()}
    assert nodes["ctl1"].files["/etc/kolla/topology.yaml"] == b"version: 1\n"
    assert secrets_of(lab, nodes).password("x") == made.password("x")


def test_a_lost_state_folder_loses_no_secret(lab: Environment, nodes: dict[str, FakeNode]) -> None:
    """One node that still has it is enough."""
    before = secrets_of(lab, nodes).password("x")
    (lab.state / "secret").unlink()
    nodes["ctl1"].files.clear()
    assert secrets_of(lab, nodes).password("x") == before
    assert nodes["ctl1"].files[SECRET] == nodes["ctl2"].files[SECRET]


def test_the_nodes_secret_is_the_true_one(lab: Environment, nodes: dict[str, FakeNode]) -> None:
    nodes["ctl1"].files[SECRET] = nodes["ctl2"].files[SECRET] = b"theirs\n"
    (lab.state / "secret").write_text("another\n")
    assert secrets_of(lab, nodes).password("x") == Secrets("theirs", Redactor()).password("x")
    assert (lab.state / "secret").read_text() == "theirs\n"


def test_the_cloud_can_be_had_without_the_state(
    lab: Environment, nodes: dict[str, FakeNode]
) -> None:
    before = lab.cloud(INVENTORY, secrets_of(lab, nodes))
    assert before.auth_url == "http://172.30.0.10:5000/v3"
    assert lab.cloud() == before
    (lab.state / "secret").unlink()
    assert lab.cloud() == before


def test_another_topology_is_refused(lab: Environment) -> None:
    lab._same_topology(INVENTORY, load("aio"))
    with pytest.raises(InputError, match="exists with the topology 'aio', not 'multinode'"):
        lab._same_topology(INVENTORY, load("multinode"))
    lab._same_topology(None, load("multinode"))


def test_down_forgets_everything(lab: Environment, nodes: dict[str, FakeNode]) -> None:
    file = clouds.user_file()
    file.write_text("clouds:\n  mine: {auth_type: none}\n")
    clouds.add(lab.cloud(INVENTORY, secrets_of(lab, nodes)), file)
    sockets = lab._sockets
    assert sockets.is_dir()
    removed = lab.down()
    assert removed[0] == "container devenv-lab-ctl1"
    assert yaml.safe_load(file.read_text())["clouds"].keys() == {"mine"}
    assert not lab.state.exists() and not sockets.exists()
    with pytest.raises(InputError, match="there is no environment 'lab'"):
        lab.inventory()


def test_garbage_is_collected_where_there_is_no_node(lab: Environment) -> None:
    (lab.state / "secret").write_text("x")
    assert lab.collect_garbage() == []
    assert (lab.state / "secret").exists()
    lab.provider.destroy()
    assert lab.collect_garbage()[0] == "volume devenv-lab-ctl1"
    assert not lab.state.exists()


def test_one_change_at_a_time(lab: Environment) -> None:
    again = Environment("lab", "local", Events(), Redactor())
    other = Environment("other", "local", Events(), Redactor())
    with lab.locked():
        with pytest.raises(DevenvError, match="another devenv is changing environment 'lab'"):
            again.down()
        assert again.provider.nodes() is INVENTORY, "nothing was done"
        other.down()
    again.down()
