"""Power by Redfish, against sushy-tools' emulator with its fake driver."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from redfish_service import PASSWORD, USER, certificate, path_of, redfish_service

from devenv.core.errors import (
    DevenvError,
    HostError,
    InputError,
    NodeError,
    Unsupported,
    WaitTimeout,
)
from devenv.providers import baremetal_power
from devenv.providers.baremetal_power import Power, power_for
from devenv.providers.base import PowerAction
from devenv.topology.machines import Host


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The controller's certificate and key."""
    return certificate(tmp_path_factory.mktemp("tls"))


class Lab:
    """One Redfish service, and what it was asked."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.asked: list[tuple[str, str]] = []
        self.address = ""

    def serve(self, systems: dict[str, str], **options: Any) -> None:
        """Start it."""
        self.address = self._stack.enter_context(
            redfish_service(
                self._folder, systems, changed=lambda *what: self.asked.append(what), **options
            )
        )

    def switch(self, **redfish: Any) -> Power:
        """The switch of node n1."""
        (self._folder / "password").write_text(f"{PASSWORD}\n")
        values = {
            "address": self.address,
            "username": USER,
            "password_file": str(self._folder / "password"),
        }
        host = Host.model_validate({"address": "192.0.2.1", "redfish": {**values, **redfish}})
        switch = power_for("n1", host)
        assert switch
        return switch


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Not started yet."""
    with ExitStack() as stack:
        yield Lab(tmp_path, stack)


@pytest.mark.parametrize(
    ("first", "action", "asked", "after"),
    [
        ("On", "off", ["ForceOff"], "off"),
        ("Off", "on", ["On"], "on"),
        ("On", "reset", ["ForceRestart"], "on"),
        ("Off", "reset", ["On"], "on"),
        ("On", "on", [], "on"),
        ("Off", "off", [], "off"),
    ],
)
def test_what_is_asked_of_the_controller(
    lab: Lab, first: str, action: PowerAction, asked: list[str], after: str
) -> None:
    lab.serve({"one": first})
    switch = lab.switch()
    switch.act(action)
    assert lab.asked == [("one", each) for each in asked]
    assert switch.state() == after


@pytest.mark.parametrize(("action", "after"), [("off", "off"), ("reset", "on")])
def test_it_returns_when_the_state_is_seen(lab: Lab, action: PowerAction, after: str) -> None:
    lab.serve({"one": "On"}, delay=2)
    switch = lab.switch()
    switch.act(action)
    assert switch.state() == after


def test_a_controller_that_says_yes_and_does_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baremetal_power, "LIMIT", 0.3)
    lab.serve({"one": "On"}, delay=3600)
    with pytest.raises(WaitTimeout, match=r"power to be off.*last seen: on") as caught:
        lab.switch().act("off")
    assert caught.value.node == "n1"


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_there_is_no_pause(lab: Lab, action: PowerAction) -> None:
    with pytest.raises(Unsupported, match=action):
        lab.switch(address="https://127.0.0.1:1").act(action)


@pytest.mark.parametrize(
    ("reported", "state"),
    [("On", "on"), ("PoweringOff", "on"), ("PoweringOn", "off"), ("Paused", "on")],
)
def test_states_in_between(lab: Lab, reported: str, state: str) -> None:
    lab.serve(
        {"one": "On"},
        rewrite=lambda body: body.replace('"PowerState": "On"', f'"PowerState": "{reported}"'),
    )
    assert lab.switch().state() == state


def test_a_system_that_reports_no_state(lab: Lab) -> None:
    lab.serve({"one": "On"}, rewrite=lambda body: body.replace('"PowerState": "On",', ""))
    with pytest.raises(NodeError, match="reports no power state"):
        lab.switch().state()


def test_a_system_is_named_where_there_are_several(lab: Lab) -> None:
    lab.serve({"one": "On", "two": "On"})
    lab.switch(system=path_of("two")).act("off")
    assert lab.asked == [("two", "ForceOff")]


@pytest.mark.parametrize("system", [None, path_of("three")])
def test_a_system_that_is_none_names_those_that_are(lab: Lab, system: str | None) -> None:
    lab.serve({"one": "On", "two": "On"})
    with pytest.raises(NodeError) as caught:
        lab.switch(system=system).act("off")
    assert path_of("one") in str(caught.value) and path_of("two") in str(caught.value)
    assert (system or "2 systems") in caught.value.message
    assert "redfish.system" in str(caught.value.remedy)
    assert lab.asked == []


def test_the_only_system_is_not_taken_for_another(lab: Lab) -> None:
    lab.serve({"one": "On"})
    with pytest.raises(NodeError, match="has no system"):
        lab.switch(system=path_of("two")).act("off")
    assert lab.asked == []


def test_an_action_that_is_not_allowed_is_not_asked_for(lab: Lab) -> None:
    lab.serve({"one": "On"}, rewrite=lambda body: body.replace('"ForceRestart",', ""))
    with pytest.raises(NodeError, match=r"ForceRestart; it allows .*ForceOff.*On"):
        lab.switch().act("reset")
    assert lab.asked == []


def test_an_action_that_is_refused(lab: Lab) -> None:
    lab.serve({"one": "On"}, options={"SUSHY_EMULATOR_DISABLE_POWER_OFF": True})
    with pytest.raises(NodeError, match="Can not request power off") as caught:
        lab.switch().act("off")
    assert caught.value.node == "n1"


def test_a_wrong_password_is_said_and_not_shown(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    lab.serve({"one": "On"})
    (tmp_path / "wrong").write_text("not-the-password\n")
    caplog.set_level(1)
    with pytest.raises(NodeError, match=f"refuses {USER}: HTTP 401") as caught:
        lab.switch(password_file=str(tmp_path / "wrong")).act("off")
    assert caught.value.node == "n1" and "password" in str(caught.value.remedy)
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert caplog.text and "not-the-password" not in shown
    assert "not-the-password" not in "".join(capfd.readouterr())
    assert lab.asked == []


def test_a_certificate_that_nobody_signed(lab: Lab, tls: tuple[Path, Path]) -> None:
    lab.serve({"one": "On"}, tls=tls)
    with pytest.raises(NodeError, match=r"not trusted: .*self.signed") as caught:
        lab.switch().act("off")
    assert "redfish.verify" in str(caught.value.remedy)
    assert lab.asked == []


@pytest.mark.parametrize("verify", ["file", False])
def test_a_certificate_that_is_given_or_not_checked(
    lab: Lab, tls: tuple[Path, Path], verify: str | bool
) -> None:
    lab.serve({"one": "On"}, tls=tls)
    switch = lab.switch(verify=str(tls[0]) if verify else False)
    switch.act("off")
    assert switch.state() == "off"


def test_a_certificate_that_is_anothers(lab: Lab, tls: tuple[Path, Path], tmp_path: Path) -> None:
    lab.serve({"one": "On"}, tls=tls)
    with pytest.raises(NodeError, match="not trusted"):
        lab.switch(verify=str(certificate(tmp_path)[0])).state()


def test_nobody_answers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NodeError, match=r"does not answer: .*refused") as caught:
        lab.switch(address=f"https://127.0.0.1:{port}").state()
    assert f"https://127.0.0.1:{port}/redfish/v1/" in str(caught.value.remedy)


def test_an_address_that_is_no_url(lab: Lab) -> None:
    with pytest.raises(NodeError, match=r"bmc1\.example\.org") as caught:
        lab.switch(address="bmc1.example.org").state()
    assert "https://" in str(caught.value.remedy)


def test_a_password_in_the_address_is_not_shown(lab: Lab) -> None:
    with pytest.raises(InputError) as caught:
        lab.switch(address="https://admin:s3same@127.0.0.1:1").state()
    assert "s3same" not in str(caught.value)


def test_something_else_answers(lab: Lab) -> None:
    lab.serve({"one": "On"}, rewrite=lambda body: "<html>hello</html>")
    with pytest.raises(NodeError, match="is not Redfish"):
        lab.switch().state()


def test_the_password_of_the_environment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.serve({"one": "On"})
    monkeypatch.setenv(baremetal_power.PASSWORD_VARIABLE, PASSWORD)
    assert lab.switch(password_file=None).state() == "on"


@pytest.mark.parametrize("make", [lambda file: file.write_text("\nx"), lambda file: None])
def test_no_password(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object]
) -> None:
    monkeypatch.delenv(baremetal_power.PASSWORD_VARIABLE, raising=False)
    file = tmp_path / "mine"
    make(file)
    with pytest.raises(InputError, match="no password for admin") as caught:
        lab.switch(password_file=str(file) if file.exists() else None).state()
    assert caught.value.remedy


@pytest.mark.parametrize(("kind", "library"), [("redfish", "sushy"), ("ipmi", "pyghmi")])
def test_a_library_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, kind: str, library: str
) -> None:
    monkeypatch.setattr(baremetal_power, "find_spec", {"other": object()}.get)
    bmc = {"address": "https://192.0.2.2", "username": "admin"}
    with pytest.raises(HostError, match=library) as caught:
        power_for("n1", Host.model_validate({"address": "192.0.2.1", kind: bmc}))
    assert "openstack-devenv[baremetal]" in str(caught.value.remedy)


def test_a_host_without_a_switch() -> None:
    assert power_for("n1", Host(address=IPv4Address("192.0.2.1"))) is None


def test_errors_are_ours(lab: Lab) -> None:
    lab.serve({"one": "On"}, rewrite=lambda body: body.replace("Systems", "Chairs"))
    with pytest.raises(DevenvError):
        lab.switch().state()
