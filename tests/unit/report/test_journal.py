"""The journal holds every event, no secret, and survives being torn."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from devenv.core.events import Event, Events
from devenv.core.redact import Redactor
from devenv.report.journal import Journal, read_journal

EVENTS = [
    Event("start", "keystone_db_sync", "ctl1", "job", "the schema is not there", at=1.5),
    Event("note", "environment", text="two\nlines, ü and \udcff", at=2.0),
    Event("failed", "keystone_db_sync", "ctl1", "job", "exit 1", 2.25, at=3.75),
    Event("skipped", "keystone", "ctl1", "container", "keystone_db_sync on ctl1 failed", at=4.0),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.jsonl"


def test_what_is_read_is_what_happened(path: Path) -> None:
    events = Events(Journal(path, Redactor()))
    for event in EVENTS:
        events.emit(event)
    assert list(read_journal(path)) == EVENTS


def test_a_line_is_an_object_that_others_can_read(path: Path) -> None:
    Journal(path, Redactor())(EVENTS[2])
    (line,) = path.read_text().splitlines()
    assert json.loads(line) == {
        "at": 3.75, "kind": "failed", "type": "job", "step": "keystone_db_sync", "node": "ctl1",
        "text": "exit 1", "seconds": 2.25, "pid": os.getpid(),
    }  # fmt: skip


def test_each_line_is_on_disk_when_the_call_returns(path: Path) -> None:
    journal = Journal(path, Redactor())
    for count, event in enumerate(EVENTS, 1):
        journal(event)
        assert len(path.read_bytes().splitlines()) == count


def test_only_the_owner_may_read_it(path: Path) -> None:
    old = os.umask(0)
    try:
        Journal(path, Redactor())
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    Journal(path, Redactor())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_secret_is_written_not_even_one_that_json_escapes(path: Path) -> None:
    redact = Redactor(['pass"word\\1'])
    journal = Journal(path, redact)
    redact.add(["added-later"])
    journal(Event("note", 'set pass"word\\1', "n", text='"pass"word\\1" and added-later'))
    (event,) = read_journal(path)
    assert (event.step, event.text) == ("set ***", '"***" and ***')
    assert "word" not in path.read_text() and "added" not in path.read_text()


@pytest.mark.parametrize("keep", [1, 20, -3, -1])
def test_a_torn_last_line_costs_only_itself(path: Path, keep: int) -> None:
    journal = Journal(path, Redactor())
    for event in EVENTS[:2]:
        journal(event)
    journal.close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:keep])
    whole = keep == -1  # only the line's end is missing
    assert list(read_journal(path)) == EVENTS[: 1 + whole]

    again = Journal(path, Redactor())
    for event in EVENTS[2:]:
        again(event)
    assert list(read_journal(path)) == EVENTS[: 1 + whole] + EVENTS[2:]


def test_lines_that_are_no_events_are_left_out(path: Path) -> None:
    Journal(path, Redactor())(EVENTS[0])
    good = path.read_bytes()
    path.write_bytes(b'\0\0\0\n[1]\n{"kind": "note"}\n\xff\xfe\n\n"x"\n' + good)
    assert list(read_journal(path)) == EVENTS[:1]


def test_two_journals_on_one_file_do_not_mix_lines(path: Path) -> None:
    text = "x" * 20000

    def write(step: str) -> None:
        journal = Journal(path, Redactor())
        for _ in range(50):
            journal(Event("note", step, text=text))

    threads = [threading.Thread(target=write, args=[step]) for step in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    steps = [event.step for event in read_journal(path) if event.text == text]
    assert sorted(steps) == sorted("abcd" * 50)


def test_a_journal_that_is_not_there_is_an_error(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_journal(path))
