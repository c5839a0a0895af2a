from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pymysql.err
import pytest

from devenv.core.errors import DevenvError
from devenv.testing.clients.rows import Rows
from devenv.testing.history import History, Operation


def lost(message: str = "Lost connection to MySQL server during query") -> Exception:
    return pymysql.err.OperationalError(2013, message)


class Database:
    """What a member has, and what its next statements do; stands in for pymysql.connect."""

    def __init__(self, *rows: int) -> None:
        self.rows = list(rows)
        self.script: list[Exception | None] = []
        self.refusals: list[Exception] = []
        self.statements: list[str] = []
        self.connections: list[dict[str, Any]] = []

    def connect(self, **arguments: Any) -> Connection:
        self.connections.append(arguments)
        if self.refusals:
            raise self.refusals.pop(0)
        return Connection(self)


class Connection:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.closed = False

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def cursor(self) -> Connection:
        return self

    def execute(self, statement: str, values: tuple[int, ...] = ()) -> None:
        assert not self.closed, "used after an error"
        self.database.statements.append(statement)
        trouble = self.database.script.pop(0) if self.database.script else None
        if trouble:
            raise trouble
        if statement.startswith("INSERT"):
            self.database.rows += values

    def fetchall(self) -> list[tuple[int]]:
        return [(value,) for value in self.database.rows]

    def close(self) -> None:
        self.closed = True


def client(database: Database) -> Rows:
    return Rows("192.0.2.1", "root", "secret", connect=database.connect)


def steps(rows: Rows, count: int) -> list[Operation]:
    history = History()
    for _ in range(count):
        rows.step(history)
    return history.operations


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        (pymysql.err.OperationalError(1047, "WSREP has not yet prepared node"), "failed"),
        (pymysql.err.OperationalError(1205, "Lock wait timeout exceeded"), "failed"),
        (pymysql.err.OperationalError(1213, "Deadlock found"), "failed"),
        (pymysql.err.OperationalError(1290, "running with --read-only"), "failed"),
        (pymysql.err.ProgrammingError(1146, "Table doesn't exist"), "failed"),
        (pymysql.err.OperationalError(2006, "MySQL server has gone away"), "failed"),
        (lost(), "info"),
        (lost("Lost connection to MySQL server during query (timed out)"), "info"),
        (pymysql.err.OperationalError(1180, "Got error 6 during COMMIT"), "info"),
        (pymysql.err.OperationalError(1927, "Connection was killed"), "info"),
        (pymysql.err.OperationalError(1053, "Server shutdown in progress"), "info"),
        (pymysql.err.InternalError("Packet sequence number wrong"), "info"),
        (struct.error("unpack requires a buffer"), "info"),
    ],
)
def test_what_is_known_of_a_write_after_an_error(trouble: Exception, outcome: str) -> None:
    database = Database()
    database.script = [trouble]
    first, second = steps(client(database), 2)
    assert (first.kind, first.value, first.outcome) == ("write", 1, outcome)
    assert str(trouble.args[0]) in first.error
    assert (second.value, second.outcome) == (2, "ok")
    assert database.rows == [2]
    assert len(database.connections) == 2  # A connection with an error is not used again.


def test_no_connection_is_no_write() -> None:
    database = Database()
    database.refusals = [pymysql.err.OperationalError(2003, "Can't connect"), lost()]
    found = steps(client(database), 3)
    assert [one.outcome for one in found] == ["failed", "failed", "ok"]
    assert database.rows == [3]


def test_a_value_is_written_once_at_most_whatever_happens() -> None:
    database = Database()
    database.script = [lost(), None, pymysql.err.OperationalError(1213, "Deadlock"), None, lost()]
    values = [one.value for one in steps(client(database), 9)]
    assert values == list(range(1, 10))
    assert database.rows == [2, 4, 6, 7, 8, 9]


def test_every_tenth_step_reads_all_values() -> None:
    database = Database()
    found = [one for one in steps(client(database), 20) if one.kind == "read"]
    assert [one.result for one in found] == [list(range(1, 11)), list(range(1, 21))]


def test_a_read_without_an_answer_failed() -> None:
    database = Database()
    database.script = [None] * 10 + [lost()]
    *_, read = steps(client(database), 10)
    assert (read.kind, read.outcome, read.result) == ("read", "failed", None)


def test_it_does_not_wait_for_long() -> None:
    database = Database()
    steps(client(database), 1)
    (arguments,) = database.connections
    assert arguments["host"] == "192.0.2.1"
    assert arguments["autocommit"] is True
    assert [arguments[f"{name}_timeout"] for name in ("connect", "read", "write")] == [1, 3, 3]


def test_the_table_has_a_key_that_is_not_on_the_value() -> None:
    database = Database()
    rows = client(database)
    rows.open()
    assert database.statements[-2] == "DROP TABLE IF EXISTS devenv_evidence.written"
    assert "id BIGINT AUTO_INCREMENT PRIMARY KEY, value BIGINT" in database.statements[-1]
    rows.close()
    assert "DROP DATABASE" not in "".join(database.statements)  # The judge still needs it.
    rows.drop()
    assert database.statements[-1] == "DROP DATABASE IF EXISTS devenv_evidence"


def test_a_database_that_refuses_is_an_error_before_anything_is_broken() -> None:
    database = Database()
    database.refusals = [pymysql.err.OperationalError(1045, "Access denied")]
    with pytest.raises(DevenvError, match=r"192\.0\.2\.1") as caught:
        client(database).open()
    assert "1045" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_in_the_end_every_member_tells_its_own_rows() -> None:
    members = {"192.0.2.11": Database(1, 2, 2), "192.0.2.12": Database(1)}
    members["192.0.2.12"].refusals = [lost()]  # It is asked again.

    def connect(host: str, **arguments: Any) -> Connection:
        return members[host].connect(**arguments)

    rows = Rows("192.0.2.1", "root", "secret", connect=connect)
    found = rows.final({"ctl1": "192.0.2.11", "ctl2": "192.0.2.12"}, timeout=20)
    assert found == {"ctl1": [1, 2, 2], "ctl2": [1]}
    assert members["192.0.2.12"].statements[0] == "SET SESSION wsrep_sync_wait = 1"


def test_a_member_without_an_answer_has_none() -> None:
    members = {"192.0.2.11": Database(1), "192.0.2.12": Database(1)}
    members["192.0.2.12"].refusals = [lost()] * 99

    def connect(host: str, **arguments: Any) -> Connection:
        return members[host].connect(**arguments)

    rows = Rows("192.0.2.1", "root", "secret", connect=connect)
    found = rows.final({"ctl1": "192.0.2.11", "ctl2": "192.0.2.12"}, timeout=0)
    assert found == {"ctl1": [1], "ctl2": None}
    assert rows.unread.keys() == {"ctl2"}
    assert "Lost connection" in rows.unread["ctl2"]


# -- with the real driver ------------------------------------------------------------------

OK = b"\x00\x00\x00\x02\x00\x00\x00"
GREETING = (
    b"\x0a5.5.5-11.8.0-MariaDB\0" + bytes(4) + b"saltsalt\0" + struct.pack("<H", 0xF7FF)
    + b"\x21" + struct.pack("<HHB", 2, 0x0008, 21) + bytes(10) + b"saltsaltsalt\0"
    + b"mysql_native_password\0"
)  # fmt: skip
#: What the server does when the INSERT comes.
Reaction = Callable[[socket.socket], None]


def send(tcp: socket.socket, payload: bytes, number: int = 1) -> None:
    tcp.sendall(struct.pack("<I", len(payload))[:3] + bytes([number]) + payload)


def receive(tcp: socket.socket) -> bytes:
    header = tcp.recv(4, socket.MSG_WAITALL)
    return tcp.recv(int.from_bytes(header[:3], "little"), socket.MSG_WAITALL)


def not_primary(tcp: socket.socket) -> None:
    send(tcp, b"\xff" + struct.pack("<H", 1047) + b"#08S01WSREP has not yet prepared node")


def hang_up(tcp: socket.socket) -> None:
    tcp.close()


def acknowledge(tcp: socket.socket) -> None:
    send(tcp, OK)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


def serve(server: socket.socket, reaction: Reaction) -> threading.Thread:
    def run() -> None:
        tcp, _ = server.accept()
        with closing(tcp):
            send(tcp, GREETING, 0)
            receive(tcp)
            send(tcp, OK, 2)
            while b"INSERT" not in receive(tcp):
                send(tcp, OK)
            reaction(tcp)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("reaction", "outcome", "error"),
    [
        (acknowledge, "ok", ""),
        (not_primary, "failed", "1047"),
        (hang_up, "info", "2013"),
    ],
)
def test_the_driver_tells_these_apart(
    server: socket.socket, reaction: Reaction, outcome: str, error: str
) -> None:
    thread = serve(server, reaction)
    rows = Rows("127.0.0.1", "root", "secret", port=server.getsockname()[1])
    (found,) = steps(rows, 1)
    thread.join(10)
    rows.close()
    assert found.outcome == outcome
    assert error in found.error


def test_nobody_listens(server: socket.socket) -> None:
    port = server.getsockname()[1]
    server.close()
    (found,) = steps(Rows("127.0.0.1", "root", "secret", port=port), 1)
    assert found.outcome == "failed"
    assert "2003" in found.error
