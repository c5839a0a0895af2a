"""The member of Galera that the virtual IP leads to is killed, frozen or switched off."""

from __future__ import annotations

from devenv.testing.trial import Budget

#: Seconds. Galera gives a silent member up after evs.suspect_timeout (1 s), then the others agree
#: on a view without it (another second); until then no commit is acknowledged. haproxy asks it
#: meanwhile. Much less would take a busy member for a dead one.
KILLED = Budget(api=5.0)
#: Seconds. The same, and connections that nobody closes: each waits for its own timeout.
SILENT = Budget(api=6.0)


def test_the_database_primary_is_killed(trial, faults):
    trial(faults.kill("mariadb", on="db-primary"), budget=KILLED)


def test_the_database_primary_is_frozen(trial, faults):
    trial(faults.pause("mariadb", on="db-primary"), budget=SILENT)


def test_the_node_of_the_database_primary_is_switched_off(trial, faults):
    trial(faults.power_off("db-primary"), budget=SILENT, hold=15)
