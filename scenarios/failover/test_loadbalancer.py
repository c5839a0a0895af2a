"""The holder of the virtual IP loses haproxy or keepalived: the address moves, little is missed."""

from __future__ import annotations

from devenv.testing.trial import Budget

#: Seconds. keepalived asks haproxy once a second and hands the address over at the first failure.
#: Usually one to two; the limits in these files leave room for a busy machine.
HAPROXY = Budget(api=4.0)
#: Seconds. Silence of three adverts of 0.3 s; the dead one's address goes on answering meanwhile.
KEEPALIVED = Budget(api=2.0)


def test_haproxy_of_the_vip_holder_is_killed(trial, faults):
    trial(faults.kill("haproxy", on="vip-holder"), budget=HAPROXY)


def test_keepalived_of_the_vip_holder_is_killed(trial, faults):
    trial(faults.kill("keepalived", on="vip-holder"), budget=KEEPALIVED)
