"""A node of RabbitMQ is killed while servers are booted: no message and no cast is lost."""

from __future__ import annotations

from devenv.testing.trial import Budget

#: Seconds. The queue's leader is on the node that clients ask first; the others elect another one.
KILLED = Budget(api=5.0)


def test_a_node_of_the_queue_is_killed_while_servers_boot(trial, faults, inventory):
    first = inventory.with_role("control")[0].name
    trial(faults.kill("rabbitmq", on=first), budget=KILLED, hold=40, boots=True)
