"""What has to be healed is known after a kill, here or from the nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fault_fakes import FakeSite, World

from devenv.core import paths
from devenv.faults import helper, records
from devenv.faults.containers import KillContainer
from devenv.faults.disk import FillDisk
from devenv.faults.fault import Fault
from devenv.faults.inject import heal, heal_all, start
from devenv.faults.network import Delay, Lossy, Partition
from devenv.faults.power import Reset

ALL: list[Fault] = [
    KillContainer("ctl1", "haproxy"),
    Reset("ctl1", boot="a 1"),
    Partition("ctl1", ("ctl2",), witnesses=("ctl2",)),
    Partition("ctl1", witnesses=("ctl2", "ctl3")),
    Lossy("ctl1", 5),
    Delay("ctl1", 5, before=1.5),
    FillDisk("ctl1", file="/f"),
]


def folder() -> Path:
    return paths.environment("lab") / "faults"


def test_a_record_is_read_as_it_was_written() -> None:
    for fault in ALL:
        records.write("lab", records.record(fault))
    found = records.outstanding("lab")
    assert [one.fault for one in found] == ALL
    assert all(one.held and one.pid == os.getpid() and not one.problem for one in found)
    assert {path.suffix for path in folder().iterdir()} == {".json"}


def test_a_record_of_a_process_id_that_came_again_is_not_held() -> None:
    one = records.record(ALL[0])
    assert one.held
    assert not records.Record(one.id, one.fault, one.pid, one.started - 1).held
    assert not records.record(ALL[0], kept=True).held


def test_a_dead_process_that_nobody_waited_for_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{process.pid}").exists()
        assert records.start_of(process.pid) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"id": "x", "fau',
        "[]",
        '{"id": "x"}',
        '{"id": "x", "fault": {"verb": "melt", "node": "n"}}',
    ],
)
def test_a_broken_record_is_told_and_does_no_harm(text: str, site: FakeSite, world: World) -> None:
    start([KillContainer("ctl1", "haproxy")], site, kept=True)
    (folder() / "bad.json").write_text(text)
    bad, good = records.outstanding("lab")
    assert bad.fault is None
    assert f"{folder()}/bad.json cannot be read" in bad.describe()
    assert heal_all([bad, good], site) == ["healed `kill haproxy on ctl1`"]
    assert any("`devenv fault heal bad` forgets it" in said for said in world.said)
    assert heal(bad, site).startswith("forgot bad: ")
    assert records.outstanding("lab") == []


def test_without_an_environment_there_is_nothing_and_nothing_is_made() -> None:
    assert records.outstanding("lab") == []
    assert not (paths.home() / "environments" / "lab").exists()


def test_nodes_tell_of_faults_whose_records_are_lost(world: World, site: FakeSite) -> None:
    for fault in (Partition("ctl2"), FillDisk("ctl3", id="d15c"), Lossy("cmp1", 7)):
        start([fault], site)
    for path in folder().iterdir():
        path.unlink()
    connections: Any = site.connections
    found = records.all_records("lab", connections)
    assert sorted(one.describe() for one in found) == [
        "fill the disk of ctl3",
        "lose 7 % on the link of cmp1",
        "partition ctl2 from all",
    ]
    assert not any(one.held for one in found)
    assert len(heal_all(found, world.site())) == 3
    assert records.found_on_nodes(connections) == []
    assert not any(one.tables or one.files for one in world.machines.values())


def test_what_is_known_from_both_is_told_once(site: FakeSite) -> None:
    start([Partition("ctl2", id="ab")], site)
    connections: Any = site.connections
    (one,) = records.all_records("lab", connections)
    assert one.held
    (folder() / "ab.json").write_text("torn")
    (one,) = records.all_records("lab", connections)
    assert one.describe() == "partition ctl2 from all"


def test_a_mark_of_another_version_does_not_hide_the_others(site: FakeSite) -> None:
    start([Partition("ctl2", id="ab")], site)
    box = site.connections["ctl2"].machine.containers["devenv-fault-ab"]
    mark = {**json.loads(box.labels[helper.LABEL]), "verb": "melt", "id": "other"}
    other = type(box)(box.machine, "devenv-fault-other", {helper.LABEL: json.dumps(mark)})
    box.machine.containers["devenv-fault-other"] = other
    connections: Any = site.connections
    found = {one.id: one for one in records.found_on_nodes(connections)}
    assert found["ab"].fault
    assert "unknown to this version" in found["other"].problem


def test_a_node_that_does_not_answer_tells_nothing(world: World, site: FakeSite) -> None:
    start([Partition("ctl2", id="ab")], site)
    world.machines["ctl3"].power = "exited"
    connections: Any = site.connections
    assert [one.id for one in records.found_on_nodes(connections)] == ["ab"]
