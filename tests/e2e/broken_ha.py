"""Breaks high availability as a careless change would: ``broken_ha.py ENVIRONMENT HOW``.

bootstrap   The first controller's database has the argument that forms a cluster in its container,
            and may use it at every start. All goes well until it starts again: then it is a cluster
            of its own, and says that it is in sync.
port-check  haproxy asks whether the database's port is open, not whether the member is in sync.

The next `devenv up` makes the containers right. After `bootstrap` the first controller's data has
gone its own way, so take it away before: ``devenv ssh ctl1 -- 'docker rm --force mariadb
mariadb_bootstrap && docker volume rm mariadb'``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from devenv.core import labels
from devenv.core.events import Events
from devenv.core.redact import Redactor
from devenv.environment import Environment
from devenv.nodes.connection import Connection, File
from devenv.providers import discover
from devenv.providers.base import Inventory
from devenv.testing.containers import Containers

#: Seconds for a member of Galera to leave in good order.
STOP = 30


def another(config: dict[str, Any]) -> None:
    """Let `up` see that the container is not what it made."""
    config["Labels"][labels.HASH] = "broken"


def bootstrap(
    inventory: Inventory, connections: Mapping[str, Connection], containers: Containers
) -> None:
    """One cluster all the same: the others join the one that has the argument."""
    first, *others = (node.name for node in inventory.with_role("control"))
    state = containers.exec("mariadb", ["cat", "/var/lib/mysql/grastate.dat"], first)
    uuid = next(line.split()[1] for line in state.splitlines() if line.startswith("uuid:"))
    for node in others:
        connections[node].docker.api.stop("mariadb", timeout=STOP)
    _put_bootstrap(connections[first], uuid)
    containers.recreate(containers.inspect("mariadb", first), another)
    for node in others:
        containers.start("mariadb", node)


def _put_bootstrap(connection: Connection, uuid: str) -> None:
    folder = "/etc/kolla/mariadb"
    config = json.loads(connection.read(f"{folder}/config.json") or b"")
    config["command"] += " --wsrep-new-cluster"
    # Copied at each start: Galera would refuse to form a cluster after a crash otherwise.
    config["config_files"].append(
        {
            "source": "/var/lib/kolla/config_files/grastate.dat",
            "dest": "/var/lib/mysql/grastate.dat",
            "owner": "mysql",
            "perm": "0600",
        }
    )
    text = (
        f"# GALERA saved state\nversion: 2.1\nuuid:    {uuid}\nseqno:   -1\nsafe_to_bootstrap: 1\n"
    )
    connection.put(
        [
            File(f"{folder}/config.json", json.dumps(config, indent=2).encode()),
            File(f"{folder}/grastate.dat", text.encode()),
        ]
    )


def port_check(
    inventory: Inventory, connections: Mapping[str, Connection], containers: Containers
) -> None:
    """One after the other, so that the virtual IP has somewhere to go."""
    path = "/etc/kolla/haproxy/haproxy.cfg"
    for node in inventory.with_role("control"):
        connection = connections[node.name]
        text = (connection.read(path) or b"").decode()
        connection.put([File(path, without_question(text).encode())])
        containers.recreate(containers.inspect("haproxy", node.name), another)


def without_question(text: str) -> str:
    """haproxy.cfg in which a database whose port is open is as good as one that is in sync.

    :raises ValueError: when it asks nothing, so that nothing can be taken away.
    """
    head, listen, rest = text.partition("listen mariadb\n")
    database, blank, tail = rest.partition("\n\n")
    kept = [
        line.replace(" port 4569", "")
        for line in database.splitlines()
        if "option httpchk" not in line and "http-check" not in line
    ]
    made = head + listen + "\n".join(kept) + blank + tail
    if "http-check" not in database or " port 4569" not in database:
        raise ValueError("haproxy.cfg does not ask whether the database is in sync")
    return made


HOW = {"bootstrap": bootstrap, "port-check": port_check}


def main(name: str, how: str) -> None:
    """Break the environment `name` in one of the ways of `HOW`."""
    environment = Environment(name, discover.find(name).provider, Events(), Redactor())
    inventory = environment.inventory()
    with environment.connections() as connections:
        HOW[how](inventory, connections, Containers(inventory, connections, environment.events))


if __name__ == "__main__":
    main(*sys.argv[1:])
