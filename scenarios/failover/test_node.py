"""A whole node is lost: the holder of the virtual IP, another controller, a compute node."""

from __future__ import annotations

from devenv.testing.trial import Budget

SILENT = Budget(api=5.0)


def test_the_vip_holder_is_switched_off(trial, faults):
    trial(faults.power_off("vip-holder"), budget=SILENT, hold=15)


def test_a_controller_is_switched_off_and_on(trial, faults):
    trial(faults.power_off("one"), budget=SILENT, hold=15)
