"""Power by IPMI, against pyghmi's own controller on loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devenv.core.errors import NodeError
from devenv.providers.baremetal_power import PASSWORD_VARIABLE, Power, power_for
from devenv.providers.base import PowerAction
from devenv.topology.machines import Host

PASSWORD = "s3cret-of-the-bmc"


@contextmanager
def controller(state: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Its port, and the process that prints what it was asked."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(__file__).with_name("ipmi_bmc.py")
    with subprocess.Popen(
        [sys.executable, program, str(port), PASSWORD, state], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout and process.stdout.readline() == "ready\n"
            yield port, process
        finally:
            process.kill()


def switch(port: int) -> Power:
    """The switch of node n1."""
    ipmi = {"address": "127.0.0.1", "username": "admin", "port": port}
    made = power_for("n1", Host.model_validate({"address": "192.0.2.1", "ipmi": ipmi}))
    assert made
    return made


@pytest.mark.parametrize(
    ("first", "actions", "asked", "after"),
    [
        ("on", ["off", "off", "on", "on"], ["off", "on"], "on"),
        ("on", ["reset"], ["reset"], "on"),
        ("off", ["reset", "off"], ["on", "off"], "off"),
    ],
)
def test_what_is_asked_of_the_controller(
    monkeypatch: pytest.MonkeyPatch,
    first: str,
    actions: list[PowerAction],
    asked: list[str],
    after: str,
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    with controller(first) as (port, process):
        for action in actions:
            switch(port).act(action)
        assert switch(port).state() == after
        process.kill()
        assert process.stdout and process.stdout.read().split() == asked


def test_a_wrong_password_is_said_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "not-the-password")
    with controller("on") as (port, process):
        with pytest.raises(NodeError, match=r"UDP port [0-9]+: Incorrect password") as caught:
            switch(port).act("off")
        process.kill()
        assert process.stdout and process.stdout.read() == ""
    assert caught.value.node == "n1" and "IPMI over LAN" in str(caught.value.remedy)
    assert "not-the-password" not in "".join(traceback.format_exception(caught.value))


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(NodeError, match="no answer") as caught:
            switch(silent.getsockname()[1]).state()
    assert caught.value.node == "n1"
