"""clustercheck: whether a member is in sync, as haproxy asks, against a client that is a script."""

from __future__ import annotations

import http.client
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest
from image_scripts import SERVICES

#: Answers what the file `status` says, as `mariadb --batch` does; the word `hang` or `die` instead
#: of that. Each start of it is a line in `started`.
CLIENT = """#!/usr/bin/env python3
import pathlib, sys, time
folder = pathlib.Path(__file__).parent
with (folder / "started").open("a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
for line in sys.stdin:
    said = (folder / "status").read_text()
    if said == "hang":
        time.sleep(60)
    if said == "die":
        sys.exit(1)
    if line.startswith("SHOW"):
        sys.stdout.write(said)
    else:
        sys.stdout.write("end\\n")
    sys.stdout.flush()
"""


def status(state: int, ready: str) -> str:
    return f"wsrep_local_state\t{state}\nwsrep_ready\t{ready}\n"


SYNCED = status(4, "ON")


class Database:
    """The client's program, and what it answers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.install()
        self.says(SYNCED)

    def install(self) -> None:
        program = self._folder / "mariadb"
        program.write_text(CLIENT.replace("/usr/bin/env python3", sys.executable))
        program.chmod(0o755)

    def remove(self) -> None:
        (self._folder / "mariadb").unlink()

    def says(self, said: str) -> None:
        # In one step: the client may be reading.
        new = self._folder / "new"
        new.write_text(said)
        new.rename(self._folder / "status")

    @property
    def started(self) -> list[str]:
        """The arguments of each start of the client."""
        log = self._folder / "started"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return Database(folder)


@pytest.fixture
def check(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The program as a module, whose answers are asked for each time."""
    monkeypatch.setattr(sys, "argv", ["clustercheck", "127.0.0.1", "0", "/etc/client.cnf"])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("clustercheck", str(SERVICES / "mariadb/image/clustercheck"))
    spec = spec_from_loader("clustercheck", loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(module, "FRESH", -1.0)
    # A second, but the machine of a test may be busy.
    assert module.PATIENCE == 1.0, "below the timeout of haproxy's checks, which is 3 s"
    monkeypatch.setattr(module, "PATIENCE", 30.0)
    yield module
    if module.MEMBER.client:
        module.MEMBER.client.close()


def test_a_member_in_sync(check: Any, database: Database) -> None:
    assert check.MEMBER.state() == (200, "synced")


def test_one_client_stays_connected(check: Any, database: Database) -> None:
    for _ in range(3):
        assert check.MEMBER.state()[0] == 200
    (arguments,) = database.started
    assert arguments.split()[0] == "--defaults-file=/etc/client.cnf"
    # A client that connects again by itself would hide that the database went away.
    assert "--skip-reconnect" in arguments


@pytest.mark.parametrize(
    "said",
    [
        status(2, "ON"),  # a donor
        status(1, "OFF"),  # joining
        status(4, "OFF"),  # without most of the others
        status(0, "ON"),
        "wsrep_local_state\t4\n",
        "",  # a database without a cluster
    ],
)
def test_a_member_that_is_not_in_sync(check: Any, database: Database, said: str) -> None:
    database.says(said)
    code, words = check.MEMBER.state()
    assert code == 503
    assert words.startswith("not synced: ")
    database.says(SYNCED)
    assert check.MEMBER.state() == (200, "synced")
    assert len(database.started) == 1


def test_a_database_that_hangs_and_comes_back(check: Any, database: Database) -> None:
    assert check.MEMBER.state()[0] == 200
    database.says("hang")
    check.PATIENCE = 0.2
    code, words = check.MEMBER.state()
    assert (code, words.startswith("no answer in")) == (503, True)
    # The late answer of the one that hung is not taken for that of the next question.
    database.says(status(2, "ON"))
    check.PATIENCE = 30.0
    assert check.MEMBER.state()[1].startswith("not synced: ")
    database.says(SYNCED)
    assert check.MEMBER.state() == (200, "synced")
    assert len(database.started) == 2


def test_a_client_that_dies_and_another_one_that_connects(check: Any, database: Database) -> None:
    assert check.MEMBER.state()[0] == 200
    database.says("die")
    assert check.MEMBER.state() == (503, "the database does not answer")
    assert check.MEMBER.state()[0] == 503
    database.says(SYNCED)
    assert check.MEMBER.state() == (200, "synced")
    assert len(database.started) == 3


def test_a_client_that_was_killed_between_questions(check: Any, database: Database) -> None:
    assert check.MEMBER.state()[0] == 200
    check.MEMBER.client.process.kill()
    check.MEMBER.client.process.wait()
    assert check.MEMBER.state()[0] == 503
    assert check.MEMBER.state()[0] == 200


def test_a_client_that_is_not_there(check: Any, database: Database) -> None:
    database.remove()
    assert check.MEMBER.state()[0] == 503
    database.install()
    assert check.MEMBER.state()[0] == 200


def test_an_answer_counts_for_a_moment(check: Any, database: Database) -> None:
    """Each of several load balancers asks; the database is asked once."""
    assert check.MEMBER.state()[0] == 200
    check.FRESH = 3600
    database.says(status(2, "ON"))
    assert check.MEMBER.state()[0] == 200
    check.FRESH = -1
    assert check.MEMBER.state()[0] == 503


def test_it_is_told_over_http(check: Any, database: Database) -> None:
    server = check.Server(("127.0.0.1", 0), check.Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:

        def ask(method: str) -> tuple[int, str]:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            connection.request(method, "/")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

        assert ask("GET") == (200, "synced\n")
        database.says(status(2, "ON"))
        for method in ("GET", "OPTIONS"):
            code, body = ask(method)
            assert (code, body.startswith("not synced: ")) == (503, True)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
