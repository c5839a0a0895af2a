"""Runs scenarios: what `devenv test` does."""

from __future__ import annotations

import ast
import difflib
import os
from pathlib import Path

import pytest

import devenv
from devenv.core.errors import (
    EXIT_ALL_SKIPPED,
    EXIT_ERROR,
    EXIT_FAILED,
    EXIT_NOTHING_RAN,
    EXIT_OK,
    DevenvError,
    InputError,
)


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


def main(names: list[str], environment: str, junit: Path | None, pytest_args: list[str]) -> int:
    """Run the scenarios `names`, or all of them, against an environment.

    Nothing is written unless `junit` is given: then that file, and beside it the verdicts and
    figures as JSON.

    :param pytest_args: for pytest, after devenv's own.
    :returns: the exit code: 0 passed, 1 one failed, 2 pytest could not run them, 3 nothing ran,
        4 all were skipped.
    :raises InputError: when there is no such scenario or environment.
    """
    where = folder()
    files = _files(where)
    chosen = [_file(files, name) for name in names] or [files[name] for name in sorted(files)]
    from devenv.providers import discover

    discover.find(environment)
    tally = _Tally()
    code = pytest.main(
        [
            *_isolated(where),
            "--devenv", environment,
            *(_results(junit) if junit else []),
            "-v", "-rs", "--tb=short", "--no-header", "--disable-warnings",
            *pytest_args,
            *map(str, chosen),
        ],
        plugins=[tally],
    )  # fmt: skip
    return tally.exit_code(int(code))


def _isolated(where: Path) -> list[str]:
    """What keeps the settings and leftovers of the folder that this runs in out of it."""
    return ["-c", os.devnull, "--rootdir", str(where), "--confcutdir", str(where),
            "-p", "no:cacheprovider", "--import-mode=importlib"]  # fmt: skip


def _results(junit: Path) -> list[str]:
    path = junit.absolute()
    # xunit2 has no properties of a test case, which the figures are.
    return ["-o", "junit_family=xunit1", "--junitxml", str(path),
            "--devenv-results", str(path.with_suffix(".json"))]  # fmt: skip


def _files(where: Path) -> dict[str, Path]:
    files = {}
    for path in where.rglob("test_*.py"):
        short = path.stem.removeprefix("test_").replace("_", "-")
        files[str(path.relative_to(where).with_name(short))] = path
    return files


def _file(files: dict[str, Path], name: str) -> Path:
    if name in files:
        return files[name]
    near = difflib.get_close_matches(name, files, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(
        f"there is no scenario {name!r}{hint}", remedy=f"scenarios: {', '.join(sorted(files))}"
    )


class _Tally:
    """Counts verdicts: pytest's exit code does not tell skipped from passed."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0

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
