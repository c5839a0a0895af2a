"""The last `up` is found in the journal, and its steps are put together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sample
from hypothesis import given
from hypothesis import strategies as st

from devenv.core.events import Event, Events
from devenv.core.redact import Redactor
from devenv.report.journal import Journal
from devenv.report.timeline import Deploy, Ran, last_up


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def row(at: float, kind: str, step: str, type: str = "job", pid: int = 1, text: str = ""
        ) -> dict[str, Any]:  # fmt: skip
    return {"at": at, "kind": kind, "type": type, "step": step, "node": "n", "text": text,
            "seconds": None, "pid": pid}  # fmt: skip


def steps(path: Path, *rows: dict[str, Any]) -> list[tuple[str, str, float, float]]:
    """What the last deploy in these rows is."""
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    deploy = last_up(path)
    return [(one.step, one.outcome, one.begin, one.end) for one in deploy.steps] if deploy else []


def test_the_journal_that_events_write_is_read(path: Path) -> None:
    events = Events(Journal(path, Redactor()))
    with events.step("ctl1", node="ctl1", type="node", why="it is missing"):
        events.note("ctl1", "words", node="ctl1", type="node")
        with pytest.raises(RuntimeError), events.step("api", node="ctl1", type="container"):
            raise RuntimeError("exit 1")
    events.emit(Event("skipped", "guest", "ctl1", "job", "api on ctl1 failed"))
    deploy = last_up(path)
    assert deploy is not None
    told = [(one.step, one.node, one.type, one.why, one.outcome, one.error) for one in deploy.steps]
    assert told == [
        ("ctl1", "ctl1", "node", "it is missing", "done", ""),
        ("api", "ctl1", "container", "", "failed", "exit 1"),
        ("guest", "ctl1", "job", "api on ctl1 failed", "skipped", ""),
    ]
    assert [one.step for one in deploy.ran] == ["ctl1", "api"]


def test_the_last_deploy_is_meant_not_what_came_after(path: Path) -> None:
    found = steps(
        path,
        row(1, "start", "old", pid=1), row(2, "done", "old", pid=1),
        row(10, "start", "a", pid=2), row(11, "start", "b", "ready", pid=2),
        row(12, "done", "b", "ready", pid=2), row(14, "done", "a", pid=2),
        row(20, "start", "kill haproxy", "fault", pid=3),
        row(21, "start", "nova_api", "container", pid=4),
    )  # fmt: skip
    assert found == [("a", "done", 0, 4), ("b", "done", 1, 2)]


def test_processes_that_write_at_once_are_kept_apart(path: Path) -> None:
    found = steps(
        path,
        row(1, "start", "a", pid=1), row(2, "start", "a", pid=2),
        row(3, "done", "a", pid=1), row(5, "done", "a", pid=2),
    )  # fmt: skip
    assert found == [("a", "done", 0, 3)]


@pytest.mark.parametrize("again", [2.0, 500.0])
def test_a_process_id_that_is_used_again_is_another_process(path: Path, again: float) -> None:
    killed = row(1, "start", "a")
    found = steps(path, killed, row(again, "start", "a"), row(again + 1, "done", "a"))
    assert found == [("a", "done", 0, 1)]


def test_silence_while_a_step_runs_is_no_end(path: Path) -> None:
    found = steps(path, row(1, "start", "a"), row(500, "done", "a"), row(501, "start", "b"))
    assert found == [("a", "done", 0, 499), ("b", "unfinished", 500, 500)]


def test_a_killed_deploy_has_steps_that_never_ended(path: Path) -> None:
    found = steps(
        path, row(1, "start", "a"), row(2, "start", "b"), row(4, "done", "b")
    )  # fmt: skip
    assert found == [("a", "unfinished", 0, 3), ("b", "done", 1, 3)]


def test_torn_lines_cost_only_themselves(path: Path) -> None:
    good = json.dumps(row(1, "start", "a")) + "\n" + json.dumps(row(2, "done", "a")) + "\n"
    path.write_text('{"at": 0.5, "ki\n[]\n7\n' + good + '{"at": "x"}\n')
    deploy = last_up(path)
    assert deploy is not None
    assert [one.step for one in deploy.steps] == ["a"]


def test_without_a_deploy_there_is_none(path: Path) -> None:
    assert last_up(path) is None
    assert steps(path, row(1, "start", "debian", "image"), row(2, "done", "debian", "image")) == []
    assert last_up(path) is None


def test_a_note_tells_the_critical_path(path: Path) -> None:
    note = row(9, "note", "critical path", "critical-path", text="n/a > n/c")
    rows = [row(at, kind, name) for at, name in enumerate("abc") for kind in ("start", "done")]
    rows[-1]["at"] = 8.0
    steps(path, *rows, note)
    deploy = last_up(path)
    assert deploy is not None
    assert [one.step for one in deploy.steps if one.critical] == ["a", "c"]
    assert deploy.critical == 6.0


def test_how_busy_it_was() -> None:
    deploy = Deploy(0, 10, (Ran("a", "", "job", "", 0, 4), Ran("b", "", "job", "", 2, 4),
                            Ran("c", "", "job", "", 8, 10)))  # fmt: skip
    assert deploy.busy == pytest.approx(0.6)
    assert deploy.parallel == pytest.approx(0.8)
    assert deploy.running() == [(0, 1), (2, 2), (4, 0), (8, 1), (10, 0)]


def test_the_sample(path: Path) -> None:
    deploy = last_up(sample.write_journal(path))
    assert deploy is not None
    assert len(deploy.steps) == 200
    assert 0.9 < deploy.busy <= 1


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), min_size=1))
def test_shares_are_shares(times: list[tuple[float, float]]) -> None:
    ran = tuple(Ran(str(i), "", "job", "", at, at + took) for i, (at, took) in enumerate(times))
    deploy = Deploy(0, max(one.end for one in ran), ran)
    assert -1e-9 <= deploy.busy <= 1 + 1e-9
    assert deploy.busy <= deploy.parallel + 1e-9, "equal where no two run at a time"
    assert min(count for _, count in deploy.running()) >= 0
    assert deploy.running()[-1][1] == 0
