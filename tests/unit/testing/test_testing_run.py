"""`devenv test` over scenario files of the test's own, without an environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from devenv.core.errors import InputError
from devenv.providers import discover
from devenv.testing import run

SCENARIOS = {
    "good_one": (
        '"""It works.\n\nMore words."""\ndef test_a(measure):\n    measure("x", 1.5, "s")\n'
    ),
    "bad": "def test_a():\n    assert 0\n",
    "half": "import pytest\ndef test_a(): pytest.skip('why')\ndef test_b(): pass\n",
    "cannot": (
        "import pytest\nfrom devenv.core.errors import Unsupported\n"
        "@pytest.fixture\ndef power():\n    raise Unsupported('no power here')\n"
        "def test_a(power): pass\ndef test_b():\n    raise Unsupported('no clock here')\n"
    ),
    "empty": "",
    "broken": "import nothing_of_that_name\n",
    "teardown": (
        "import pytest\n@pytest.fixture\ndef f():\n    yield\n    assert 0\ndef test_a(f): pass\n"
    ),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of scenarios below one whose pytest settings would spoil every run."""
    made = tmp_path / "checkout" / "scenarios"
    (made / "failover").mkdir(parents=True)
    for name, text in SCENARIOS.items():
        (made / f"test_{name}.py").write_text(text)
    (made / "failover" / "test_vip_holder.py").write_text('"""It moves."""\n')
    (tmp_path / "checkout" / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "checkout" / "conftest.py").write_text("raise SystemExit('not mine')\n")
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setattr(run, "folder", lambda: made)
    monkeypatch.setattr(discover, "find", lambda name: name)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return made


def test_scenarios_are_listed_by_name_with_their_first_line() -> None:
    found = run.scenarios()
    assert found["good-one"] == "It works."
    assert found["failover/vip-holder"] == "It moves."
    assert found["bad"] == ""
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["good-one"], 0),
        (["half"], 0),
        (["bad"], 1),
        (["good-one", "bad"], 1),
        (["teardown"], 1),
        (["broken"], 2),
        (["empty"], 3),
        (["cannot"], 4),
        (["good-one", "cannot"], 0),
    ],
)
def test_exit_codes(names: list[str], code: int) -> None:
    assert run.main(names, "lab", None, []) == code


def test_an_option_that_pytest_does_not_know_is_an_error() -> None:
    assert run.main(["good-one"], "lab", None, ["--no-such-option"]) == 2


def test_all_run_when_none_is_named(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "test_broken.py").unlink()
    assert run.main([], "lab", None, []) == 1
    said = capfd.readouterr().out
    assert "test_good_one.py::test_a PASSED" in said
    assert "test_bad.py::test_a FAILED" in said


def test_an_unknown_name_runs_nothing() -> None:
    with pytest.raises(InputError, match="did you mean good-one"):
        run.main(["bad", "god-one"], "lab", None, [])


def test_an_unknown_environment_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> None:
        raise InputError(f"no {name}")

    monkeypatch.setattr(discover, "find", find)
    with pytest.raises(InputError, match="no lab"):
        run.main(["good-one"], "lab", None, [])


def test_nothing_is_written_unless_asked(folder: Path) -> None:
    before = sorted(folder.parent.rglob("*"))
    run.main(["good-one", "bad"], "lab", None, [])
    assert sorted(folder.parent.rglob("*")) == before


def test_figures_are_told_and_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    junit = tmp_path / "out" / "results.xml"
    run.main(["good-one", "bad", "cannot"], "lab", junit, [])
    assert "x: 1.50 s" in capfd.readouterr().out
    (value,) = ElementTree.parse(junit).getroot().iter("property")
    assert (value.get("name"), value.get("value")) == ("x [s]", "1.5")
    written = json.loads(junit.with_suffix(".json").read_text())
    assert written["environment"] == "lab"
    found = {result["test"]: result for result in written["results"]}
    assert found["test_good_one.py::test_a"]["figures"] == [
        {"name": "x", "value": 1.5, "unit": "s"}
    ]
    assert found["test_good_one.py::test_a"]["outcome"] == "passed"
    assert found["test_bad.py::test_a"]["outcome"] == "failed"
    assert found["test_cannot.py::test_a"]["outcome"] == "skipped"
    assert "no power here" in found["test_cannot.py::test_a"]["reason"]
