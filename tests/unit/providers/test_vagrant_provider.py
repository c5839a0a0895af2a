"""What the Vagrant provider does when something is lost, half made, too large or broken."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from devenv.core.errors import HostError, InputError
from devenv.core.events import Event, Events
from devenv.host.capabilities import Privileges
from devenv.host.checks import Check
from devenv.images.store import Store
from devenv.providers import vagrant_checks, vagrant_existing, vagrant_tools
from devenv.providers.base import Inventory
from devenv.providers.vagrant import EMULATED_PACE, VagrantProvider
from devenv.topology.load import LoadedTopology, load

CONTRACT = Path(__file__).parents[2] / "contract"
sys.path.append(str(CONTRACT))
import vagrant_fakes  # noqa: E402 - the path has to come first

TWO = """\
version: 1
provider: vagrant
vagrant: {box: debian/trixie64}
nodes:
  ctl: {roles: [control, network], memory: 1GiB, cpus: 1}
  cmp: {roles: [compute], memory: 1GiB, cpus: 1}
"""


class Lab:
    """The environment ``lab`` on a machine of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = vagrant_fakes.World()
        self.events: list[Event] = []
        self.state = folder / "state"
        self.state.mkdir()

    def provider(self) -> VagrantProvider:
        """As another process would have it."""
        return VagrantProvider("lab", self.state, Events(self.events.append), Privileges)

    def topology(self, text: str = TWO) -> LoadedTopology:
        """Always the same file."""
        file = self.folder / "topology.yaml"
        file.write_text(text)
        return load(file)

    def create(self, text: str = TWO) -> Inventory:
        """As `devenv up` has it made."""
        return self.provider().create(self.topology(text), Store("none", {}, 0))

    def domain(self, node: str) -> dict[str, object]:
        """What libvirt has."""
        found: dict[str, object] = self.world.domains[f"devenv-lab_{node}"]
        return found


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Nothing is there yet."""
    made = Lab(tmp_path)
    vagrant_fakes.install(made.world, monkeypatch)
    return made


def test_nodes_of_emulated_machines_are_slow_and_have_a_disk_of_their_own(lab: Lab) -> None:
    inventory = lab.create()
    assert {node.pace for node in inventory.nodes} == {EMULATED_PACE}
    assert all(node.own_disk for node in inventory.nodes)
    assert {node.external.interface for node in inventory.nodes} == {"eth2"}
    assert lab.domain("ctl")["type"] == "qemu"


def test_with_kvm_they_are_not(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vagrant_checks, "kvm_boots", lambda: True)
    assert {node.pace for node in lab.create().nodes} == {1.0}
    assert lab.domain("ctl")["type"] == "kvm"


def test_only_two_networks_lead_out_and_only_vagrants_has_dhcp(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    defined: list[str] = []
    run = vagrant_tools.run

    def spy(command: list[str], **more: object) -> vagrant_tools.Done:
        if "net-define" in command:
            defined.append(Path(command[-1]).read_text())
        return run(command, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(vagrant_tools, "run", spy)
    lab.create()
    management, api, external = defined
    assert "<dhcp>" in management and "<dhcp>" not in api + external
    assert "nat" in management and "nat" in external and "forward" not in api
    assert [net for net in lab.world.state["networks"] if net != "default"] == [
        "devenv-lab-management",
        "devenv-lab-api",
        "devenv-lab-external",
    ]


def test_a_lost_state_folder_loses_nothing(lab: Lab) -> None:
    inventory = lab.create()
    key = inventory.nodes[0].ssh.key.read_text()
    shutil.rmtree(lab.state)
    lab.state.mkdir()
    found = lab.provider().nodes()
    assert found == inventory
    assert found.nodes[0].ssh.key.read_text() == key
    assert lab.create() == inventory
    assert lab.provider().destroy()
    assert lab.world.domains == {}


def test_a_lost_key_that_libvirt_has_not_either_is_said_in_words(lab: Lab) -> None:
    lab.create()
    shutil.rmtree(lab.state)
    lab.state.mkdir()
    lab.world.state["secrets"].clear()
    with pytest.raises(HostError, match="SSH key"):
        lab.provider().nodes()
    assert lab.provider().destroy()


def test_vagrant_is_called_once_for_all_machines_and_not_when_all_are_there(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    answer = lab.world._vagrant

    def spy(words: list[str], environment: dict[str, str]) -> vagrant_fakes.Answer:
        calls.append(words)
        return answer(words, environment)

    monkeypatch.setattr(lab.world, "_vagrant", spy)
    lab.create()
    (up,) = [words for words in calls if "up" in words]
    assert {"ctl", "cmp", "--parallel", "--provider=libvirt"} <= set(up)
    calls.clear()
    lab.create()
    assert calls == []


def test_what_a_killed_up_left_is_made_anew(lab: Lab) -> None:
    lab.world.state["broken"] = "ctl"
    with pytest.raises(HostError):
        lab.create()
    assert list(lab.world.domains) == ["devenv-lab_ctl"]
    assert lab.provider().nodes() is None, "nobody prepared it"
    lab.world.state["broken"] = ""
    half = lab.domain("ctl")["uuid"]
    assert [node.name for node in lab.create().nodes] == ["ctl", "cmp"]
    assert lab.domain("ctl")["uuid"] != half


def test_what_a_killed_up_left_is_garbage(lab: Lab) -> None:
    lab.world.state["broken"] = "ctl"
    with pytest.raises(HostError):
        lab.create()
    removed = lab.provider().collect_garbage()
    assert "domain devenv-lab_ctl" in removed and "volume devenv-lab_ctl.img" in removed
    assert "network devenv-lab-api" in removed
    assert lab.world.domains == {} and lab.world.state["volumes"] == []
    assert lab.world.state["secrets"] == {}
    assert list(lab.world.state["networks"]) == ["default"]


def test_a_volume_without_a_domain_goes_too(lab: Lab) -> None:
    lab.world.state["pools"]["default"] = True
    lab.world.state["volumes"] += ["devenv-lab_ctl.img", "devenv-lab-2_ctl.img", "box_box.img"]
    assert lab.provider().collect_garbage() == ["volume devenv-lab_ctl.img"]


def test_a_machine_that_gets_no_address_shows_its_console(lab: Lab) -> None:
    lab.world.state["broken"] = "cmp"
    with pytest.raises(HostError) as caught:
        lab.create()
    assert "wait_for timeout" in str(caught.value)
    assert "console of cmp" in str(caught.value) and "no root device" in str(caught.value)
    failed = {event.step for event in lab.events if event.kind == "failed"}
    assert failed == {"ctl", "cmp"}


def test_a_box_that_does_not_exist(lab: Lab) -> None:
    text = TWO.replace("debian/trixie64", "nosuch/box")
    with pytest.raises(InputError, match=r"topology.yaml:3.*nosuch/box") as caught:
        lab.create(text)
    assert "could not be found" in str(caught.value)
    assert lab.world.domains == {}


def test_another_version_of_a_box_is_another_box(lab: Lab) -> None:
    with pytest.raises(InputError, match="not to be had"):
        lab.create(TWO.replace("trixie64", "trixie64, box_version: '9'"))
    lab.create(TWO.replace("trixie64", "trixie64, box_version: '1.0'"))


def test_memory_is_changed_at_a_power_cycle(lab: Lab) -> None:
    lab.create()
    before = lab.domain("ctl")["uuid"], lab.domain("ctl")["boots"]
    other = lab.domain("cmp")["boots"]
    lab.create(TWO.replace("memory: 1GiB, cpus: 1}\n  cmp", "memory: 2GiB, cpus: 1}\n  cmp"))
    assert lab.domain("ctl")["memory"] == 2 * 2**20
    assert (lab.domain("ctl")["uuid"], lab.domain("ctl")["boots"]) == (before[0], 2)
    assert lab.domain("cmp")["boots"] == other == 1


def test_roles_change_without_a_reboot(lab: Lab) -> None:
    lab.create()
    inventory = lab.create(TWO.replace("[compute]", "[compute, network]"))
    assert inventory.nodes[1].roles == {"compute", "network"}
    assert lab.domain("cmp")["boots"] == 1


def test_a_disk_cannot_change(lab: Lab) -> None:
    lab.create()
    with pytest.raises(InputError, match="disk of 'cmp'"):
        lab.create(TWO.replace("[compute],", "[compute], disk: 40GiB,"))


def test_networks_that_do_not_run_after_a_start_of_the_machine(lab: Lab) -> None:
    inventory = lab.create()
    for network in lab.world.state["networks"].values():
        network["active"] = False
    for domain in lab.world.domains.values():
        domain["state"] = "shut off"
    lab.world.state["pools"]["default"] = False
    assert lab.create() == inventory
    assert {domain["state"] for domain in lab.world.domains.values()} == {"running"}


def test_a_network_that_libvirt_has_for_others_is_not_taken(lab: Lab) -> None:
    other = {"cidr": "172.30.0.0/24", "active": False, "forward": ""}
    lab.world.state["networks"]["other"] = other
    assert str(lab.create().api) == "172.30.1.0/24"
    assert lab.provider().destroy()
    text = TWO + "networks: {api: {cidr: 172.30.0.0/25}}\n"
    with pytest.raises(InputError, match="libvirt network other"):
        lab.create(text)


def test_a_snapshot_is_of_all_nodes_at_one_moment(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.create()
    order: list[str] = []
    call = lab.world.call

    def spy(command: list[str], *more: object) -> vagrant_fakes.Answer:
        order.extend(word for word in command if word in {"suspend", "resume"})
        order.extend("save" for word in command if word == "snapshot-create-as")
        return call(command, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(lab.world, "call", spy)
    lab.provider().snapshot("one")
    assert order == ["suspend", "suspend", "save", "save", "resume", "resume"]
    found = lab.provider().nodes()
    assert found is not None and found.snapshots == ("one",)
    with pytest.raises(InputError, match="'one'"):
        lab.provider().snapshot("one")


def test_a_restored_node_has_the_names_of_today_and_is_off_if_it_was(lab: Lab) -> None:
    lab.create()
    provider = lab.provider()
    provider.power("cmp", "off")
    provider.snapshot("one")
    provider.power("cmp", "on")
    today = lab.domain("ctl")["description"]
    lab.domain("ctl")["hosts"] = "changed"
    provider.snapshot("two")
    provider.restore("one")
    assert lab.domain("cmp")["state"] == "shut off"
    assert lab.domain("ctl")["state"] == "running"
    assert lab.domain("ctl")["description"] == today
    assert "cmp" in str(lab.domain("ctl")["hosts"])
    assert provider.nodes().snapshots == ("one", "two")  # type: ignore[union-attr]


def test_a_snapshot_that_a_node_lacks(lab: Lab) -> None:
    lab.create()
    lab.provider().snapshot("one")
    lab.create(TWO + "  new: {roles: [compute]}\n")
    found = lab.provider().nodes()
    assert found is not None and found.snapshots == ()
    with pytest.raises(InputError, match="of new"):
        lab.provider().restore("one")
    states = {domain["state"] for domain in lab.world.domains.values()}
    assert states == {"running"}, "nothing was changed"


def test_a_snapshot_that_fails_leaves_no_node_paused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.create()
    answer = (1, "", "error: internal error: no room\n")
    monkeypatch.setattr(lab.world, "_snapshot_create_as", lambda *_: answer)
    with pytest.raises(HostError, match="snapshot-create-as"):
        lab.provider().snapshot("one")
    assert {domain["state"] for domain in lab.world.domains.values()} == {"running"}


def test_the_machines_that_are_told_to_vagrant(lab: Lab) -> None:
    lab.create(TWO.replace("[compute],", "[compute], disk: 40GiB,"))
    told = json.loads((lab.state / "vagrant" / "nodes.json").read_text())
    assert told["emulated"] is True and told["prefix"] == "devenv-lab_"
    ctl, cmp = told["nodes"]
    assert (ctl["disk"], cmp["disk"]) == (None, 40)
    assert (cmp["memory"], cmp["cpus"], cmp["prepared"]) == (1024, 1, True)
    assert cmp["networks"][0] == {
        "name": "devenv-lab-api",
        "address": "172.30.0.12",
        "netmask": "255.255.255.0",
        "mac": cmp["networks"][0]["mac"],
    }
    cards = {card["mac"] for node in told["nodes"] for card in node["networks"]}
    assert len(cards) == 4


def test_environments_are_found_without_their_folders(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vagrant_existing, "which", lambda name: name == "virsh" or None)
    assert vagrant_existing.existing() == []
    lab.create()
    lab.provider().power("cmp", "off")
    lab.world.state["networks"]["devenv-left-over-api"] = {
        "cidr": "172.30.9.0/24", "active": False, "forward": "",
    }  # fmt: skip
    one, other = vagrant_existing.existing()
    assert (one.name, one.nodes, one.state) == ("lab", ("ctl", "cmp"), "1 of 2 running")
    assert one.provider == "vagrant" and one.topology.endswith("topology.yaml") and one.created
    assert (other.name, other.state) == ("left-over", "leftover")


def _checks(lab: Lab, text: str = TWO) -> dict[str, Check]:
    return {check.name: check for check in (p() for p in lab.provider().check(lab.topology(text)))}


def test_what_is_there_is_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from devenv.host import packages

    monkeypatch.setattr(packages, "which", lambda name: name)
    checks = _checks(lab)
    assert checks["vagrant-libvirt"].found == "vagrant-libvirt (0.11.2, system)"
    assert checks["libvirtd"].ok and checks["networks"].ok
    assert not checks["kvm"].fatal


def test_a_machine_without_vagrant(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from devenv.host import packages

    monkeypatch.setattr(packages, "which", lambda name: None)
    monkeypatch.setattr(vagrant_checks, "which", lambda name: None)
    checks = _checks(lab)
    failed = {name for name, check in checks.items() if check.fatal and not check.ok}
    assert failed >= {"commands", "libvirt and qemu", "vagrant-libvirt", "libvirtd"}
    assert all(checks[name].remedy for name in failed)
    assert "vagrant" in checks["commands"].remedy


def test_a_plugin_that_vagrant_does_not_load(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    said = (1, "", "Vagrant failed to initialize at a very early stage")
    monkeypatch.setattr(lab.world, "_vagrant", lambda *_: said)
    check = _checks(lab)["vagrant-libvirt"]
    assert not check.ok and "early stage" in check.found and "vagrant-libvirt" in check.remedy


def test_a_daemon_that_does_not_answer(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    said = (1, "", "error: failed to connect to the hypervisor\nerror: No such file or directory")
    monkeypatch.setattr(lab.world, "_list", lambda *_: said)
    monkeypatch.setattr(lab.world, "_version", lambda *_: said)
    check = _checks(lab)["libvirtd"]
    assert not check.ok and "libvirtd" in check.remedy
    assert lab.provider().nodes() is None, "nothing is known to be there"
    project = lab.state / "vagrant"
    project.mkdir()
    (project / "nodes.json").write_text('{"provider": "libvirt"}')
    with pytest.raises(HostError, match="virsh list"):
        lab.provider().nodes()
    assert not _checks(lab)["libvirtd"].ok, "doctor has words for it all the same"
