"""``status``, ``list``, ``export`` and ``test --list`` print data, as text and as JSON."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cli_fakes import FakeEnvironment, Run

import devenv.testing
from devenv.host.checks import Check
from devenv.providers import diagnosis
from devenv.providers.discover import Existing


def test_status_as_json(run: Run, fake: type[FakeEnvironment]) -> None:
    data = json.loads(run("status", "--output", "json").stdout)
    (node,) = data.pop("nodes")
    assert data == {
        "environment": "default",
        "release": "2026.1",
        "topology": "aio",
        "cloud": "devenv-default",
        "vip": "172.30.0.11",
        "guest": {"name": "first", "address": "172.31.0.150", "answers": True},
    }
    containers = {one["name"]: one for one in node.pop("containers")}
    assert node == {
        "name": "aio",
        "roles": ["compute", "control"],
        "address": "172.30.0.11",
        "external": "172.31.0.11/24",
    }
    assert containers["nova_api"] == {
        "name": "nova_api",
        "service": "nova",
        "kind": "container",
        "image": "devenv/nova_api:1",
        "state": "running",
        "status": "Up 2 minutes",
        "exit_code": None,
    }
    assert containers["keystone_bootstrap"]["kind"] == "job"
    assert containers["keystone_bootstrap"]["exit_code"] == 3


def test_status_shows_containers_and_the_jobs_that_failed(
    run: Run, fake: type[FakeEnvironment]
) -> None:
    result = run("status")
    table = {line.split()[1]: line for line in result.stdout.splitlines() if line[:3] == "aio"}
    assert table["nova_api"].endswith("Up 2 minutes")
    assert table["mariadb"].endswith("Exited (1)")
    assert table["keystone_bootstrap"].endswith("job: Exited (3)")
    assert "nova_bootstrap" not in table, "a job that is done is no news"
    assert result.stdout.endswith("guest first answers at 172.31.0.150\n")
    assert result.stderr == ""


def test_looking_needs_an_environment_and_makes_nothing(
    run: Run, fake: type[FakeEnvironment], tmp_path: Path
) -> None:
    for words in ("status", "logs nova", "ssh", "export clouds", "service stop nova_api"):
        result = run(*words.split(), "--name", "defualt")
        assert result.exit_code == 2
        assert "there is no environment 'defualt'; did you mean default?" in result.stderr
    assert fake.calls == []
    assert not (tmp_path / "home").exists()


def test_list(run: Run, there: list[Existing]) -> None:
    empty = run("list")
    assert (empty.exit_code, empty.stdout) == (0, "")
    assert "there is no environment" in empty.stderr
    there += [
        Existing("half", "local", "", (), 0, "me", ""),
        Existing("lab", "local", "multinode", ("ctl1", "ctl2"), 1, "me", ""),
    ]
    lines = run("list").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["NAME", "half", "lab"]
    assert "leftover" in lines[1]
    assert "1 of 2 running" in lines[2]
    data = json.loads(run("list", "--output", "json").stdout)
    assert data[1] == {
        "name": "lab",
        "provider": "local",
        "topology": "multinode",
        "nodes": ["ctl1", "ctl2"],
        "running": 1,
        "owner": "me",
        "created": "",
        "state": "1 of 2 running",
    }


def test_the_topology_schema_is_the_committed_one(run: Run) -> None:
    committed = Path(devenv.__file__).parent / "topology" / "topology.schema.json"
    assert run("export", "topology-schema").stdout == committed.read_text()


def test_exports_are_data_and_nothing_else(run: Run, fake: type[FakeEnvironment]) -> None:
    clouds = yaml.safe_load(run("export", "clouds").stdout)
    assert clouds["clouds"]["devenv-default"]["auth"]["password"] == "open sesame"
    assert "export OS_PASSWORD='open sesame'\n" in run("export", "openrc").stdout
    assert "Host devenv-default-aio\n" in run("export", "ssh-config").stdout
    assert "[control]\naio\n" in run("export", "ansible").stdout


def check(name: str, *, ok: bool, fatal: bool = True) -> Check:
    return Check(name, ok, f"{name} found", f"mend {name}", fatal=fatal)


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ([check("a", ok=True), check("b", ok=False, fatal=False)], 0),
        ([check("a", ok=True), check("c", ok=False)], 1),
    ],
)
def test_doctor_ends_with_1_if_something_is_missing(
    checks: list[Check], code: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "probes", lambda *_: [lambda one=one: one for one in checks])
    result = run("doctor")
    assert result.exit_code == code
    assert ("c: mend c" in result.stderr) == bool(code)
    data = json.loads(run("doctor", "--output", "json").stdout)
    assert [one["name"] for one in data] == [one.name for one in checks]
    assert [one["remedy"] for one in data] == ["" if c.ok else c.remedy for c in checks]


def test_doctor_works_without_an_engine(run: Run) -> None:
    result = run("doctor", "--output", "json")
    assert result.exit_code == 1
    docker = json.loads(result.stdout)[0]
    assert (docker["name"], docker["ok"]) == ("docker", False)


@pytest.fixture
def scenarios(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the scenario runner was called with."""
    calls: list[tuple[object, ...]] = []

    def main(*arguments: object, last_failed: bool, say: Callable[[str], None]) -> int:
        calls.append((*arguments, *(["last failed"] if last_failed else [])))
        say("report: /a/page.html")
        return 4

    found = {"failover/vip": "It moves.", "nova-boot": "A guest boots."}
    made = types.SimpleNamespace(main=main, scenarios=lambda: found)
    monkeypatch.setattr(devenv.testing, "run", made, raising=False)
    return calls


def test_scenarios_are_listed(run: Run, scenarios: list[tuple[object, ...]]) -> None:
    assert run("test", "--list").stdout.splitlines() == [
        "SCENARIO      WHAT IT PROVES",
        "failover/vip  It moves.",
        "nova-boot     A guest boots.",
    ]
    assert json.loads(run("test", "--list", "--output", "json").stdout) == {
        "failover/vip": "It moves.",
        "nova-boot": "A guest boots.",
    }
    assert scenarios == []


def test_scenarios_get_pytest_options_and_give_the_exit_code(
    run: Run, scenarios: list[tuple[object, ...]]
) -> None:
    result = run("test", "a", "b", "--junit", "out.xml", "--name", "lab", "--", "-x", "--name")
    assert result.exit_code == 4
    assert (result.stdout, result.stderr) == ("", "report: /a/page.html\n")
    assert run("test").exit_code == 4
    run("test", "failover", "--last-failed")
    assert scenarios == [
        (["a", "b"], "lab", Path("out.xml"), ["-x", "--name"]),
        ([], "default", None, []),
        (["failover"], "default", None, [], "last failed"),
    ]
