"""``ssh``, ``exec`` and ``logs`` reach the right place with the right words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from cli_fakes import NODE, FakeEnvironment, Run, actual

from devenv.deploy import logs, places, terminal
from devenv.deploy.places import Place
from devenv.nodes.node import Node


@pytest.fixture
def containers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake environment's node has nova_api, nova_compute and a job."""

    @contextmanager
    def connections(
        self: FakeEnvironment, nodes: tuple[Node, ...] | None = None
    ) -> Iterator[dict[str, object]]:
        yield {node.name: SimpleNamespace(node=node) for node in nodes or (NODE,)}

    def inspect(connection: object, environment: str) -> object:
        found = [actual("nova_api"), actual("nova_compute"), actual("nova_db", job=True, code=0)]
        return SimpleNamespace(containers={one.name: one for one in found})

    monkeypatch.setattr(FakeEnvironment, "connections", connections, raising=False)
    monkeypatch.setattr(places, "inspect", inspect)


@pytest.mark.parametrize(
    ("words", "last"),
    [
        ([], "root@172.30.0.11"),
        (["aio"], "root@172.30.0.11"),
        (["aio", "--", "ls", "a b"], "ls 'a b'"),
        (["aio", "--", "ls * | wc"], "ls * | wc"),
        (["--", "docker", "ps", "--name"], "docker ps --name"),
    ],
)
def test_ssh_takes_the_place_of_devenv(
    words: list[str],
    last: str,
    run: Run,
    fake: type[FakeEnvironment],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda program, argv: ran.append(argv))
    assert run("ssh", *words).exit_code == 0
    ((program, *_, end),) = ran
    assert (program, end) == ("ssh", last)
    assert "UserKnownHostsFile=/keys/known_hosts" in ran[0]


def test_ssh_to_a_node_that_is_not_there(run: Run, fake: type[FakeEnvironment]) -> None:
    result = run("ssh", "cmp1")
    assert result.exit_code == 2
    assert "there is no node 'cmp1' in environment 'default'\n  -> nodes: aio" in result.stderr


def test_exec_gives_the_commands_exit_code(
    run: Run,
    fake: type[FakeEnvironment],
    containers: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[tuple[str, list[str]]] = []

    def execute(place: Place, command: list[str]) -> int:
        ran.append((place.container.name, command))
        return 42

    monkeypatch.setattr(terminal, "run", execute)
    assert run("exec", "nova_api", "--node", "aio", "--", "ls", "--node").exit_code == 42
    assert ran == [("nova_api", ["ls", "--node"])]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("nova_api", "no command was given"),
        ("nova_api ls", "unexpected extra argument (ls)"),
        ("nova -- ls", "name one of: nova_api, nova_compute"),
        ("nova_ap -- ls", "did you mean nova_api?"),
        ("nova_db -- ls", "there is no container or service 'nova_db'"),
        ("nova_api --node x -- ls", "there is no node 'x'"),
    ],
)
def test_exec_that_cannot_be(
    words: str, message: str, run: Run, fake: type[FakeEnvironment], containers: None
) -> None:
    result = run("exec", *words.split())
    assert result.exit_code == 2
    assert message in result.stderr


def test_logs_say_whose_line_it_is_if_there_are_several(
    run: Run,
    fake: type[FakeEnvironment],
    containers: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lines(
        places: list[Place], *, tail: int | None, follow: bool
    ) -> Iterator[tuple[Place, bytes]]:
        for place in places:
            yield place, f"\xe9 {tail} {follow}".encode("latin-1")

    monkeypatch.setattr(logs, "logs", lines)
    both = run("logs", "nova", "--tail", "2")
    assert both.stdout_bytes == (b"aio/nova_api | \xe9 2 False\naio/nova_compute | \xe9 2 False\n")
    assert run("logs", "nova_db", "-f").stdout_bytes == b"\xe9 None True\n"
