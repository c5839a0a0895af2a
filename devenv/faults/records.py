"""What has to be healed, written down before it is broken: a file a fault, and marks on nodes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from devenv.core import paths
from devenv.core.errors import NodeError
from devenv.faults import disk, helper
from devenv.faults.containers import KillContainer, PauseContainer, StopContainer
from devenv.faults.disk import FillDisk
from devenv.faults.fault import Fault
from devenv.faults.network import Delay, Lossy, Partition
from devenv.faults.power import PauseNode, PowerOff, Reset
from devenv.nodes.connection import Connection

VERBS: dict[str, type[Fault]] = {
    kind.verb: kind
    for kind in (
        KillContainer, StopContainer, PauseContainer, PowerOff, Reset, PauseNode,
        Partition, Delay, Lossy, FillDisk,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Record:
    """A fault that was asked for and not healed yet.

    :param fault: None if the record cannot be read; then `problem` says why.
    :param pid: the process that holds it; 0 if it was found on a node and no file tells.
    :param started: when that process started, in the kernel's ticks: ids of processes come again.
    :param kept: it is to stay when its process ends.
    :param since: seconds since the epoch.
    """

    id: str
    fault: Fault | None
    pid: int = 0
    started: int = 0
    kept: bool = False
    since: float = field(default_factory=time.time)
    problem: str = ""

    @property
    def held(self) -> bool:
        """Whether the process that is to heal it still lives."""
        return not self.kept and self.pid != 0 and start_of(self.pid) == self.started

    def describe(self) -> str:
        """The fault in words, or what is wrong with the record."""
        return self.fault.describe() if self.fault else self.problem


def record(fault: Fault, *, kept: bool = False) -> Record:
    """The record of a fault that this process is about to inject."""
    pid = os.getpid()
    return Record(fault.id, fault, pid, start_of(pid), kept)


def start_of(pid: int) -> int:
    """When a process of this machine started (proc(5): field 22 of stat); 0 if there is none.

    A process that ended and that nobody waited for (state Z) does not count.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    words = stat.rpartition(b")")[2].split()
    return 0 if words[0] in (b"Z", b"X") else int(words[19])


def write(environment: str, one: Record) -> None:
    """Write a record, whole or not at all, and onto the disk before this returns."""
    assert one.fault is not None
    path = _path(environment, one.id)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    data = {**asdict(one), "fault": one.fault.to_data()}
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123
        file.write(json.dumps(data) + "\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def remove(environment: str, id: str) -> None:
    """Forget a record, if it is there."""
    _path(environment, id).unlink(missing_ok=True)


def outstanding(environment: str) -> list[Record]:
    """The records that are there, the oldest first; of a broken one its `problem`."""
    folder = paths.home() / "environments" / environment / "faults"
    found = [_read(path) for path in folder.glob("*.json")]
    return sorted(found, key=lambda one: (one.since, one.id))


def found_on_nodes(connections: Mapping[str, Connection]) -> list[Record]:
    """The faults that nodes tell of by themselves, with or without a record here.

    Network faults and full disks leave a mark; containers and power are what they look like.
    """
    with ThreadPoolExecutor(max_workers=max(len(connections), 1)) as pool:
        found = pool.map(_found_on, connections.values())
    return [one for each in found for one in each]


def all_records(environment: str, connections: Mapping[str, Connection]) -> list[Record]:
    """Those that are written here, then those that only nodes tell of."""
    here = outstanding(environment)
    known = {one.id for one in here if one.fault}
    # What cannot be read here may be told by the node.
    there = {one.id: one for one in found_on_nodes(connections) if one.id not in known}
    return [*(one for one in here if one.id not in there), *there.values()]


def _found_on(connection: Connection) -> list[Record]:
    node = connection.node
    try:
        found = [_from_mark(data) for data in helper.faults_on(connection)]
        if node.own_disk:
            files = f"{disk.root(connection)}/{disk.PREFIX}"
            listed = connection.run(f"ls -d {files}*", check=False, timeout=10).stdout.decode()
            found += [_full_disk(node.name, file, files) for file in listed.split()]
    except (NodeError, OSError, ValueError, KeyError):
        return []  # It does not answer: what it would tell cannot be healed either.
    return found


def _full_disk(node: str, file: str, files: str) -> Record:
    id = file.removeprefix(files).removesuffix(disk.PROBE)
    return Record(id, FillDisk(node, id=id, file=f"{files}{id}"), since=0)


def _from_mark(data: dict[str, Any]) -> Record:
    try:
        return Record(str(data["id"]), from_data(data), since=0)
    except ValueError as error:
        return Record(str(data["id"]), None, since=0, problem=f"a node has a fault that is {error}")


def from_data(data: Mapping[str, Any]) -> Fault:
    """The fault that :meth:`Fault.to_data` told of.

    :raises ValueError: when it is none that this version knows.
    """
    facts = {key: _value(value) for key, value in data.items() if key != "verb"}
    try:
        return VERBS[data["verb"]](**facts)
    except (KeyError, TypeError) as error:
        raise ValueError(f"unknown to this version: {error}") from error


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _read(path: Path) -> Record:
    try:
        data = json.loads(path.read_text())
        return Record(**{**data, "fault": from_data(data["fault"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"{path} cannot be read: {error}"
        return Record(path.stem, None, since=0, problem=problem)


def _path(environment: str, id: str) -> Path:
    return paths.environment(environment) / "faults" / f"{id}.json"
