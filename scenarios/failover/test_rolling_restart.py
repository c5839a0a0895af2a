"""Every container of every controller is restarted, node after node, as an upgrade does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from devenv.testing.trial import Budget

#: Seconds. Each restart is announced, so clients only have to go elsewhere. But uwsgi accepts
#: connections before it has imported its application: some requests wait for that until haproxy's
#: next check, and on two processors the import takes seconds. The guest's way out goes through the
#: ovs-vswitchd of a controller: a new one of those forwards nothing for about three seconds.
ROLLING = Budget(api=5.0, guest=4.0, others={"tokens": 12.0, "servers": 12.0})
#: Containers of one node at a time.
AT_A_TIME = 3


def test_every_control_container_is_restarted(trial, containers, inventory):
    names = {}
    for id, one in containers.all().items():
        node, _, name = id.partition("/")
        if one.running and node in {n.name for n in inventory.with_role("control")}:
            names.setdefault(node, []).append(name)
    with trial.running(budget=ROLLING) as load:
        for node, mine in names.items():
            words = f"restart all containers of {node}"
            with trial.change(words), ThreadPoolExecutor(AT_A_TIME) as pool:
                list(pool.map(lambda name, node=node: containers.restart(name, node), mine))
            load.wait_quiet(3, 120)
