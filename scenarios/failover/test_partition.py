"""The network divides the controllers: the larger part goes on, the smaller one keeps quiet."""

from __future__ import annotations

from devenv.testing.trial import Budget

#: Seconds. Nobody says that a node was cut off: its peers notice the silence, each kind in its own
#: time, and a client that talked to it waits for its own timeout first. RabbitMQ gives a silent
#: member up after net_ticktime (5 s, give or take a quarter).
SILENT = Budget(api=6.0, others={"messages": 9.0})


def test_a_minority_is_cut_off(trial, faults):
    trial(faults.partition("minority"), budget=SILENT, hold=12)


def test_the_vip_holder_is_cut_off(trial, faults):
    trial(faults.partition("vip-holder"), budget=SILENT, hold=12)


def test_the_database_primary_loses_its_peers(trial, faults):
    """Its port is open and haproxy can reach it, but it is in no cluster: only a question tells."""
    trial(faults.partition("db-primary", away_from="control"), budget=SILENT, hold=12)
