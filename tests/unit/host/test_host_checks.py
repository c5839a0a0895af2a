from __future__ import annotations

import pytest

from devenv.core.errors import HostError
from devenv.host.checks import Check, Fix, raise_for
from devenv.host.doctor import diagnose


def test_raise_for_lists_every_fatal_failure_with_its_remedy() -> None:
    checks = [
        Check("memory", False, "1.0 GiB available, 4.0 GiB needed", "free some"),
        Check("disk", True, "plenty", "never shown"),
        Check("kvm", False, "none", fatal=False),
        Check("docker", False, "not installed", "apt-get install docker.io"),
    ]
    with pytest.raises(HostError) as caught:
        raise_for(checks)
    text = str(caught.value)
    assert "(memory, docker)" in text
    assert "1.0 GiB available" in text and "free some" in text
    assert "not installed" in text and "apt-get install docker.io" in text
    assert "kvm" not in text and "never shown" not in text
    assert caught.value.remedy is None  # nothing here that doctor could mend
    assert caught.value.exit_code == 2


def test_raise_for_points_at_the_doctor_when_it_can_help() -> None:
    with pytest.raises(HostError, match="devenv doctor --fix"):
        raise_for([Check("docker", False, "-", fix=Fix("install it", lambda: None))])


def test_raise_for_passes_when_only_optional_checks_failed() -> None:
    raise_for([Check("kvm", False, "none", fatal=False), Check("disk", True, "plenty")])


class Machine:
    """An engine that has to be installed, then started."""

    def __init__(self, broken: bool = False) -> None:
        self.state = 0
        self.broken = broken
        self.log: list[str] = []

    def probe(self) -> Check:
        says = ["installing it", "starting it", ""][self.state]
        fix = Fix(says, self.mend) if says else None
        return Check("docker", fix is None, f"state {self.state}", "by hand", fix)

    def mend(self) -> None:
        self.log.append("mended")
        if self.broken:
            raise HostError("apt failed", detail="E: no such package")
        self.state += 1


def test_without_fix_nothing_is_changed() -> None:
    machine = Machine()
    (check,) = diagnose([machine.probe], False, machine.log.append)
    assert not check.ok
    assert machine.log == []


def test_with_fix_each_step_is_said_first_and_the_probe_runs_again() -> None:
    machine = Machine()
    (check,) = diagnose([machine.probe], True, machine.log.append)
    assert check.ok and check.found == "state 2"
    assert machine.log == ["installing it", "mended", "starting it", "mended"]


def test_a_fix_that_fails_is_told_and_the_others_still_run() -> None:
    machine = Machine(broken=True)
    later = Machine()
    first, second = diagnose([machine.probe, later.probe], True, machine.log.append)
    assert not first.ok and "mending it failed: apt failed" in first.found
    assert first.remedy == "by hand"
    assert second.ok
    assert machine.log[0] == "installing it" and "E: no such package" in machine.log[2]
    assert later.log == ["mended", "mended"]


def test_a_fix_without_effect_is_applied_once() -> None:
    applied: list[int] = []
    check = Check("docker", False, "-", fix=Fix("try", lambda: applied.append(1)))
    assert diagnose([lambda: check], True, lambda _: None) == [check]
    assert applied == [1]


def test_a_later_probe_sees_what_an_earlier_fix_did() -> None:
    machine = Machine()
    later = diagnose(
        [machine.probe, lambda: Check("images", machine.state == 2, "")], True, lambda _: None
    )[1]
    assert later.ok
