"""VirtualBox as its manual shows it: the words that are sent, and what is read in the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network

import pytest

from devenv.core.errors import HostError
from devenv.providers import vagrant_tools
from devenv.providers.vagrant_hypervisor import API, EXTERNAL, Facts
from devenv.providers.vagrant_tools import Done
from devenv.providers.vagrant_virtualbox import VirtualBox

FACTS = Facts(
    "lab", "ctl", 1, ("control",), "aio", "192.168.56.11/24", "192.168.57.11/24", "eth2", "",
    2**29, 1, 0, "ssh-ed25519 AAAA", {"ctl": "192.168.56.11"}, "somebody", "2026-01-01T00:00:00Z",
)  # fmt: skip
HOST_ONLY = """\
Name:            vboxnet0
DHCP:            Disabled
IPAddress:       192.168.56.1
NetworkMask:     255.255.255.0
Status:          Up

Name:            vboxnet1
DHCP:            Disabled
IPAddress:       0.0.0.0
NetworkMask:     0.0.0.0
Status:          Down
"""


class Manage:
    """VBoxManage with one machine of ours, and one of somebody else's."""

    def __init__(self) -> None:
        self.state = "running"
        self.extra: dict[tuple[str, str], str] = {}
        self.snapshots: list[tuple[str, str]] = []
        self.gone = False
        self.calls: list[list[str]] = []

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: str = "",
        timeout: float = 0,
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        assert list(command[:2]) == ["VBoxManage", "-q"]
        verb, *rest = command[2:]
        self.calls.append([verb, *rest])
        answer = getattr(self, f"_{verb}")(*rest)
        return answer if isinstance(answer, Done) else Done(0, answer or "", "")

    def _list(self, *what: str) -> str:
        if what == ("hostonlyifs",):
            return HOST_ONLY
        ours = "" if self.gone else '"devenv-lab_ctl" {0c0e}\n'
        mine = "" if self.gone else "NIC 2: Attachment: Host-only Interface 'vboxnet0'\n"
        if what == ("-l", "vms"):
            return mine + "NIC 2: Attachment: Host-only Interface 'vboxnet7'\n"
        return '"other" {1f1f}\n' + ours

    def _showvminfo(self, name: str, *_: str) -> str:
        return f'name="{name}"\nVMState="{self.state}"\nhostonlyadapter2="vboxnet0"\n'

    def _getextradata(self, where: str, key: str) -> str:
        value = self.extra.get((where, key))
        return f"Value: {value}\n" if value else "No value set!\n"

    def _setextradata(self, where: str, key: str, value: str = "") -> None:
        self.extra[where, key] = value

    def _controlvm(self, name: str, what: str) -> None:
        self.state = {
            "poweroff": "poweroff", "pause": "paused", "resume": "running", "reset": self.state,
        }[what]  # fmt: skip

    def _startvm(self, *_: str) -> None:
        self.state = "running"

    def _snapshot(self, name: str, verb: str, *rest: str) -> Done | str:
        if verb == "take":
            self.snapshots.append((rest[0], rest[1].partition("=")[2]))
        elif verb == "restore":
            self.state = "saved"
        elif not self.snapshots:
            return Done(1, "This machine does not have any snapshots\n", "")
        lines = []
        for depth, (snapshot, said) in enumerate(self.snapshots):
            suffix = "-1" * depth
            lines.append(f'SnapshotName{suffix}="{snapshot}"\nSnapshotDescription{suffix}="{said}"')
        return "\n".join(lines) + "\n"

    def _unregistervm(self, name: str, *_: str) -> None:
        assert self.state == "poweroff"
        self.gone = True

    def _hostonlyif(self, verb: str, name: str) -> None:
        assert (verb, name) == ("remove", "vboxnet0")


@pytest.fixture
def manage(monkeypatch: pytest.MonkeyPatch) -> Manage:
    """In place of the program."""
    made = Manage()
    monkeypatch.setattr(vagrant_tools, "run", made.run)
    return made


def test_a_machine_is_what_was_written_on_it(manage: Manage) -> None:
    virtualbox = VirtualBox("lab")
    (machine,) = virtualbox.machines()
    assert (machine.node, machine.state, machine.facts) == ("ctl", "running", None)
    virtualbox.describe("ctl", FACTS)
    (machine,) = virtualbox.machines()
    assert machine.facts == FACTS and not machine.emulated
    assert virtualbox.networks() == {
        API: IPv4Network("192.168.56.0/24"),
        EXTERNAL: IPv4Network("192.168.57.0/24"),
    }
    assert VirtualBox("other-lab").machines() == []


def test_power_is_the_plug(manage: Manage) -> None:
    virtualbox = VirtualBox("lab")
    for act, state in (
        ("pause", "paused"),
        ("resume", "running"),
        ("kill", "off"),
        ("start", "running"),
    ):
        virtualbox.plug("ctl", act)  # type: ignore[arg-type]
        assert virtualbox.machines()[0].state == state
    assert ["controlvm", "devenv-lab_ctl", "poweroff"] in manage.calls
    assert not any("acpipowerbutton" in call for call in manage.calls)


def test_snapshots_in_their_order_and_whether_the_machine_was_on(manage: Manage) -> None:
    virtualbox = VirtualBox("lab")
    assert virtualbox.snapshots("ctl") == {}
    virtualbox.save("ctl", "one")
    virtualbox.plug("ctl", "kill")
    virtualbox.save("ctl", "two")
    assert list(virtualbox.snapshots("ctl").items()) == [("one", True), ("two", False)]
    virtualbox.revert("ctl", "one")
    assert manage.state == "paused", "it goes on with the others"
    virtualbox.revert("ctl", "two")
    assert virtualbox.machines()[0].state == "off"


def test_networks_of_others(manage: Manage) -> None:
    virtualbox = VirtualBox("lab")
    assert [net for net, _ in virtualbox.taken()] == [IPv4Network("192.168.56.0/24")]
    api, external = (list(virtualbox.candidates(kind)) for kind in (API, EXTERNAL))
    assert not set(api) & set(external) and len(api) == len(external) == 4


def test_removing_takes_the_network_that_nobody_uses_any_more(manage: Manage) -> None:
    virtualbox = VirtualBox("lab")
    assert virtualbox.remove("ctl") == ["machine devenv-lab_ctl", "network vboxnet0"]
    assert virtualbox.remove("ctl") == []


def test_the_key_is_kept_until_the_end(manage: Manage) -> None:
    virtualbox = VirtualBox("lab")
    assert virtualbox.kept_key() is None and virtualbox.remove_rest() == []
    virtualbox.keep_key("private\n")
    assert virtualbox.kept_key() == "private\n"
    assert VirtualBox("lab-2").kept_key() is None
    assert virtualbox.remove_rest() == ["key of lab"]
    assert virtualbox.kept_key() is None


def test_what_it_refuses_is_said(manage: Manage, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Done(1, "", "VBoxManage: error: Could not find a registered machine\n")
    monkeypatch.setattr(manage, "_controlvm", lambda *_: said)
    with pytest.raises(HostError, match="VBoxManage controlvm") as caught:
        VirtualBox("lab").plug("ctl", "reset")
    assert "registered machine" in str(caught.value)
