"""The contract, kept by the Vagrant provider on this machine's libvirt: two light nodes.

An emulated machine takes one to two minutes to come up, so these are the tests of the contract
that a fake cannot answer for: what is asked of the node itself. All others run on programs that
answer as the real ones do, and whether they do is looked at here.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from environments import Environments

from devenv.core.errors import WaitTimeout
from devenv.core.events import Events
from devenv.core.redact import Redactor
from devenv.core.wait import NotYet, wait_until
from devenv.environment import Environment, required_images
from devenv.host.capabilities import Privileges
from devenv.images.store import Store
from devenv.nodes.node import Node
from devenv.providers import vagrant_tools
from devenv.providers.base import Inventory, Provider
from devenv.providers.vagrant import VagrantProvider
from devenv.providers.vagrant_libvirt import URI
from devenv.providers.vagrant_project import parse
from devenv.topology.load import LoadedTopology, load

CONTRACT = Path(__file__).parents[1] / "contract"
sys.path.append(str(CONTRACT))
pytest.register_assert_rewrite("provider_contract")
import vagrant_fakes  # noqa: E402
from provider_contract import ProviderContract  # noqa: E402

TOPOLOGY = """\
version: 1
provider: vagrant
defaults: {memory: 512MiB, cpus: 1}
nodes:
  light: {roles: [control]}
  other: {roles: [compute]}
"""

#: What is asked of the nodes themselves; the rest is asked of libvirt, as the fake is.
_REAL = {
    "test_the_nodes_are_those_of_the_topology",
    "test_addresses_are_in_the_networks_and_each_is_one_nodes",
    "test_the_key_is_private_and_the_host_keys_are_known",
    "test_every_node_knows_the_others",
    "test_every_node_answers",
    "test_the_backend_knows_the_same",
    "test_creating_again_changes_nothing",
    "test_what_is_refused_changes_nothing",
    "test_pause_and_resume",
    "test_a_snapshot_works_or_says_why_not",
    "test_a_node_that_is_none",
}

_BOX_KINDS = {"box-name", "box-provider", "box-version"}

pytestmark = pytest.mark.skipif(
    not (shutil.which("vagrant") and shutil.which("libvirtd")), reason="no vagrant with libvirt"
)


@pytest.fixture(scope="module")
def environment(
    ready: None, environments: Environments, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environment]:
    """With a name and a home of its own, removed at the end."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("contract")
        patch.setenv("DEVENV_HOME", str(home))
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(home / "clouds.yaml"))
        made = Environment(f"e2e-{secrets.token_hex(3)}", "vagrant", Events(), Redactor())
        before = _names()
        yield made
        made.down()
        assert _names() - before == set(), "nothing is left"


def _names() -> set[str]:
    """Domains, networks and volumes of libvirt; boxes are kept, as images are."""
    found = {f"domain {name}" for name in _virsh("list", "--all", "--name")}
    found |= {f"network {name}" for name in _virsh("net-list", "--all", "--name")}
    if "default" in _virsh("pool-list", "--name"):
        volumes = (line.split()[0] for line in _virsh("vol-list", "default"))
        found |= {f"volume {name}" for name in volumes if not name.endswith("_box.img")}
    return found | {f"secret {line}" for line in _virsh("secret-list")}


def _virsh(*words: str) -> list[str]:
    done = vagrant_tools.run(["virsh", "-q", "-c", URI, *words])
    assert done.code == 0, done.error
    return [line.strip() for line in done.out.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def ready(wanted: LoadedTopology, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The machine is made ready as `devenv doctor --fix` does."""
    state = tmp_path_factory.mktemp("ready")
    for probe in VagrantProvider("ready", state, Events(), Privileges).check(wanted):
        check = probe()
        if check.fatal and not check.ok and check.fix:
            check.fix.apply()
            check = probe()
        assert check.ok or not check.fatal, check


@pytest.fixture(scope="module")
def provider(environment: Environment) -> Provider:
    """The environment's own."""
    return environment.provider


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """Two nodes."""
    return _load(tmp_path_factory, TOPOLOGY)


@pytest.fixture(scope="module")
def larger(wanted: LoadedTopology) -> LoadedTopology:
    """Not made here: it would be another machine."""
    return wanted


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> LoadedTopology:
    """Several control nodes, where one has its own address as the virtual IP."""
    return _load(tmp_path_factory, TOPOLOGY + "  more: {count: 2, roles: [control]}\n")


def _load(factory: pytest.TempPathFactory, text: str) -> LoadedTopology:
    """Always from the same file: it is one topology, at different times."""
    folder = factory.getbasetemp() / "vagrant-topology"
    folder.mkdir(exist_ok=True)
    file = folder / "light.yaml"
    file.write_text(text)
    return load(file)


@pytest.fixture(scope="module")
def store(environment: Environment) -> Store:
    """No images in the box: these nodes run nothing."""
    return replace(environment.stores.ensure(required_images(load("aio"))), images={})


class TestVagrantProvider(ProviderContract):
    """The real thing; no service is deployed."""

    @pytest.fixture(autouse=True)
    def _only_real(self, request: pytest.FixtureRequest) -> None:
        name = request.node.originalname
        if name not in _REAL and name not in TestVagrantProvider.__dict__:
            pytest.skip("asked of the fake")

    def birth(self, provider: Provider, node: Node) -> str | None:
        """Asked of the node itself, through SSH; one that is on may have to boot first."""
        name = f"devenv-{provider.nodes().environment}_{node.name}"  # type: ignore[union-attr]
        if _virsh("domstate", name) != ["running"]:
            assert _ssh(node, "true", 5) is None, "what is off or paused does not answer"
            return None

        def ask() -> str:
            said = _ssh(node, "cat /proc/sys/kernel/random/boot_id", 20)
            if not said:
                raise NotYet("no answer")
            return said

        try:
            return wait_until(ask, what="SSH", timeout=240, node=node.name)
        except WaitTimeout:
            return None

    def names(self, provider: Provider, node: Node) -> dict[str, str]:
        """Out of its /etc/hosts."""
        text = _ssh(node, "cat /etc/hosts", 30) or ""
        found = {name: line.split()[0] for line in text.splitlines() for name in line.split()[1:]}
        return {name: address for name, address in found.items() if name in {"light", "other"}}

    def test_a_node_is_what_it_should_be(self, inventory: Inventory) -> None:
        """Its own name, a Docker Engine, its addresses on the right devices, a key of its own."""
        keys = set()
        for node in inventory.nodes:
            script = "hostname; systemctl is-active docker; cat /etc/ssh/ssh_host_ed25519_key.pub"
            said = (_ssh(node, f"{script}; ip -4 -o address show", 60) or "").splitlines()
            assert said[:2] == [node.name, "active"]
            keys.add(said[2])
            devices = {line.split()[3]: line.split()[1] for line in said[3:]}
            assert devices[node.external.address] == node.external.interface
            assert f"{node.address}/{inventory.api.prefixlen}" in devices
        assert len(keys) == len(inventory.nodes)

    def test_a_reset_keeps_the_addresses_and_what_was_written(
        self, provider: Provider, inventory: Inventory
    ) -> None:
        """It is a reboot that nobody announced."""
        *_, node = inventory.nodes
        before = self.birth(provider, node)
        assert _ssh(node, "echo kept >/root/kept; sync; echo ok", 60) == "ok\n"
        provider.power(node.name, "reset")

        def booted() -> None:
            if self.birth(provider, node) in (None, before):
                raise NotYet("it has not gone down yet")

        wait_until(booted, what="another boot", timeout=300, node=node.name)
        assert _ssh(node, "cat /root/kept", 60) == "kept\n"
        assert node.external.address in (_ssh(node, "ip -4 -o address", 60) or "")
        self.all_know_all(provider, inventory)

    def test_the_external_network_leads_out_of_the_node(self, inventory: Inventory) -> None:
        """Its gateway answers."""
        ping = f"ping -c 1 -W 10 {inventory.gateway} >/dev/null && echo ok"
        assert all(_ssh(node, ping, 60) for node in inventory.nodes)

    def test_the_fakes_answer_as_the_real_programs_do(
        self, environment: Environment, provider: Provider, inventory: Inventory
    ) -> None:
        """The same kinds of machine-readable lines, the same columns, the same XML."""
        node = inventory.nodes[0].name
        domain = f"devenv-{inventory.environment}_{node}"
        folder = environment.state / "vagrant"
        world = _world(folder, domain)
        in_folder = {"VAGRANT_CWD": str(folder)}

        def both(*command: str) -> tuple[str, str]:
            done = vagrant_tools.run(command, environment=in_folder)
            code, out, _ = world.call(command, "", in_folder)
            assert done.code == code, (command, done)
            return done.out, out

        def virsh(*words: str) -> tuple[str, str]:
            return both("virsh", "-q", "-c", URI, *words)

        real, fake = both("vagrant", "--machine-readable", "box", "list")
        kinds = [{m.kind for m in map(parse, text.splitlines()) if m} for text in (real, fake)]
        assert kinds[0] & _BOX_KINDS == kinds[1] & _BOX_KINDS == _BOX_KINDS
        assert all("vagrant-libvirt (" in text for text in both("vagrant", "plugin", "list"))
        real, fake = both("vagrant", "ssh-config", node)
        words = [{line.split()[0] for line in text.splitlines() if line} for text in (real, fake)]
        assert words[0] >= words[1] >= {"Host", "HostName", "User", "Port", "IdentityFile"}
        for state in ("running", "paused"):
            if state == "paused":
                provider.power(node, "pause")
                world.call(["virsh", "suspend", domain], "", {})
            rows = [_row(text, domain)[1:] for text in virsh("list", "--all")]
            assert rows[0] == rows[1] == [domain, state]
        provider.power(node, "resume")
        world.call(["virsh", "resume", domain], "", {})
        trees = [ElementTree.fromstring(text) for text in virsh("dumpxml", "--inactive", domain)]
        for path in ("name", "uuid", "description", "memory"):
            assert all(tree.findtext(path) for tree in trees), path
        assert trees[0].get("type") in {"qemu", "kvm"}
        for tree in trees:
            assert json.loads(tree.findtext("description") or "")["node"] == node
        texts = virsh("vol-list", "default")
        for volume in (f"{domain}.img", f"{domain}.console"):
            assert _row(texts[0], volume) == _row(texts[1], volume)

    def test_a_snapshot_has_its_columns_in_the_fake(
        self, environment: Environment, provider: Provider, inventory: Inventory
    ) -> None:
        """Name, date, time, zone, state."""
        node = inventory.nodes[0].name
        domain = f"devenv-{inventory.environment}_{node}"
        provider.snapshot("columns")
        real = _row("\n".join(_virsh("snapshot-list", domain)), "columns")
        world = _world(environment.state / "vagrant", domain)
        world.call(["virsh", "suspend", domain], "", {})
        world.call(["virsh", "snapshot-create-as", domain, "columns"], "", {})
        fake = _row(world.call(["virsh", "snapshot-list", domain], "", {})[1], "columns")
        assert len(real) == len(fake) == 5
        assert (real[0], real[4]) == (fake[0], fake[4]) == ("columns", "paused")


def _row(text: str, name: str) -> list[str]:
    """The columns of the row that has `name`."""
    (row,) = [line.split() for line in text.splitlines() if name in line.split()]
    return row


def _world(folder: Path, domain: str) -> vagrant_fakes.World:
    """The fakes, with the same machines."""
    world = vagrant_fakes.World()
    world.state["pools"]["default"] = True
    wanted = json.loads((folder / "nodes.json").read_text())
    networks = [wanted["management"]["name"]]
    networks += [network["name"] for network in wanted["nodes"][0]["networks"]]
    for network in networks:
        net = {"cidr": "172.29.0.0/24", "active": True, "forward": ""}
        world.state["networks"][network] = net
    world.state["boxes"].append([wanted["box"], "libvirt", wanted["box_version"]])
    node = domain.partition("_")[2]
    assert world.call(["vagrant", "up", node], "", {"VAGRANT_CWD": str(folder)})[0] == 0
    text = vagrant_tools.run(["virsh", "-q", "-c", URI, "desc", domain]).out.strip()
    world.call(["virsh", "desc", domain, "--config", "--new-desc", text], "", {})
    return world


def _ssh(node: Node, command: str, timeout: float) -> str | None:
    """What a command on the node says; None if SSH does not get there."""
    try:
        done = subprocess.run(
            ["ssh", *node.ssh.options(), node.ssh.destination, command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None


#: As `devenv up` would make a machine; the process is killed in the middle of that.
_UP = """
import sys
from pathlib import Path
from devenv.core.events import Events
from devenv.host.capabilities import Privileges
from devenv.images.store import Store
from devenv.providers.vagrant import VagrantProvider
from devenv.topology.load import load
name, state, topology = sys.argv[1:]
say = Events(lambda event: print(event.text, flush=True))
VagrantProvider(name, Path(state), say, Privileges).create(load(topology), Store("none", {}, 0))
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_up_that_is_ended_while_a_machine_boots_leaves_what_can_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ready: None, end: signal.Signals
) -> None:
    """The machine's disk is empty, so it waits for an address for ever."""
    monkeypatch.setenv("VAGRANT_HOME", str(tmp_path / "home"))
    _add_empty_box(tmp_path)
    topology = tmp_path / "empty.yaml"
    topology.write_text(TOPOLOGY.replace("vagrant\n", "vagrant\nvagrant: {box: empty}\n", 1))
    name, state = f"e2e-{secrets.token_hex(3)}", tmp_path / "state"
    state.mkdir()
    before = _names()
    other = VagrantProvider(name, state, Events(), Privileges)
    try:
        with subprocess.Popen(
            [sys.executable, "-c", _UP, name, str(state), str(topology)],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout
            for line in process.stdout:
                if "IP address" in line:
                    process.send_signal(end)
                    break
            assert process.wait(60) != 0
        assert other.nodes() is None
        removed = other.collect_garbage()
        assert f"domain devenv-{name}_light" in removed
        assert _names() == before
        assert not _processes_in(state / "vagrant")
    finally:
        other.destroy()
        for line in _virsh("vol-list", "default"):
            if line.startswith("empty_vagrant_box_image"):
                _virsh("vol-delete", line.split()[0], "--pool", "default")


def _add_empty_box(folder: Path) -> None:
    disk = folder / "box.img"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    data = '{"provider": "libvirt", "format": "qcow2", "virtual_size": 1}'
    (folder / "metadata.json").write_text(data)
    with tarfile.open(folder / "empty.box", "w") as box:
        for name in ("metadata.json", "box.img"):
            box.add(folder / name, name)
    add = ["vagrant", "box", "add", "--name", "empty", folder / "empty.box"]
    subprocess.run(add, check=True, capture_output=True)


def _processes_in(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"VAGRANT_CWD={folder}\0".encode() in (entry / "environ").read_bytes():
                found.append(entry.name)
    return found
