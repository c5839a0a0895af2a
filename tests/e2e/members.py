"""What the members of an environment's clusters say, each asked by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from devenv.core.errors import DevenvError
from devenv.core.wait import NotYet, wait_until
from devenv.environment import Environment
from devenv.testing.containers import Containers

CLIENT = ("mariadb", "--defaults-file=/var/lib/mysql-client.cnf", "--batch", "--skip-column-names")
#: What Galera says of a member that is where it should be, but for the size of its cluster.
IN_SYNC = {"wsrep_cluster_status": "Primary", "wsrep_local_state_comment": "Synced"}
#: Container and database of OVN, by what its control socket is called.
OVN = {"ovnnb_db": ("ovn_nb_db", "OVN_Northbound"), "ovnsb_db": ("ovn_sb_db", "OVN_Southbound")}


@contextmanager
def containers(environment: Environment) -> Iterator[Containers]:
    """The containers on all nodes, which have to answer."""
    with environment.connections() as connections:
        yield Containers(environment.inventory(), connections, environment.events)


def started(environment: Environment) -> dict[str, str]:
    """When each container, jobs too, was started last, by ``NODE/NAME``."""
    with containers(environment) as found:
        return {id: one.started for id, one in found.all().items()}


def wait_whole(environment: Environment, timeout: float = 120) -> None:
    """Wait until :func:`divided` has nothing to say: healing ends before clusters are in sync."""

    def whole() -> None:
        try:
            wrong = divided(environment)
        except DevenvError as error:
            raise NotYet(str(error)) from error
        if wrong:
            raise NotYet("; ".join(wrong))

    wait_until(whole, what="the clusters to be whole", timeout=timeout, longest=2)


def divided(environment: Environment) -> list[str]:
    """Why there is not exactly one cluster of each kind with all control nodes in it.

    :raises NodeError: when a member cannot be asked.
    """
    control = {node.name: node.address for node in environment.inventory().with_role("control")}
    with containers(environment) as ask:
        return [*_galera(ask, control), *_rabbitmq(ask, control), *_ovn(ask, control)]


def _galera(ask: Containers, control: Mapping[str, str]) -> Iterator[str]:
    wanted = {**IN_SYNC, "wsrep_cluster_size": str(len(control))}
    names = ", ".join(f"'{name}'" for name in (*wanted, "wsrep_cluster_state_uuid"))
    query = f"SHOW GLOBAL STATUS WHERE Variable_name IN ({names})"
    uuids = set()
    for node in control:
        said = dict(
            line.split("\t", 1)
            for line in ask.exec("mariadb", [*CLIENT, "--execute", query], node).splitlines()
        )
        uuids.add(said.pop("wsrep_cluster_state_uuid", ""))
        # Every member sees as many as there are: no two clusters can say so of themselves.
        if said != wanted:
            yield f"mariadb on {node}: {said}"
    if len(uuids) != 1:
        yield f"mariadb: the states of {len(uuids)} clusters: {uuids}"


def _rabbitmq(ask: Containers, control: Mapping[str, str]) -> Iterator[str]:
    wanted = {f"rabbit@{address}" for address in control.values()}
    node, address = next(iter(control.items()))
    command = ["rabbitmqctl", "--quiet", "--longnames", "--node", f"rabbit@{address}",
               "cluster_status", "--formatter", "json"]  # fmt: skip
    said = json.loads(ask.exec("rabbitmq", command, node))
    for key in ("disk_nodes", "running_nodes"):
        if set(said[key]) != wanted:
            yield f"rabbitmq on {node}: {key}: {', '.join(said[key])}"
    if said["partitions"]:
        yield f"rabbitmq on {node}: partitions: {said['partitions']}"


def _ovn(ask: Containers, control: Mapping[str, str]) -> Iterator[str]:
    for socket, (container, database) in OVN.items():
        command = ["ovn-appctl", f"--target=/run/ovn/{socket}.ctl", "cluster/status", database]
        ids = set()
        for node in control:
            said = ask.exec(container, command, node)
            ids.update(re.findall(r"^Cluster ID: \S+ \((\S+)\)$", said, re.MULTILINE))
            # ovsdb-server(1): a line a server, with its address.
            servers = re.findall(r"^ +\w+ \(\w+ at tcp:([0-9.]+):\d+\)", said, re.MULTILINE)
            if sorted(servers) != sorted(control.values()) or "Status: cluster member" not in said:
                yield f"{container} on {node}: {said}"
        if len(ids) != 1:
            yield f"{database}: {len(ids)} clusters: {ids}"
