"""Copies of the records of jobs: who is given one, and what is read of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from plan_items import container, job, made

from devenv.deploy import records
from devenv.deploy.actual import NodeState
from devenv.deploy.records import Record
from devenv.nodes.connection import Connection, File
from devenv.services.render import Rendered

FOLDER = "/etc/kolla/jobs"


class FakeNode:
    """A node whose file system is a folder, with an engine that has logs of containers."""

    def __init__(self, root: Path, *roles: str, logs: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.node = SimpleNamespace(roles=frozenset(roles or ("control",)))
        self.docker = SimpleNamespace(api=self)
        self._logs = logs or {}
        self.wrote: list[str] = []

    def run(self, script: str) -> SimpleNamespace:
        done = subprocess.run(
            ["bash", "-c", script.replace(FOLDER, str(self.root / FOLDER[1:]))],
            capture_output=True,
            check=True,
        )
        return SimpleNamespace(stdout=done.stdout)

    def put(self, files: Iterable[File]) -> None:
        for file in files:
            path = self.root / file.path[1:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
            self.wrote.append(path.name)

    def logs(self, id: str, tail: int) -> bytes:
        assert tail == 1
        return self._logs[id].splitlines(keepends=True)[-1].encode()

    def write(self, name: str, text: str) -> None:
        path = self.root / FOLDER[1:] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self) -> dict[str, Record]:
        return records.read(cast(Connection, self))


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path / "node")


# -- read --------------------------------------------------------------------------------


def test_a_node_without_records(node: FakeNode) -> None:
    assert node.read() == {}
    (node.root / FOLDER[1:]).mkdir(parents=True)
    assert node.read() == {}


def test_what_is_written_is_read(node: FakeNode) -> None:
    kept = {
        "api_sync": Record("h1"),
        "cloud_guest": Record("h2", '{"name": "guest", "address": "172.31.0.100"}'),
        "odd": Record("h3", 'ends with a newline\n and "quotes" and ü'),
    }
    records._write(cast(Connection, node), kept)
    assert node.read() == kept


@pytest.mark.parametrize(
    "torn",
    ["\n", "{\n", '{"hash": "h1", "sa\n', "null\n", "[]\n", "5\n", '"h1"\n', "{}\n",
     '{"hash": "h1", "more": 1}\n', '{"said": "x"}\n', "\x00\x00\x00\n"],
)  # fmt: skip
def test_a_torn_record_is_none_and_hides_no_other(node: FakeNode, torn: str) -> None:
    for name in ("a", "c"):
        node.write(name, '{"hash": "h"}\n')
    node.write("b", torn)
    assert node.read() == {"a": Record("h"), "c": Record("h")}


@pytest.mark.parametrize("torn", ["", '{"hash": "h1", "sa'])
def test_a_record_torn_before_its_newline_hides_no_other(node: FakeNode, torn: str) -> None:
    """What a power cut or a full disk leaves: an empty file, or the beginning of one."""
    for name in ("a", "c"):
        node.write(name, '{"hash": "h"}\n')
    node.write("b", torn)
    assert node.read() == {"a": Record("h"), "c": Record("h")}


# -- share -------------------------------------------------------------------------------


class Cloud:
    """Three control nodes and a compute node; jobs ran on the first."""

    def __init__(self, folder: Path, *jobs: Rendered, said: str = "first\nlast\n") -> None:
        self.jobs = jobs
        self.nodes = {
            name: FakeNode(folder / name, role, logs={"id": said})
            for name, role in (
                ("ctl1", "control"), ("ctl2", "control"), ("ctl3", "control"), ("cmp1", "compute"),
            )
        }  # fmt: skip
        done = {item.name: made(item) for item in jobs}
        self.containers = {name: done if name == "ctl1" else {} for name in self.nodes}

    def share(self, *jobs: Rendered) -> dict[str, list[str]]:
        """Give out the records; which were written where."""
        states = {
            name: NodeState(self.containers[name], frozenset(), node.read())
            for name, node in self.nodes.items()
        }
        for node in self.nodes.values():
            node.wrote.clear()
        connections = cast(dict[str, Connection], self.nodes)
        records.share(jobs or self.jobs, states, connections)
        return {name: sorted(node.wrote) for name, node in self.nodes.items() if node.wrote}


def on(node: str, name: str, hash: str = "h") -> Rendered:
    return job(name, node=node, hash=hash)


def test_peers_get_a_copy_once(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path, on("ctl1", "sync"), on("ctl1", "seed"))
    assert cloud.share() == {"ctl2": ["seed", "sync"], "ctl3": ["seed", "sync"]}
    kept = {"seed": Record("h", "last"), "sync": Record("h", "last")}
    assert cloud.nodes["ctl2"].read() == cloud.nodes["ctl3"].read() == kept
    assert cloud.share() == {}


def test_only_who_lacks_it_is_given_a_copy(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path, on("ctl1", "sync"))
    cloud.nodes["ctl2"].write("sync", '{"said": "last", "hash": "h"}\n')
    cloud.nodes["ctl3"].write("sync", '{"hash": "older"}\n')
    assert cloud.share() == {"ctl3": ["sync"]}
    for name in ("ctl2", "ctl3"):
        assert cloud.nodes[name].read() == {"sync": Record("h", "last")}


@pytest.mark.parametrize("changes", [{"exit_code": 1}, {"exit_code": None}, {"hash": "older"}])
def test_a_job_that_is_not_done_leaves_no_record(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    cloud = Cloud(tmp_path, on("ctl1", "sync"))
    cloud.containers["ctl1"] = {"sync": made(on("ctl1", "sync"), **changes)}
    assert cloud.share() == {}


def test_neither_containers_nor_jobs_of_each_node_leave_records(tmp_path: Path) -> None:
    each = job("boot", node="ctl1", volume="data", each=True)
    assert Cloud(tmp_path, container("api", node="ctl1"), each).share() == {}


def test_a_node_that_was_wiped_gets_its_copy_from_a_copy(tmp_path: Path) -> None:
    """The first is wiped, then the second, and so on: the record goes on."""
    cloud = Cloud(tmp_path, on("ctl1", "sync"))
    cloud.share()
    cloud.containers["ctl1"] = {}
    (cloud.nodes["ctl2"].root / FOLDER[1:] / "sync").unlink()
    assert "ctl2" in cloud.share()
    assert cloud.nodes["ctl2"].read() == {"sync": Record("h", "last")}


def test_the_first_node_that_was_wiped_gets_a_copy_too(tmp_path: Path) -> None:
    """With two control nodes it would be lost with the second one."""
    cloud = Cloud(tmp_path, on("ctl1", "sync"))
    cloud.share()
    cloud.containers["ctl1"] = {}
    assert cloud.share() == {"ctl1": ["sync"]}


def test_a_job_that_ran_again_is_recorded_again(tmp_path: Path) -> None:
    """The guest that answers is the new one."""
    cloud = Cloud(tmp_path, on("ctl1", "guest"), said='{"address": "172.31.0.100"}\n')
    cloud.share()
    cloud.nodes["ctl1"]._logs = {"id": '{"address": "172.31.0.101"}\n'}
    cloud.share()
    kept = cloud.nodes["ctl2"].read()["guest"]
    assert json.loads(kept.said) == {"address": "172.31.0.101"}
