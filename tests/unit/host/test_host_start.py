"""Starting an engine, with scripts in place of dockerd and systemctl."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devenv.core.errors import HostError
from devenv.host import start

Commands = Callable[[str, str], Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine without a service manager; dockerd scripts write their pid to `pid`."""
    for name, path in {"LOG": "log", "_RUN": "run", "_PROC": "proc"}.items():
        monkeypatch.setattr(start, name, tmp_path / path)
    monkeypatch.setattr(start, "_SYSTEMD", tmp_path / "systemd")
    monkeypatch.setattr(start, "_INIT_SCRIPT", tmp_path / "init.d-docker")
    monkeypatch.setattr(start, "_START_TIMEOUT", 5.0)
    (tmp_path / "run/docker/containerd").mkdir(parents=True)
    process(tmp_path, 1, "tini")
    yield tmp_path
    if (tmp_path / "pid").exists():
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def process(machine: Path, pid: int, name: str) -> None:
    (machine / f"proc/{pid}").mkdir(parents=True, exist_ok=True)
    (machine / f"proc/{pid}/comm").write_text(f"{name}\n")


def test_plain_dockerd_outlives_us_and_logs_for_root_only(
    machine: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere")
    commands("dockerd", f"echo host=$DOCKER_HOST; echo $$ >{machine}/pid; exec sleep 60")
    start.start((machine / "pid").exists)
    start.wait(lambda: (machine / "pid").read_text().strip() != "")
    pid = int((machine / "pid").read_text())
    assert os.getsid(pid) == pid != os.getsid(0)
    assert start.LOG.stat().st_mode & 0o777 == 0o600
    assert "host=\n" in start.LOG.read_text()  # DOCKER_HOST is for clients


def test_a_dockerd_that_dies_ends_the_wait_with_its_last_words(
    machine: Path, commands: Commands
) -> None:
    start.LOG.write_text("words of an earlier start\n")
    commands("dockerd", "echo 'Devices cgroup is not mounted' >&2; exit 3")
    with pytest.raises(HostError) as caught:
        start.start(lambda: False)
    assert "code 3" in caught.value.message
    assert caught.value.detail == "Devices cgroup is not mounted"
    assert "tail -n 50 /var/log/devenv-dockerd.log" in (caught.value.remedy or "")


def test_a_dockerd_that_never_answers(
    machine: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "_START_TIMEOUT", 0.5)
    commands("dockerd", f"echo thinking; echo $$ >{machine}/pid; exec sleep 60")
    with pytest.raises(HostError, match="Docker Engine to answer") as caught:
        start.start(lambda: False)
    assert caught.value.detail == "thinking"


def test_an_engine_that_answers_is_left_alone(machine: Path, commands: Commands) -> None:
    commands("dockerd", f"touch {machine}/started")
    start.start(lambda: True)
    assert not (machine / "started").exists() and not start.LOG.exists()


def test_stale_pid_files_are_removed_and_live_ones_kept(machine: Path, commands: Commands) -> None:
    commands("dockerd", "exit 1")
    engine_pid = machine / "run/docker.pid"
    containerd_pid = machine / "run/docker/containerd/containerd.pid"
    engine_pid.write_text("77")  # taken since by another process
    containerd_pid.write_text("78")
    process(machine, 77, "postgres")
    process(machine, 78, "containerd")  # outlived its dockerd: the next one takes it over
    assert start.running() is None
    with pytest.raises(HostError):
        start.start(lambda: False)
    assert not engine_pid.exists()
    assert containerd_pid.exists()


def test_running(machine: Path) -> None:
    assert start.running() is None
    (machine / "run/docker.pid").write_text("77\n")
    assert start.running() is None
    process(machine, 77, "dockerd")
    assert start.running() == 77


def test_which_service_manager(machine: Path) -> None:
    assert start.manager() == "none"
    start._INIT_SCRIPT.touch()
    assert start.manager() == "none"  # a script, but no init that runs such scripts
    process(machine, 1, "init")
    assert start.manager() == "sysvinit"
    start._SYSTEMD.mkdir()
    assert start.manager() == "systemd"


def test_systemd_starts_it(machine: Path, commands: Commands) -> None:
    start._SYSTEMD.mkdir()
    commands("systemctl", f'echo "$@" >{machine}/asked')
    start.start((machine / "asked").exists)
    assert (machine / "asked").read_text() == "start docker\n"


def test_systemd_that_refuses(
    machine: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    start._SYSTEMD.mkdir()
    commands("systemctl", "echo 'Unit docker.service is masked.' >&2; exit 1")
    commands("journalctl", "echo the journal")
    monkeypatch.setenv("PATH", str(machine / "bin"))
    with pytest.raises(HostError) as caught:
        start.start(lambda: False)
    assert "systemctl start docker" in caught.value.message
    assert caught.value.detail == "Unit docker.service is masked.\nthe journal"
