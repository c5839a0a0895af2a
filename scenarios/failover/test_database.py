"""The member of Galera that the virtual IP leads to is killed, frozen or switched off."""

from __future__ import annotations

from devenv.testing.trial import Budget

#: Seconds. A member whose process is gone is known to be at once, by its closed connections.
KILLED = Budget(api=3.0)
#: Seconds. One that is silent is given up after evs.suspect_timeout (1.5 s), then the others agree.
SILENT = Budget(api=5.0)


def test_the_database_primary_is_killed(trial, faults):
    trial(faults.kill("mariadb", on="db-primary"), budget=KILLED)


def test_the_database_primary_is_frozen(trial, faults):
    trial(faults.pause("mariadb", on="db-primary"), budget=SILENT)


def test_the_node_of_the_database_primary_is_switched_off(trial, faults):
    trial(faults.power_off("db-primary"), budget=SILENT, hold=15)
