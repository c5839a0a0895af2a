"""The network divides the controllers: the larger part goes on, the smaller one keeps quiet."""

from __future__ import annotations

from devenv.testing.trial import Budget

SILENT = Budget(api=5.0)


def test_a_minority_is_cut_off(trial, faults):
    trial(faults.partition("minority"), budget=SILENT, hold=15)


def test_the_vip_holder_is_cut_off(trial, faults):
    trial(faults.partition("vip-holder"), budget=SILENT, hold=15)
