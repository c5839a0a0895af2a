"""``devenv report``."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from devenv.cli.main import cli
from devenv.core import paths
from devenv.report import results
from devenv.report.results import Run

RUN = Run("default", [results.Result("test_a.py::test_b", seconds=1.0)], began=1000.0)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State in a temporary folder, which is the current one, too."""
    monkeypatch.setenv("DEVENV_HOME", str(tmp_path / "home"))
    for name in ("NAME", "TO", "JUNIT", "OUTPUT"):
        monkeypatch.delenv(f"DEVENV_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def report(*words: str) -> Result:
    return CliRunner().invoke(cli, ["report", *words], prog_name="devenv")


@pytest.fixture
def kept() -> Path:
    """An environment whose scenarios ran."""
    folder = paths.environment("default")
    results.write(folder / "results.json", RUN)
    return folder


def test_it_says_where_the_page_is(kept: Path) -> None:
    done = report()
    assert (done.exit_code, done.stdout) == (0, f"{kept / 'report.html'}\n")
    assert "1 passed" in (kept / "report.html").read_text()


def test_the_page_can_be_elsewhere(kept: Path, tmp_path: Path) -> None:
    done = report("--to", "new/page.html")
    assert done.stdout == f"{tmp_path / 'new/page.html'}\n"
    assert (tmp_path / "new/page.html").exists() and not (kept / "report.html").exists()


def test_junit_and_json(kept: Path, tmp_path: Path) -> None:
    done = report("--junit", "r.xml", "--output", "json")
    assert json.loads(done.stdout) == results.data(RUN)
    assert ElementTree.parse(tmp_path / "r.xml").getroot().get("tests") == "1"


def test_no_results_yet(home: Path) -> None:
    done = report("--name", "lab")
    assert done.exit_code == 2
    assert "there are no results" in done.stderr and "devenv --name lab test" in done.stderr
    assert not (home / "environments" / "lab").exists(), "asking changes nothing"


def test_results_that_cannot_be_read_are_told_and_kept(kept: Path) -> None:
    (kept / "results.json").write_text("{")
    done = report()
    assert done.exit_code == 2 and "cannot be used" in done.stderr
    assert (kept / "results.json").exists()


@pytest.mark.parametrize("option", ["--to", "--junit"])
def test_a_place_that_cannot_be_written(kept: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "file").touch()
    done = report(option, "file/below")
    assert done.exit_code == 2
    assert "error: file/below cannot be written" in done.stderr
