"""``up`` chooses a topology and says what came of it; ``down`` says what it removed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_fakes import FakeEnvironment, Run

from devenv.providers.discover import Existing

RACK = """
version: 1
nodes:
  ctl: {roles: [control, network, compute], count: 2}
"""


def test_up_takes_the_topology_that_the_environment_has(
    run: Run, fake: type[FakeEnvironment], there: list[Existing], tmp_path: Path
) -> None:
    file = tmp_path / "rack.yaml"
    file.write_text(RACK)
    there.append(Existing("lab", "local", str(file), ("ctl1",), 1, "me", ""))
    run("up", "--name", "lab")
    run("up", "--name", "lab", "--topology", "multinode")
    run("up", "--name", "new")
    ups = [call for call in fake.calls if call[0] == "up"]
    assert [source for _, source, *_ in ups] == [str(file), "multinode", "aio"]


def test_up_warns_of_what_the_topology_hardly_means(
    run: Run, fake: type[FakeEnvironment], tmp_path: Path
) -> None:
    file = tmp_path / "rack.yaml"
    file.write_text(RACK)
    result = run("up", "--topology", str(file))
    assert result.exit_code == 0
    assert "warning: 2 control nodes survive the loss of 0" in result.stderr


def test_the_provider_on_the_command_line_wins(run: Run, fake: type[FakeEnvironment]) -> None:
    assert run("up", "--provider", "vagrant").exit_code == 0
    assert fake.calls == [("open", "default", "vagrant"), ("up", "aio", "vagrant", {})]


def test_up_tells_what_runs_where_and_what_to_try(
    run: Run, fake: type[FakeEnvironment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    result = run("up", "--name", "lab")
    assert result.stdout.splitlines() == [
        "NODE  ROLES             ADDRESS      CONTAINERS",
        "aio   compute, control  172.30.0.11  1 running of 2",
        "guest first answers at 172.31.0.150",
    ]
    assert result.stderr.splitlines()[-4:] == [
        "lab is up after 0 s (changed: 1). Next:",
        "  devenv --name lab test nova-boot",
        "  devenv --name lab ssh aio",
        "  openstack --os-cloud devenv-lab server list",
    ]
    assert "--name" not in run("up").stderr


def test_a_second_up_is_one_line(
    run: Run, fake: type[FakeEnvironment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake, "changed", [])
    result = run("up")
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("nothing to change: 2 containers run and answer, guest at 172.31.0.150")


def test_up_as_json(run: Run, fake: type[FakeEnvironment]) -> None:
    data = json.loads(run("up", "--output", "json").stdout)
    assert data["changed"] == ["aio/nova_api"]
    assert data["guest"] == {"name": "first", "address": "172.31.0.150", "answers": True}
    assert data["timeline"]["steps"] == []
    assert data["seconds"] >= 0


def test_what_happens_is_in_the_journal(
    run: Run, fake: type[FakeEnvironment], tmp_path: Path
) -> None:
    result = run("up")
    assert "nova_api container" in result.stderr
    journal = tmp_path / "home" / "environments" / "default" / "journal.jsonl"
    kinds = [json.loads(line)["kind"] for line in journal.read_text().splitlines()]
    assert kinds == ["start", "done"]


def test_nodes_with_guests_go_only_by_force(run: Run, fake: type[FakeEnvironment]) -> None:
    run("up")
    run("up", "--force")
    run("up", env={"DEVENV_FORCE": "1"})
    ups = [call for call in fake.calls if call[0] == "up"]
    assert [call[4:] for call in ups] == [(), ("forced",), ("forced",)]


def test_sources_come_from_both_and_the_command_line_wins(
    run: Run, fake: type[FakeEnvironment], tmp_path: Path
) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    file = tmp_path / "mine.yaml"
    file.write_text(
        "version: 1\nnodes: {aio: {roles: [control, network, compute]}}\n"
        "overrides: {nova: {source: one}, glance: {source: two}}\n"
    )
    result = run("up", "--topology", str(file), "--source", f"nova={tmp_path}/three")
    assert result.exit_code == 0
    assert fake.calls[-1][-1] == {"nova": tmp_path / "three", "glance": tmp_path / "two"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--topology nope", "there is no topology 'nope'"),
        ("--topology multinod", "did you mean multinode?"),
        ("--source nova", "should be SERVICE=PATH"),
        ("--source =x", "should be SERVICE=PATH"),
        ("--source nova=/nowhere/at/all", "--source nova: /nowhere/at/all does not exist"),
        ("--source nova=/dev/null", "/dev/null is not a folder"),
        ("--source nvoa=/", "did you mean nova?"),
        ("--source mariadb=/", "mariadb has no Python code"),
        ("--source nova=/ --source nova=/", "given twice"),
        ("--provider cloud", "'cloud' is not one of"),
    ],
)
def test_bad_input_changes_nothing(
    words: str, message: str, run: Run, fake: type[FakeEnvironment], tmp_path: Path
) -> None:
    result = run("up", *words.split())
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert fake.calls == []
    assert not (tmp_path / "home").exists()


def test_an_override_that_cannot_be_used_names_its_line(
    run: Run, fake: type[FakeEnvironment], tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "version: 1\nnodes: {aio: {roles: [control, network, compute]}}\n"
        "overrides:\n  rabbitmq:\n    source: /\n"
    )
    result = run("up", "--topology", str(file))
    assert result.exit_code == 2
    assert f"{file}:5: rabbitmq has no Python code" in result.stderr.replace("rabbitmq: ", "", 1)
    assert fake.calls == []


def test_down_says_what_it_removed(run: Run, fake: type[FakeEnvironment]) -> None:
    result = run("down")
    assert result.exit_code == 0
    assert "removed container devenv-default-aio\n" in result.stderr
    assert result.stdout == ""
    as_json = json.loads(run("down", "--output", "json").stdout)
    assert as_json == ["container devenv-default-aio", "network devenv-default-api"]


def test_down_of_nothing_is_no_error(run: Run, fake: type[FakeEnvironment], tmp_path: Path) -> None:
    result = run("down", "--name", "lab")
    assert result.exit_code == 0
    assert result.stderr == "there is no environment 'lab'\n"
    assert fake.calls == []
    assert not (tmp_path / "home").exists()
    assert json.loads(run("down", "--name", "lab", "--output", "json").stdout) == []


def test_down_removes_what_is_left_of_a_lost_environment(
    run: Run, fake: type[FakeEnvironment], tmp_path: Path
) -> None:
    """Its containers are gone, its keys and its cloud are not."""
    (tmp_path / "home" / "environments" / "lab").mkdir(parents=True)
    run("down", "--name", "lab")
    assert fake.calls == [("open", "lab", "local"), ("down",)]
