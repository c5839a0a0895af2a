"""Errors are words on stderr, and the exit code says what kind it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from cli_fakes import FakeEnvironment, Run

from devenv.cli import main
from devenv.cli.options import Settings
from devenv.core.errors import DeployError
from devenv.providers import discover

Fail = Callable[[BaseException], None]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Makes ``devenv list`` raise."""

    def arm(error: BaseException) -> None:
        def raise_it() -> None:
            raise error

        monkeypatch.setattr(discover, "existing", raise_it)

    return arm


def test_an_error_is_shown_whole_with_its_notes(run: Run, fail: Fail) -> None:
    error = DeployError("it died", node="ctl1", detail="last\nwords", remedy="look at it")
    error.add_note("another failed too: no room")
    error.exit_code = 4
    fail(error)
    result = run("list")
    assert result.exit_code == 4
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "error: ctl1: it died",
        "    last",
        "    words",
        "  -> look at it",
        "note: another failed too: no room",
    ]


def test_what_nobody_foresaw_is_one_line(run: Run, fail: Fail) -> None:
    fail(KeyError("left\nright"))
    result = run("list")
    assert result.exit_code == 2
    assert result.stderr == "unexpected: KeyError: 'left\\nright'; run with --debug to see where\n"


@pytest.mark.parametrize("words", [["--debug", "list"], ["list", "--debug"]])
@pytest.mark.parametrize("error", [DeployError("it died"), ValueError("odd")])
def test_debug_shows_where(words: list[str], error: Exception, run: Run, fail: Fail) -> None:
    fail(error)
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("Traceback")
    assert "in raise_it" in result.stderr
    assert "run with --debug" not in result.stderr


def test_no_secret_is_in_an_error(
    run: Run, fake: type[FakeEnvironment], monkeypatch: pytest.MonkeyPatch
) -> None:
    def status(self: FakeEnvironment) -> None:
        self.redact.add(["open sesame"])
        raise DeployError("the password open sesame was refused", detail="open sesame")

    monkeypatch.setattr(FakeEnvironment, "status", status)
    for words in (["status"], ["status", "--debug"]):
        result = run(*words)
        assert "the password *** was refused" in result.stderr
        assert "open sesame" not in result.stderr


def test_no_engine_is_an_error(run: Run) -> None:
    for words in ("list", "status", "up", "down", "gc", "images list"):
        result = run(*words.split())
        assert result.exit_code == 2, words
        assert "no Docker Engine answers at DOCKER_HOST" in result.stderr
        assert result.stdout == ""


def test_interruption_ends_with_130(run: Run, fail: Fail, monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(main, "leave", codes.append)
    fail(KeyboardInterrupt())
    run("list")
    assert codes == [130]


HANGS = """
import sys, threading, time, types
import click
from devenv.cli import main, session

session._GRACE = GRACE

@click.command()
def hang():
    threading.Thread(target=time.sleep, args=[600]).start()
    with session.interruptible("`devenv up` goes on from here"):
        try:
            print("ready", flush=True)
            time.sleep(600)
        finally:
            if TIDY:
                print("tidying up", flush=True)
                while True:
                    try:
                        time.sleep(600)
                    except KeyboardInterrupt:
                        pass

module = types.ModuleType("devenv.cli.hang")
module.hang = hang
sys.modules[module.__name__] = module
main.COMMANDS["hang"] = "hang:hang"
sys.argv = ["devenv", "hang"]
main.main()
"""


@contextmanager
def hanging(*, tidy: bool = False, grace: float = 600) -> Iterator[subprocess.Popen[str]]:
    """A command with a thread that takes ten minutes, and perhaps tidying up that never ends.

    :param grace: seconds that it may tidy up.
    """
    code = HANGS.replace("TIDY", str(tidy)).replace("= GRACE", f"= {grace}")
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            if tidy:
                assert process.stdout.readline() == "tidying up\n"
            yield process
        finally:
            process.kill()


def test_ctrl_c_says_how_to_go_on_and_does_not_wait_for_threads() -> None:
    with hanging() as process:
        _, words = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: `devenv up` goes on from here" in words
    assert "Traceback" not in words


def test_a_second_ctrl_c_ends_at_once() -> None:
    with hanging(tidy=True) as process:
        process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=60)
    assert process.returncode == 130
    assert words == "interrupted: `devenv up` goes on from here\n"


def test_after_ctrl_c_tidying_up_has_its_limit() -> None:
    with hanging(tidy=True, grace=0.1) as process:
        _, words = process.communicate(timeout=60)
    assert process.returncode == 130
    assert words == "interrupted: `devenv up` goes on from here\n"


def test_commands_never_see_each_others_options(run: Run, fail: Fail) -> None:
    fail(ValueError("odd"))
    assert "Traceback" in run("list", "--debug").stderr
    assert "Traceback" not in run("list").stderr
    assert Settings().name == "default"


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """As in ``devenv export topology-schema | head -1``."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "devenv", "export", "topology-schema"],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr


def test_click_names_its_own_errors(run: Run) -> None:
    result = run("logs")
    assert result.exit_code == click.UsageError.exit_code == 2
    assert "Missing argument 'SERVICE'" in result.stderr
