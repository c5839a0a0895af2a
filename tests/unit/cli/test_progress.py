"""People see what runs, what ended and what failed, on a terminal and in a log."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from rich.console import Console

from devenv.cli.progress import LineProgress, LiveProgress, progress
from devenv.core.events import Event
from devenv.report.timeline import CRITICAL


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Lines:
    """A line view whose time stands still until it is told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.stream = io.StringIO()
        self.view = LineProgress(self.stream, clock=self.clock)

    def at(self, seconds: float, *events: Event) -> None:
        self.clock.now = 100.0 + seconds
        self.view._tick()
        for event in events:
            self.view(event)

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def lines() -> Iterator[Lines]:
    made = Lines()
    yield made
    made.view.close()


def start(step: str, why: str = "", node: str | None = "aio", type: str = "job") -> Event:
    return Event("start", step, node, type, why)


def done(step: str, seconds: float = 1, node: str | None = "aio", type: str = "job") -> Event:
    return Event("done", step, node, type, "", seconds)


def test_a_line_a_step_with_aligned_columns(lines: Lines) -> None:
    lines.at(1, start("keystone_db_sync"), start("nova", type="container", node="cmp10"))
    lines.at(2.5, done("nova", 0.04, node="cmp10", type="container"))
    lines.at(7, done("keystone_db_sync", 2.12))
    lines.at(75, done("images", 61, node=None, type="step"))
    lines.at(3605, done("nova", node="cmp10", type="ready"))
    shown = [line for line in lines.lines if "running" not in line]
    assert shown[0] == "  0:02  cmp10  nova container            done in 0.0 s"
    assert shown[1] == "  0:07  aio    keystone_db_sync          done in 2.1 s"
    assert shown[2] == "  1:15         images                    done in 61.0 s"
    assert shown[3] == " 60:05  cmp10  nova ready                done in 1.0 s"


def test_a_failure_stands_out_with_the_first_line_of_its_error(lines: Lines) -> None:
    lines.at(0, start("nova_api"))
    lines.at(1, Event("failed", "nova_api", "aio", "job", "aio: it died\n    log\n  -> do", 1))
    (line,) = lines.lines
    assert line.endswith("nova_api                  FAILED after 1.0 s: it died")


def test_only_a_slow_step_says_that_it_runs_and_why_and_only_once(lines: Lines) -> None:
    lines.at(0, start("quick", "because"), start("slow", "its config changed"))
    lines.at(1.9, done("quick"))
    assert len(lines.lines) == 1
    for second in (2.1, 2.3, 5, 9):
        lines.at(second)
    lines.at(10, done("slow", 10))
    quick, running, ended = lines.lines
    assert "quick" in quick and "done" in quick
    assert running.startswith("  0:02  aio") and running.endswith("running: its config changed")
    assert ended.endswith("done in 10.0 s")


def test_a_slow_step_is_announced_without_any_other_event() -> None:
    clock, stream = Clock(), io.StringIO()
    view = LineProgress(stream, clock=clock)
    view(start("slow", "why"))
    clock.now += 3
    limit = time.monotonic() + 5
    while not stream.getvalue() and time.monotonic() < limit:
        time.sleep(0.01)
    view.close()
    assert "slow" in stream.getvalue() and "running: why" in stream.getvalue()


def test_the_same_name_on_two_nodes_is_two_steps(lines: Lines) -> None:
    lines.at(0, start("sync", "why", "ctl1"), start("sync", "why", "ctl2"))
    lines.at(1, done("sync", node="ctl1"))
    lines.at(3)
    assert [line.split()[1] for line in lines.lines if "running" in line] == ["ctl2"]


def test_notes_are_shown_with_all_their_lines(lines: Lines) -> None:
    lines.at(0, Event("note", "environment", text="first\nsecond\n"))
    assert lines.lines == ["  0:00        environment               first", "        second"]


def test_the_critical_path_is_for_the_journal(lines: Lines) -> None:
    lines.at(0, Event("note", "up", type=CRITICAL, text="aio/mariadb > aio/keystone"))
    lines.view.close()
    assert lines.lines == []


def test_skipped_steps_give_one_line_a_reason_and_are_counted(lines: Lines) -> None:
    lines.at(0, done("a"), Event("failed", "b", "aio", "job", "no", 1))
    for number in range(50):
        lines.view(Event("skipped", f"s{number}", "aio", "job", "b on aio failed"))
    lines.view(Event("skipped", "other", "aio", "job", "not supported"))
    lines.view.close()
    assert [line.split("skipped: ")[1] for line in lines.lines if "skipped: " in line] == [
        "b on aio failed",
        "not supported",
    ]
    assert lines.lines[-1] == "  0:00  1 done, 1 failed, 51 skipped"


def test_nothing_happened_nothing_is_said(lines: Lines) -> None:
    lines.view.close()
    assert lines.lines == []


class Tape(io.StringIO):
    """A terminal that remembers how often it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str, /) -> int:
        self.writes.append(text)
        return super().write(text)


def live(tape: Tape, height: int = 20) -> LiveProgress:
    return LiveProgress(Console(file=tape, force_terminal=True, width=70, height=height))


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")


def screen(text: str) -> list[str]:
    """The lines that a person sees in the end, if none is wider than the terminal."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]", text):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row == len(lines))
        elif part.endswith("A") and part[0] == "\x1b":
            row -= int(part[2:-1])
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part[0] != "\x1b":
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines if line.strip()]


def until(words: str, tape: Tape) -> list[str]:
    """The screen as soon as it shows `words`."""
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        shown = screen("".join(tape.writes[:]))
        if words in "\n".join(shown):
            return shown
        time.sleep(0.02)
    raise AssertionError(f"never shown: {words}")


def test_live_shows_nodes_with_their_running_steps_and_counts() -> None:
    tape = Tape()
    view = live(tape)
    view(start("glance_db_sync", "[no] schema", "ctl2"))
    view(start("keystone", "config changed", "ctl1", "container"))
    view(start("nova-api", "recipe changed", None, "image"))
    view(done("images", node=None))
    assert until("1 done, 3 running", tape) == [
        "  0:00        images                    done in 1.0 s",
        "  0:00  1 done, 3 running",
        "├── nova-api image  0 s  recipe changed",
        "├── ctl1",
        "│   └── keystone container  0 s  config changed",
        "└── ctl2",
        "    └── glance_db_sync  0 s  [no] schema",
    ]
    view(Event("failed", "keystone", "ctl1", "container", "it died", 1))
    assert until("1 failed", tape) == [
        "  0:00        images                    done in 1.0 s",
        "  0:00  ctl1  keystone container        FAILED after 1.0 s: it died",
        "  0:00  1 done, 1 failed, 2 running",
        "├── nova-api image  0 s  recipe changed",
        "└── ctl2",
        "    └── glance_db_sync  0 s  [no] schema",
    ]
    view.close()


def test_live_never_shows_an_old_tree_below_new_lines() -> None:
    tape = Tape()
    view = live(tape)
    view(start("sync"))
    until("0 done, 1 running", tape)
    view(done("sync"))
    until("done in", tape)
    view.close()
    for end in range(len(tape.writes)):
        shown = "\n".join(screen("".join(tape.writes[: end + 1])))
        assert not ("done in" in shown and "1 running" in shown)
    assert shown.count("done in") == 1


def test_live_leaves_room_for_what_the_terminal_echoes_at_ctrl_c() -> None:
    tape = Tape()
    view = live(tape)
    view(start("sync", "a reason that is far too long for one line " * 3))
    assert max(map(len, until("1 running", tape))) == 70 - 3
    view.close()


def test_live_draws_at_most_five_times_a_second() -> None:
    tape = Tape()
    view = live(tape)
    begin = time.monotonic()
    for number in range(200):
        view(start(f"s{number}"))
        view(done(f"s{number}"))
        time.sleep(0.005)
    seconds = time.monotonic() - begin
    drawn = sum("running" in text for text in tape.writes)
    assert 1 <= drawn <= seconds * 5 + 1
    view.close()
    shown = re.findall(r"s\d+ +done in", plain(tape.getvalue()))
    assert [int(line.split()[0][1:]) for line in shown] == list(range(200))


def test_live_close_takes_a_tall_tree_away_and_shows_the_cursor_again() -> None:
    tape = Tape()
    view = live(tape, height=10)
    for number in range(40):
        view(start(f"s{number}"))
    until("40 running", tape)
    before = len(tape.writes)
    view.close()
    end = "".join(tape.writes[before:])
    assert "s39" not in end, "what does not fit on the screen cannot be taken away again"
    assert end.rindex("\x1b[?25h") > end.rfind("\x1b[?25l")
    assert screen("".join(tape.writes)) == ["  0:00  0 done"]
    assert not view._thread.is_alive()


CHILD = """
import sys, time
from devenv.cli.progress import progress
from devenv.core.events import Events
with progress() as view:
    events = Events(view)
    with events.step("keystone_db_sync", node="aio", type="job", why="no schema"):
        time.sleep(0.5)
        print("data")
print("rich" in sys.modules)
"""


def run_on_terminal(**environ: str) -> str:
    """What a child with a terminal for stderr writes to it, then its stdout."""
    master, slave = pty.openpty()
    hidden = ("CI", "NO_COLOR", "TERM", "COLUMNS", "LINES")
    env = {key: value for key, value in os.environ.items() if key not in hidden}
    env |= {"PYTHONPATH": os.pathsep.join(sys.path), **environ}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, stderr=slave, env=env, text=True
    ) as child:
        os.close(slave)
        shown = b""
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:  # EIO: the child has closed the terminal
                break
            if not data:
                break
            shown += data
        os.close(master)
        assert child.stdout is not None
        return shown.decode() + "\n--stdout--\n" + child.stdout.read()


def test_a_terminal_gets_the_live_view() -> None:
    shown, stdout = run_on_terminal(TERM="xterm").split("\n--stdout--\n")
    assert stdout == "data\nTrue\n"
    assert "└── keystone_db_sync  0 s  no schema" in plain(shown)
    assert screen(shown) == [
        "  0:00  aio   keystone_db_sync          done in 0.5 s",
        "  0:00  1 done",
    ]
    assert "data" not in shown


@pytest.mark.parametrize(
    "environ",
    [
        {"TERM": "xterm", "NO_COLOR": "1"},
        {"TERM": "xterm", "CI": "true"},
        {"TERM": "dumb"},
        {},
    ],
    ids=str,
)
def test_lines_where_a_terminal_is_not_wanted_and_no_rich(environ: dict[str, str]) -> None:
    shown, stdout = run_on_terminal(**environ).split("\n--stdout--\n")
    assert stdout == "data\nFalse\n"
    assert "\x1b" not in shown
    assert [line.split()[1:] for line in shown.splitlines()] == [
        ["aio", "keystone_db_sync", "done", "in", "0.5", "s"],
        ["1", "done"],
    ]


def test_what_is_no_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    with progress(stream) as view:
        view(done("a"))
    assert isinstance(view, LineProgress)
    assert stream.getvalue().splitlines()[-1] == "  0:00  1 done"
