"""What runs on a node now, from the labels of its containers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from devenv.core import labels
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
    """The containers of ours on a node, by name, and the names of its volumes."""

    containers: dict[str, Actual]
    volumes: frozenset[str]


def inspect(connection: Connection, environment: str) -> NodeState:
    """Ask a node's engine what it has of `environment`; two calls."""
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
    return NodeState(containers, frozenset(str(volume["Name"]) for volume in volumes))
