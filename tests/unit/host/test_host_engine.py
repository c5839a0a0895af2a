from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import FakeEngine

from devenv.core.errors import HostError
from devenv.host import engine, start

Commands = Callable[[str, str], Path]


def test_an_engine_that_answers(fake_engine: FakeEngine) -> None:
    check = engine.engine_check()
    assert check.ok and check.fix is None
    assert "20.10.24" in check.found and fake_engine.path in check.found
    assert engine.connect().api.api_version == "1.41"


@pytest.mark.parametrize(
    ("version", "ok"),
    [("20.10.0", True), ("28.5.2", True), ("19.03.15", False), ("1.13.1", False), ("dev", True)],
)
def test_versions(fake_engine: FakeEngine, version: str, ok: bool) -> None:
    fake_engine.version = {"Version": version, "ApiVersion": "1.12"}
    check = engine.engine_check()
    assert check.ok is ok
    assert version in check.found
    assert check.fix is None  # an engine that answers is never touched
    if not ok:
        assert "20.10" in check.found
        with pytest.raises(HostError, match="too old"):
            engine.connect()


def test_a_newer_minimum_can_be_asked_for(fake_engine: FakeEngine) -> None:
    assert not engine.engine_check(minimum=(23, 0)).ok


def test_podman_is_told_apart(fake_engine: FakeEngine) -> None:
    fake_engine.version = {"Version": "24.1", "Components": [{"Name": "Podman Engine"}]}
    assert "Podman" in engine.engine_check().found


def test_docker_host_is_honoured_and_never_mended(
    fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, debian_root: None
) -> None:
    elsewhere = f"unix://{fake_engine.path}.other"
    monkeypatch.setenv("DOCKER_HOST", elsewhere)
    check = engine.engine_check()
    assert not check.ok and check.fix is None
    assert elsewhere in check.found and "unset DOCKER_HOST" in check.remedy
    monkeypatch.setenv("DOCKER_HOST", f"unix://{fake_engine.path}")
    monkeypatch.setattr(engine, "SOCKET", "/nowhere")
    assert engine.engine_check().ok


def test_not_installed_then_installed_then_started(
    socket_path: str, commands: Commands, debian_root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = engine.engine_check()
    assert "not installed" in check.found
    assert check.remedy == "apt-get install -y --no-install-recommends docker.io iptables"
    assert check.fix is not None and "docker.io" in check.fix.says

    commands("dockerd", "")
    check = engine.engine_check()
    assert "iptables" in check.found and "iptables" in check.remedy

    commands("iptables", "")
    monkeypatch.setattr(start, "running", lambda: None)
    check = engine.engine_check()
    assert "does not run" in check.found
    assert check.fix is not None and start.command() in check.fix.says


def test_without_root_the_remedy_is_the_sudo_command(
    socket_path: str, commands: Commands, debian_root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    check = engine.engine_check()
    assert check.fix is None and check.remedy.startswith("sudo apt-get install")
    commands("dockerd", "")
    commands("iptables", "")
    monkeypatch.setattr(start, "running", lambda: None)
    for manager in ("systemd", "none"):
        monkeypatch.setattr(start, "manager", lambda manager=manager: manager)
        check = engine.engine_check()
        assert check.fix is None and check.remedy.startswith("sudo ")
    assert check.remedy.startswith("sudo sh -c 'setsid dockerd")


def test_an_engine_that_runs_but_is_silent_is_not_started_twice(
    socket_path: str, commands: Commands, debian_root: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands("dockerd", "")
    commands("iptables", "")
    monkeypatch.setattr(start, "running", lambda: 4711)
    check = engine.engine_check()
    assert "4711" in check.found
    assert check.fix is not None and check.fix.says.startswith("waiting")


def test_a_socket_that_nobody_listens_on(
    socket_path: str, commands: Commands, debian_root: None
) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(socket_path)
    assert "not installed" in engine.engine_check().found


@pytest.mark.parametrize(
    ("members", "group_ids", "found", "remedy"),
    [
        ([], [1000], "not in group docker", "usermod -aG docker ada"),
        (["ada"], [1000], "session began before", "newgrp docker"),
        (None, [1000], "no group docker", "groupadd --system docker"),
    ],
)
def test_permission_denied_names_the_group(
    socket_path: str,
    monkeypatch: pytest.MonkeyPatch,
    members: list[str] | None,
    group_ids: list[int],
    found: str,
    remedy: str,
) -> None:
    def denied(self: Any, address: Any) -> None:
        raise PermissionError(13, "Permission denied")

    def group(name: str) -> Any:
        if members is None:
            raise KeyError(name)
        return SimpleNamespace(gr_mem=members, gr_gid=105)

    monkeypatch.setattr("socket.socket.connect", denied)
    monkeypatch.setattr("grp.getgrnam", group)
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    monkeypatch.setattr(os, "getgroups", lambda: group_ids)
    check = engine.engine_check()
    assert not check.ok and check.fix is None
    assert found in check.found and remedy in check.remedy


def test_connect_says_what_is_wrong_and_what_to_do(
    socket_path: str, commands: Commands, debian_root: None
) -> None:
    with pytest.raises(HostError) as caught:
        engine.connect()
    assert "not installed" in caught.value.message
    assert "apt-get install" in (caught.value.remedy or "")


def test_registry_reachable(fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    client = engine.connect(timeout=30)
    assert engine.registry_reachable("debian:trixie", client)
    fake_engine.distribution = (500, 0.0)
    assert not engine.registry_reachable("debian:trixie", client)
    monkeypatch.setattr(engine, "_REGISTRY_TIMEOUT", 0.2)
    fake_engine.distribution = (200, 2.0)
    began = time.monotonic()
    assert not engine.registry_reachable("debian:trixie", client)
    assert time.monotonic() - began < 1.5
    assert client.api.timeout == 30
