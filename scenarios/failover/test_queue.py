"""A node of RabbitMQ is killed while servers are booted: no message and no cast is lost."""

from __future__ import annotations

from devenv.testing.trial import Budget

#: Seconds. A quorum queue whose leader was there elects another; clients go to the next server.
KILLED = Budget(api=5.0)


def test_a_node_of_the_queue_is_killed_while_servers_boot(trial, faults):
    trial(faults.kill("rabbitmq", on="one"), budget=KILLED, hold=40, boots=True)
