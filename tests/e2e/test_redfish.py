"""Power by Redfish, proved by what libvirt and the machine itself say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redfish_lab import Machine, redfish_lab
from redfish_service import PASSWORD, USER

from devenv.core.errors import NodeError
from devenv.core.wait import NotYet, wait_until
from devenv.providers.baremetal_power import PASSWORD_VARIABLE, Power, power_for
from devenv.topology.machines import Host

Switch = Callable[..., Power]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Emulated, with a real Redfish service."""
    with redfish_lab(tmp_path_factory.mktemp("redfish")) as made:
        yield made


@pytest.fixture
def switch(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Switch:
    """Make its power switch."""
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)

    def make(**changes: Any) -> Power:
        values: dict[str, Any] = {
            "address": machine.address,
            "username": USER,
            "system": machine.system,
            "verify": str(machine.certificate),
        }
        made = power_for(
            "n1", Host.model_validate({"address": "192.0.2.1", "redfish": values | changes})
        )
        assert made
        return made

    return make


def booted(machine: Machine, times: int) -> None:
    """Wait until its system has started so often."""

    def started() -> None:
        if (seen := machine.boots()) != times:
            raise NotYet(f"{seen} boots")

    wait_until(started, what=f"{times} boots", timeout=60)


def test_off_on_and_reset_take_effect(machine: Machine, switch: Switch) -> None:
    power = switch()
    power.act("off")
    assert (machine.domain_state(), power.state()) == ("shut off", "off")
    before = machine.boots()

    power.act("on")
    assert (machine.domain_state(), power.state()) == ("running", "on")
    booted(machine, before + 1)
    first = machine.domain_id()
    power.act("on")
    assert machine.domain_id() == first, "what is on is left alone"

    power.act("reset")
    assert (machine.domain_state(), power.state()) == ("running", "on")
    assert machine.domain_id() != first
    booted(machine, before + 2)

    power.act("off")
    assert (machine.domain_state(), power.state()) == ("shut off", "off")
    power.act("off")
    power.act("reset")
    assert machine.domain_state() == "running"
    booted(machine, before + 3)


def test_a_wrong_password_changes_nothing(machine: Machine, switch: Switch, tmp_path: Path) -> None:
    switch().act("on")
    before = machine.domain_id()
    (tmp_path / "password").write_text("not-the-password\n")
    with pytest.raises(NodeError, match=f"refuses {USER}") as caught:
        switch(password_file=str(tmp_path / "password")).act("off")
    assert "not-the-password" not in str(caught.value)
    assert machine.domain_id() == before


def test_a_certificate_that_nobody_signed_is_refused(machine: Machine, switch: Switch) -> None:
    switch().act("on")
    before = machine.domain_id()
    with pytest.raises(NodeError, match=r"not trusted: .*self.signed"):
        switch(verify=True).act("off")
    assert machine.domain_id() == before


def test_nobody_checks_the_certificate_if_told_so(machine: Machine, switch: Switch) -> None:
    switch(verify=False).act("off")
    assert machine.domain_state() == "shut off"


def test_a_system_that_is_none(machine: Machine, switch: Switch) -> None:
    with pytest.raises(NodeError, match="has no system") as caught:
        switch(system="/redfish/v1/Systems/none").act("off")
    assert machine.system in str(caught.value)
