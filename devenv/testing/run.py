"""Runs scenarios: what `devenv test` does."""

from __future__ import annotations

import ast
import difflib
import os
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import devenv
from devenv.core import paths
from devenv.core.errors import (
    EXIT_ALL_SKIPPED,
    EXIT_ERROR,
    EXIT_FAILED,
    EXIT_NOTHING_RAN,
    EXIT_OK,
    DevenvError,
    InputError,
)
from devenv.report import junit as xml
from devenv.report import page, results

#: What a shell says of a process that SIGTERM ended: 128 and the signal's number.
_EXIT_TERMINATED = 143
#: Results of a run that goes on, in the environment's state folder; with the process's id.
_UNDER_WAY = "results.{}.part.json"


def folder() -> Path:
    """Where the scenarios are: beside the package in a checkout, in it when installed.

    :raises DevenvError: when they are in neither place.
    """
    package = Path(devenv.__file__).parent
    for found in (package / "_data" / "scenarios", package.parent / "scenarios"):
        if any(found.glob("test_*.py")):
            return found
    raise DevenvError("the scenarios are not there", remedy="install devenv again")


def scenarios() -> dict[str, str]:
    """What there is: a scenario's name and the first line of its docstring, by name.

    ``failover/test_vip_holder.py`` is called ``failover/vip-holder``.
    """
    found = {}
    for name, path in sorted(_files(folder()).items()):
        words = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        found[name] = words.partition("\n")[0]
    return found


def main(
    names: list[str],
    environment: str,
    junit: Path | None,
    pytest_args: list[str],
    *,
    last_failed: bool = False,
    say: Callable[[str], None],
) -> int:
    """Run the scenarios `names`, or all of them, against an environment.

    The results are merged into the environment's and a page is made of them, in its state folder.
    With `junit` they are written there, too, and beside it as JSON.

    :param names: of scenarios, and of folders of scenarios.
    :param pytest_args: for pytest, after devenv's own.
    :param last_failed: only the tests that did not pass when they last ran.
    :param say: told where the page is.
    :returns: the exit code: 0 passed, 1 one failed or is unknown, 2 pytest could not run them,
        3 nothing ran, 4 all were skipped, 143 after SIGTERM, which ends the run as Ctrl-C does.
    :raises InputError: when there is no such scenario or environment, or none that failed.
    :raises DevenvError: when the results cannot be written.
    """
    where = folder()
    chosen = _chosen(_files(where), names)
    from devenv.providers import discover

    discover.find(environment)
    state = paths.environment(environment)
    _take_up(environment, state, say)
    only = _failed(environment, state, where, chosen) if last_failed else None
    tally = _Tally(only)
    written = state / _UNDER_WAY.format(os.getpid())
    with _terminable() as terminated:
        ended = pytest.main(
            [
                *_isolated(where),
                "--devenv", environment,
                "--devenv-results", str(written),
                "-v", "-rs", "--tb=short", "--no-header", "--disable-warnings",
                *pytest_args,
                *map(str, chosen if only is None else dict.fromkeys(only.values())),
            ],
            plugins=[tally],
        )  # fmt: skip
    run = results.read(written) if written.exists() else results.Run(environment)
    code = _EXIT_TERMINATED if terminated else tally.exit_code(int(ended))
    if run.results:
        try:
            _publish(environment, run, state, junit, say)
        except OSError as error:
            raise DevenvError(
                f"the results of {environment} cannot be written: {error}",
                remedy=f"mend that, then: devenv --name {environment} report --junit FILE",
            ) from error
    written.unlink(missing_ok=True)
    # A test is no better than its evidence, whatever pytest says.
    bad = any(result.verdict in results.BAD for result in run.results)
    return EXIT_FAILED if code == EXIT_OK and bad else code


@contextmanager
def _terminable() -> Iterator[list[int]]:
    """SIGTERM ends pytest as Ctrl-C does: faults are healed, fixtures closed, results written.

    :returns: the signals that came. All but the first change nothing: healing goes on.
    """
    came: list[int] = []

    def end(number: int, _: Any) -> None:
        came.append(number)
        if len(came) == 1:
            raise KeyboardInterrupt  # pytest takes SystemExit for a failure of the test

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _take_up(environment: str, state: Path, say: Callable[[str], None]) -> None:
    """Publish what runs that were killed left: the tests that had ended."""
    for left in sorted(state.glob(_UNDER_WAY.format("*"))):
        pid = left.name.split(".")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            try:
                _publish(environment, results.read(left), state, None, say)
            except DevenvError as error:  # Nobody has to mend the results of a run that was killed.
                say(f"the results of a run that was killed are lost: {error}")
            left.unlink()


def _publish(
    environment: str, run: results.Run, state: Path, junit: Path | None, say: Callable[[str], None]
) -> None:
    say(f"report: {page.publish(environment, run, state / page.JOURNAL, state)}")
    if junit:
        merged = results.read(state / page.RESULTS)
        xml.write(junit, merged)
        results.write(junit.with_suffix(".json"), merged)


def _failed(
    environment: str, state: Path, where: Path, chosen: Collection[Path]
) -> dict[str, Path]:
    """What is to run again, and its file: tests, and files that could not be collected.

    :raises InputError: when there is none.
    """
    again = f"devenv --name {environment} test"
    try:
        run = results.read(state / page.RESULTS)
    except InputError as error:
        raise InputError(error.message, remedy=again) from error
    bad = [result.test for result in run.results if result.verdict in results.BAD]
    files = {test: where / test.partition("::")[0] for test in bad}
    found = {test: file for test, file in files.items() if file in chosen}
    if not found:
        raise InputError("no test failed or is unknown since it last ran", remedy=again)
    return found


def _isolated(where: Path) -> list[str]:
    """What keeps the settings and leftovers of the folder that this runs in out of it."""
    return ["-c", os.devnull, "--rootdir", str(where), "--confcutdir", str(where),
            "-p", "no:cacheprovider", "--import-mode=importlib"]  # fmt: skip


def _files(where: Path) -> dict[str, Path]:
    files = {}
    for path in where.rglob("test_*.py"):
        short = path.stem.removeprefix("test_").replace("_", "-")
        files[str(path.relative_to(where).with_name(short))] = path
    return files


def _chosen(files: dict[str, Path], names: list[str]) -> list[Path]:
    """The files of `names`, in their order; of a folder, and of all, in the order of the list."""
    chosen: dict[str, None] = {}
    for name in names or [""]:
        inside = f"{name.rstrip('/')}/" if name else ""
        found = [one for one in sorted(files) if one == name or one.startswith(inside)]
        if not found:
            raise _unknown(files, name)
        chosen |= dict.fromkeys(found)
    return [files[name] for name in chosen]


def _unknown(files: dict[str, Path], name: str) -> InputError:
    folders = {one.rpartition("/")[0] for one in files} - {""}
    near = difflib.get_close_matches(name, [*files, *folders], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    remedy = f"scenarios: {', '.join(sorted(files))}; folders of them: {', '.join(sorted(folders))}"
    return InputError(f"there is no scenario {name!r}{hint}", remedy=remedy)


class _Tally:
    """Counts verdicts: pytest's exit code does not tell skipped from passed.

    :param only: the tests to run, or their files; None for all.
    """

    def __init__(self, only: Collection[str] | None) -> None:
        self._only = None if only is None else set(only)
        self.passed = self.failed = self.skipped = 0

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave out what was not asked for. A test that is not there any more is no error."""
        only = self._only
        if only is None:
            return
        chosen = [one for one in items if {one.nodeid, one.nodeid.partition("::")[0]} & only]
        config.hook.pytest_deselected(items=[one for one in items if one not in chosen])
        items[:] = chosen

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed += report.failed
        self.skipped += report.skipped
        self.passed += report.when == "call" and report.passed

    def exit_code(self, code: int) -> int:
        """Ours for pytest's (docs.pytest.org, exit codes)."""
        if code == pytest.ExitCode.TESTS_FAILED:
            return EXIT_FAILED
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            return EXIT_ERROR
        if self.passed:
            return EXIT_OK
        return EXIT_ALL_SKIPPED if self.skipped else EXIT_NOTHING_RAN
