"""``devenv fault`` as a person types it."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from fault_fakes import FakeSite, World

import devenv.cli.fault as module
from devenv.cli.fault import Duration, fault
from devenv.cli.main import cli
from devenv.cli.options import Settings
from devenv.core.errors import InputError
from devenv.faults import records
from devenv.faults.network import Partition
from devenv.faults.verbs import Faults

Run = Callable[..., Result]


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``devenv fault`` with these words against the world."""
    for name in [name for name in os.environ if name.startswith("DEVENV_") and "HOME" not in name]:
        monkeypatch.delenv(name)

    @contextmanager
    def opened(settings: Settings, environment: Any) -> Iterator[Faults]:
        site = world.site()
        connections: Any = site.connections
        faults = Faults("lab", site.provider, world.inventory, connections, site.events)
        faults.site = site
        yield faults

    @contextmanager
    def changing(settings: Settings, provider: str) -> Iterator[Any]:
        yield SimpleNamespace(events=world.site().events)

    there = SimpleNamespace(provider="local")
    monkeypatch.setattr("devenv.providers.discover.find", lambda name: there)
    monkeypatch.setattr(module, "_opened", opened)
    monkeypatch.setattr(module, "changing", changing)
    monkeypatch.setattr(module, "looking", lambda settings: None)

    def invoke(*words: str, **options: Any) -> Result:
        settings = Settings(name="lab")
        return CliRunner().invoke(
            fault,
            list(words),
            obj=settings,
            parent=click.Context(cli, info_name="devenv", **cli.context_settings),
            prog_name="fault",
            **options,
        )

    return invoke


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("2m", 120), ("1h", 3600), ("0.5s", 0.5), (" 3s ", 3)]
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["30", "s", "-3s", "0s", "1d", "2m30s", "", "soon"])
def test_what_is_no_duration(text: str, run: Run, world: World) -> None:
    with pytest.raises(click.BadParameter, match="such as 30s or 2m"):
        Duration().convert(text, None, None)
    assert run("power-off", "ctl1", f"--for={text}").exit_code == 2
    assert world.did == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("kill ctl1", "Missing option '--container'"),
        ("lossy ctl1", "Missing option '--percent'"),
        ("lossy ctl1 --percent 100", "100 is not in the range 1<=x<=99"),
        ("delay ctl1 --ms 0", "0 is not in the range"),
        ("melt ctl1", "No such command 'melt'"),
    ],
)
def test_words_that_cannot_be(words: str, message: str, run: Run, world: World) -> None:
    result = run(*words.split())
    assert result.exit_code == 2
    assert message in result.stderr
    assert world.did == []


@pytest.mark.parametrize(
    ("words", "did"),
    [
        ("kill vip-holder --container haproxy", "kill haproxy on ctl1"),
        ("stop ctl2 --container mariadb", "stop mariadb on ctl2"),
        ("pause db-primary --container mariadb", "pause mariadb on ctl2"),
        ("pause cmp1", "power pause cmp1"),
        ("power-off one", "power off ctl3"),
        ("reset cmp1", "power reset cmp1"),
        ("fill-disk ctl1", "fill"),
        ("lossy ctl1 --percent 7", "numgen random mod 100 < 7 drop"),
        ("partition ctl2 --from control", "ip saddr { 172.30.0.11, 172.30.0.13 } drop"),
        ("partition ctl2", "    drop"),
    ],
)
def test_without_a_duration_it_stays(words: str, did: str, run: Run, world: World) -> None:
    result = run(*words.split())
    assert result.exit_code == 0, result.output
    assert did in "\n".join(world.did)
    (one,) = records.outstanding("lab")
    assert one.kept
    assert f"fault heal {one.id}`, or the next `up`" in result.stderr


def test_with_a_duration_it_is_healed(run: Run, world: World) -> None:
    result = run("power-off", "ctl1", "--for", "0.01s", "--output", "json")
    assert result.exit_code == 0
    assert world.did == ["power off ctl1", "power on ctl1"]
    assert records.outstanding("lab") == []
    told = json.loads(result.stdout)
    assert told["healed"] is True
    assert [(one["node"], one["fault"]) for one in told["faults"]] == [("ctl1", "power off ctl1")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_heals_it(number: signal.Signals, run: Run, world: World) -> None:
    def interrupt(what: str) -> None:
        if what == "power off ctl1":
            threading.Timer(0.1, os.kill, [os.getpid(), number]).start()

    before = signal.getsignal(signal.SIGTERM)
    world.watch = interrupt
    result = run("power-off", "ctl1", "--for", "1m")
    assert result.exit_code == {signal.SIGINT: 1, signal.SIGTERM: 143}[number]
    assert "healing" in result.stderr
    assert world.did == ["power off ctl1", "power on ctl1"]
    assert records.outstanding("lab") == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_more_than_a_cluster_survives_is_said(run: Run) -> None:
    result = run("power-off", "majority")
    assert "warning: 2 of 3 control nodes are hit (ctl2, ctl3)" in result.stderr


def test_list_and_heal(run: Run, world: World) -> None:
    assert run("list").stderr == "no faults\n"
    assert "nothing to heal" in run("heal").stderr
    run("power-off", "ctl1")
    run("partition", "ctl2")
    first, second = records.outstanding("lab")
    shown = run("list").stdout.splitlines()
    assert shown[0].split() == ["ID", "FAULT", "SINCE", "STATE"]
    assert shown[1].startswith(f"{first.id}  power off ctl1")
    assert shown[1].endswith("kept")
    told = json.loads(run("list", "--output", "json").stdout)
    assert [(one["id"], one["node"]) for one in told] == [(first.id, "ctl1"), (second.id, "ctl2")]
    assert run("heal", second.id).stderr == "healed `partition ctl2 from all`\n"
    assert world.machines["ctl1"].power == "exited"
    assert json.loads(run("heal", "--output", "json").stdout) == ["healed `power off ctl1`"]
    assert records.outstanding("lab") == []


def test_an_id_that_is_none(run: Run) -> None:
    result = run("heal", "abc")
    assert isinstance(result.exception, InputError)
    assert "there is no fault 'abc'\n  -> faults: none" in str(result.exception)


def test_what_another_process_holds_is_healed_by_its_id_only(
    run: Run, site: FakeSite, world: World
) -> None:
    parent = os.getppid()
    one = Partition("ctl2", id="ab")
    records.write("lab", records.Record("ab", one, parent, records.start_of(parent)))
    result = run("heal")
    assert "nothing to heal" in result.stderr
    assert f"held by process {parent}" in result.stderr
    assert f"held by process {parent}" in run("list").stdout
    assert "healed" in run("heal", "ab").stderr
    assert records.outstanding("lab") == []


@pytest.mark.parametrize("name", sorted(fault.commands))
def test_every_command_has_an_example(name: str, run: Run) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"devenv fault {name}" in result.stdout.split("Example")[1]
