"""Copies of the records of jobs, so that they outlive the node that the jobs ran on.

A job's container is the record that it was done. Where several nodes have the job's role the others
keep a copy in a file: when the first of them is lost, nothing is done twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from devenv.nodes.connection import Connection, File

if TYPE_CHECKING:
    from devenv.deploy.actual import NodeState
    from devenv.services.render import Rendered

_FOLDER = "/etc/kolla/jobs"


@dataclass(frozen=True)
class Record:
    """That a job was done.

    :param hash: of what it was made from.
    :param said: the last line of its log.
    """

    hash: str
    said: str = ""


def read(connection: Connection) -> dict[str, Record]:
    """The copies on a node by the job's name; a torn one is none."""
    script = (
        f'for f in {_FOLDER}/*; do [ -f "$f" ] || continue; '
        'printf "%s " "${f##*/}"; cat "$f"; echo; done'
    )
    found = {}
    for line in connection.run(script).stdout.decode(errors="replace").splitlines():
        name, _, text = line.partition(" ")
        try:
            found[name] = Record(**json.loads(text))
        except (ValueError, TypeError):
            continue
    return found


def _write(connection: Connection, records: dict[str, Record]) -> None:
    """Keep copies of `records` on a node."""
    connection.put(
        File(f"{_FOLDER}/{name}", json.dumps(asdict(record)).encode() + b"\n")
        for name, record in records.items()
    )


def share(
    rendered: Iterable[Rendered],
    states: Mapping[str, NodeState],
    connections: Mapping[str, Connection],
) -> None:
    """Give every node that has a job's role, and did not run it itself, a copy of its record."""
    missing: dict[str, dict[str, Record]] = {}
    for item in rendered:
        if not item.spec.is_job or item.spec.each:
            continue
        peers = [
            name
            for name, connection in connections.items()
            if item.name not in states[name].containers
            and not connection.node.roles.isdisjoint(item.spec.roles)
        ]
        record = _of(item, states, connections) if peers else None
        for name in peers:
            if record and states[name].records.get(item.name) != record:
                missing.setdefault(name, {})[item.name] = record
    for name, found in missing.items():
        _write(connections[name], found)


def _of(
    item: Rendered, states: Mapping[str, NodeState], connections: Mapping[str, Connection]
) -> Record | None:
    """The record of a job that was done, wherever it is."""
    for name, state in states.items():
        done = state.containers.get(item.name)
        if done and done.exit_code == 0 and done.hash == item.hash:
            log = connections[name].docker.api.logs(done.id, tail=1)
            return Record(item.hash, log.decode(errors="replace").strip())
        if item.name in state.records and state.records[item.name].hash == item.hash:
            return state.records[item.name]
    return None
