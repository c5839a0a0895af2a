"""What runs on a node now, from the labels of its containers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from devenv.core import labels
from devenv.deploy import records
from devenv.deploy.records import Record
from devenv.nodes.connection import Connection

_EXITED = re.compile(r"Exited \((\d+)\)")


@dataclass(frozen=True)
class Actual:
    """A container of ours on a node.

    :param state: the engine's word: created, running, paused, restarting, exited, dead.
    :param exit_code: of an exited container, else None.
    """

    id: str
    name: str
    service: str
    image: str
    hash: str
    is_job: bool
    state: str
    status: str
    exit_code: int | None


@dataclass(frozen=True)
class NodeState:
    """The containers of ours on a node, by name, and the names of its volumes.

    :param records: copies of the records of jobs that were done on other nodes, by name.
    """

    containers: dict[str, Actual]
    volumes: frozenset[str]
    records: Mapping[str, Record] = field(default_factory=dict)

    def hashes(self, job: str) -> set[str]:
        """With which hashes a job was done, as far as this node knows."""
        found = {self.records[job].hash} if job in self.records else set()
        container = self.containers.get(job)
        return found | {container.hash} if container and container.exit_code == 0 else found


def inspect_all(connections: Mapping[str, Connection], environment: str) -> dict[str, NodeState]:
    """The state of all nodes, asked at the same time."""
    with ThreadPoolExecutor(max_workers=max(len(connections), 1)) as pool:
        states = pool.map(lambda one: inspect(one, environment), connections.values())
        return dict(zip(connections, states, strict=True))


def inspect(connection: Connection, environment: str) -> NodeState:
    """Ask a node what it has of `environment`; three calls."""
    api = connection.docker.api
    label = f"{labels.ENVIRONMENT}={environment}"
    containers = {}
    for entry in api.containers(all=True, filters={"label": [label, labels.SERVICE]}):
        found = entry["Labels"]
        status = str(entry["Status"])
        exited = _EXITED.match(status)
        name = str(entry["Names"][0]).lstrip("/")
        containers[name] = Actual(
            id=entry["Id"],
            name=name,
            service=found[labels.SERVICE],
            image=entry["Image"],
            hash=found.get(labels.HASH, ""),
            is_job=found.get(labels.KIND) == "job",
            state=entry["State"],
            status=status,
            exit_code=int(exited.group(1)) if exited else None,
        )
    volumes = api.volumes(filters={"label": label})["Volumes"] or []
    names = frozenset(str(volume["Name"]) for volume in volumes)
    return NodeState(containers, names, records.read(connection))
