"""`devenv test` over scenario files of the test's own, without an environment."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest

from devenv.core import paths
from devenv.core.errors import DevenvError, InputError
from devenv.providers import discover
from devenv.report import results
from devenv.report.results import Result
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
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of scenarios below one whose pytest settings would spoil every run."""
    made = tmp_path / "checkout" / "scenarios"
    (made / "failover").mkdir(parents=True)
    for name, text in SCENARIOS.items():
        (made / f"test_{name}.py").write_text(text)
    (made / "failover" / "test_vip_holder.py").write_text('"""It moves."""\n')
    (made / "failover" / "test_database.py").write_text("def test_a(): pass\n")
    (tmp_path / "checkout" / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "checkout" / "conftest.py").write_text("raise SystemExit('not mine')\n")
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setattr(run, "folder", lambda: made)
    monkeypatch.setattr(discover, "find", lambda name: name)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("DEVENV_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    yield made
    forget(made)


def forget(folder: Path) -> None:
    """pytest keeps scenarios by their names, which are the same in every test here."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


def main(
    *names: str, junit: Path | None = None, args: tuple[str, ...] = (), last_failed: bool = False
) -> int:
    """Runs scenarios against ``lab``; what is said goes to stderr."""
    forget(run.folder())
    return run.main(
        list(names), "lab", junit, list(args), last_failed=last_failed,
        say=lambda text: click.echo(text, err=True),
    )  # fmt: skip


def kept() -> dict[str, Result]:
    """The results of ``lab`` by test."""
    return {
        one.test: one for one in results.read(paths.environment("lab") / "results.json").results
    }


def test_scenarios_are_listed_by_name_with_their_first_line() -> None:
    found = run.scenarios()
    assert found["good-one"] == "It works."
    assert found["failover/vip-holder"] == "It moves."
    assert found["bad"] == ""
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["failover"], ["failover/test_database.py", "failover/test_vip_holder.py"]),
        (["failover/"], ["failover/test_database.py", "failover/test_vip_holder.py"]),
        (["bad", "failover"], ["test_bad.py", "failover/test_database.py",
                               "failover/test_vip_holder.py"]),
        (["failover/vip-holder", "failover"], ["failover/test_vip_holder.py",
                                               "failover/test_database.py"]),
    ],
)  # fmt: skip
def test_a_folder_stands_for_all_in_it(names: list[str], chosen: list[str], folder: Path) -> None:
    (folder / "failover" / "test_vip_holder.py").write_text("def test_a(): pass\n")
    main(*names)
    assert [test.partition("::")[0] for test in kept()] == chosen


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
    assert main(*names) == code


def test_an_option_that_pytest_does_not_know_is_an_error() -> None:
    assert main("good-one", args=("--no-such-option",)) == 2
    assert not (paths.environment("lab") / "report.html").exists()


def test_all_run_when_none_is_named(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "test_broken.py").unlink()
    assert main() == 1
    said = capfd.readouterr().out
    assert "test_good_one.py::test_a PASSED" in said
    assert "test_bad.py::test_a FAILED" in said


def test_an_unknown_name_runs_nothing() -> None:
    with pytest.raises(InputError, match="did you mean good-one"):
        main("bad", "god-one")
    with pytest.raises(InputError, match="did you mean failover\\?"):
        main("failovr")


def test_an_unknown_environment_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> None:
        raise InputError(f"no {name}")

    monkeypatch.setattr(discover, "find", find)
    with pytest.raises(InputError, match="no lab"):
        main("good-one")


def test_the_folder_of_the_scenarios_stays_as_it_is(folder: Path) -> None:
    before = sorted(folder.parent.rglob("*"))
    main("good-one", "bad")
    assert sorted(folder.parent.rglob("*")) == before


# -- what is left of a run -------------------------------------------------------------------


@pytest.mark.parametrize(("name", "outcome"), [("good-one", "passed"), ("bad", "failed")])
def test_results_and_a_page_are_left(
    name: str, outcome: str, capfd: pytest.CaptureFixture[str]
) -> None:
    main(name)
    state = paths.environment("lab")
    assert capfd.readouterr().err == f"report: {state / 'report.html'}\n"
    assert f"1 {outcome}" in (state / "report.html").read_text()
    (result,) = kept().values()
    assert result.outcome == outcome


def test_figures_are_told_and_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    junit = tmp_path / "out" / "results.xml"
    main("good-one", "bad", "cannot", junit=junit)
    assert "x: 1.50 s" in capfd.readouterr().out
    root = ElementTree.parse(junit).getroot()
    cases = {f"{one.get('classname')}.{one.get('name')}": one for one in root.iter("testcase")}
    (value,) = cases["good-one.test_a"].iter("property")
    assert (value.get("name"), value.get("value")) == ("x [s]", "1.5")
    assert cases["bad.test_a"].find("failure") is not None
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


def test_a_later_run_is_merged_in_every_file(tmp_path: Path) -> None:
    main("bad")
    main("good-one", junit=tmp_path / "r.xml")
    assert list(kept()) == ["test_bad.py::test_a", "test_good_one.py::test_a"]
    assert ElementTree.parse(tmp_path / "r.xml").getroot().get("tests") == "2"
    assert len(json.loads((tmp_path / "r.json").read_text())["results"]) == 2


def test_when_nothing_ran_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    assert main("empty") == 3
    assert list(paths.environment("lab").iterdir()) == []
    assert capfd.readouterr().err == ""


def test_a_place_that_cannot_be_written_loses_no_result(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DevenvError, match=r"(?s)file/below.*report --junit FILE") as caught:
        main("good-one", junit=tmp_path / "file" / "below" / "r.xml")
    assert caught.value.exit_code == 2
    assert list(kept()) == ["test_good_one.py::test_a"]


def test_a_file_that_cannot_be_collected_is_an_error_until_it_can(folder: Path) -> None:
    main("broken")
    (broken,) = kept().values()
    assert (broken.test, broken.outcome) == ("test_broken.py", "error")
    assert "nothing_of_that_name" in broken.reason
    (folder / "test_broken.py").write_text("def test_a(): pass\ndef test_b(): pass\n")
    assert main(last_failed=True) == 0
    assert list(kept()) == ["test_broken.py::test_a", "test_broken.py::test_b"]


# -- only what failed ------------------------------------------------------------------------

TWICE = """
from pathlib import Path
import pytest

@pytest.mark.parametrize("name", ["a::b", "c"])
def test_a(name):
    if name == "a::b" and not Path(MARK).exists():
        Path(MARK).touch()
        assert 0

def test_b():
    pass
"""


def test_only_what_failed_runs_again_and_is_merged(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "test_twice.py").write_text(TWICE.replace("MARK", repr(str(tmp_path / "mark"))))
    assert main("twice", "bad") == 1
    capfd.readouterr()
    assert main("twice", last_failed=True) == 0
    assert re.findall(r"::(\S+) PASSED", capfd.readouterr().out) == ["test_a[a::b]"]
    assert [(one.name, one.outcome, one.attempts) for one in kept().values()] == [
        ("test_a[a::b]", "passed", 2),
        ("test_a[c]", "passed", 1),
        ("test_b", "passed", 1),
        ("test_a", "failed", 1),
    ]
    assert main(last_failed=True) == 1, "bad is left"


def test_a_failed_test_that_is_not_there_any_more_keeps_no_other_from_running(folder: Path) -> None:
    main("bad", "half")
    state = paths.environment("lab") / "results.json"
    old = results.read(state)
    results.write(state, results.Run("lab", [*old.results, Result("test_bad.py::gone", "failed")]))
    (folder / "test_bad.py").write_text("def test_a(): pass\n")
    assert main(last_failed=True) == 0


def test_nothing_failed() -> None:
    with pytest.raises(InputError, match="there are no results") as caught:
        main(last_failed=True)
    assert caught.value.remedy == "devenv --name lab test"
    main("good-one")
    with pytest.raises(InputError, match="no test failed") as caught:
        main(last_failed=True)
    assert caught.value.remedy == "devenv --name lab test"
