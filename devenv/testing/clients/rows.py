"""Writes rows through the virtual IP, and reads them back there and on every member.

The driver is PyMySQL, which OpenStack's own services use: what breaks it would break them.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from devenv.core.errors import DevenvError, WaitTimeout
from devenv.core.wait import NotYet, wait_until
from devenv.testing.clients.base import Client, words
from devenv.testing.history import Failed, History

DATABASE = "devenv_evidence"
TABLE = f"{DATABASE}.written"
READ_EVERY = 10  # steps
CONNECT, ANSWER, SCHEMA = 1, 3, 30  # seconds

#: Errors after which the row surely is not there (mariadb.com/docs, error codes).
NOT_WRITTEN = {
    1044: "no access to the database",
    1045: "no access",
    1047: "the member is not in the primary component, so it executed nothing",
    1049: "no such database",
    1142: "no access to the table",
    1146: "no such table",
    1205: "waited too long for a lock; an autocommitted statement is rolled back",
    1213: "deadlock or failed certification: rolled back",
    1290: "read-only",
    1836: "read-only",
    # The driver's own: it could not hand the whole statement to the kernel, and a server executes
    # no half. What was handed over and not answered is 2013.
    2006: "gone away before the statement was sent",
}
# Not among them is 1180 (error during commit): a member that loses the others while a write is
# being certified answers so, and the others may have received that write (wsrep-lib,
# transaction.cpp, error_connection_failed).

INSERT = f"INSERT INTO {TABLE} (value) VALUES (%s)"  # noqa: S608
SELECT = f"SELECT value FROM {TABLE} ORDER BY id"  # noqa: S608

#: All values by member; None for one that gave no answer.
Finals = dict[str, list[int] | None]
#: pymysql.connect, or what stands in for it.
Connect = Callable[..., Any]


class Rows(Client):
    """Inserts 1, 2, 3, ... with autocommit, each at most once, and reads all of them back.

    :param host: where to write, usually the virtual IP.
    :param interval: seconds between two inserts; every tenth is followed by a read.
    """

    name = "rows"
    kinds = ("write", "read")

    def __init__(
        self,
        host: str,
        user: str,
        password: str,
        *,
        port: int = 3306,
        interval: float = 0.05,
        connect: Connect | None = None,
    ) -> None:
        self.interval = interval
        self._host = host
        self._login = {"user": user, "password": password, "port": port}
        self._connect = connect or _pymysql
        self._connection: Any = None
        self._values = itertools.count(1)
        #: Why a member gave no answer to :meth:`final`, by node name.
        self.unread: dict[str, str] = {}

    def open(self) -> None:
        """Same as :meth:`prepare`."""
        self.prepare()

    def prepare(self) -> None:
        """Make the database and an empty table.

        The key is not on the value, so that a row written twice can be seen. There must be one:
        Galera certifies rows by their primary key.

        :raises DevenvError: when the database refuses.
        """
        self._schema(
            f"CREATE DATABASE IF NOT EXISTS {DATABASE}",
            f"DROP TABLE IF EXISTS {TABLE}",
            f"CREATE TABLE {TABLE} (id BIGINT AUTO_INCREMENT PRIMARY KEY, value BIGINT NOT NULL)"
            " ENGINE=InnoDB",
        )

    def drop(self) -> None:
        """Remove the database.

        :raises DevenvError: when it cannot be removed.
        """
        self._schema(f"DROP DATABASE IF EXISTS {DATABASE}")

    def step(self, history: History) -> None:
        value = next(self._values)
        with history.operation(self.name, "write", value):
            self._write(value)
        if value % READ_EVERY == 0:
            with history.operation(self.name, "read") as answer:
                answer.result = self._read()

    def close(self) -> None:
        """Close the connection. The rows stay for the judge until :meth:`drop`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    def final(self, addresses: Mapping[str, str], timeout: float = 60) -> Finals:
        """All values on every member, read directly there, in the order of their ids.

        Each member first catches up with what its group has agreed on (``wsrep_sync_wait``), so
        two that differ are apart and not merely late.

        :param addresses: by node name.
        :param timeout: seconds in which a member may answer; all are asked at the same time.
        """
        self.unread.clear()
        with ThreadPoolExecutor(max(1, len(addresses))) as pool:
            found = pool.map(lambda one: self._member(one[0], one[1], timeout), addresses.items())
            return dict(zip(addresses, found, strict=True))

    # -- one statement -----------------------------------------------------------------

    def _write(self, value: int) -> None:
        connection = self._ready()
        try:
            _execute(connection, INSERT, value)
        except Exception as error:
            self.close()
            if _code(error) in NOT_WRITTEN:
                raise Failed(words(error)) from error
            raise

    def _read(self) -> list[int]:
        connection = self._ready()
        try:
            return _select(connection)
        except Exception as error:
            self.close()
            raise Failed(words(error)) from error  # A read that failed changed nothing.

    def _member(self, node: str, address: str, timeout: float) -> list[int] | None:
        from pymysql.err import MySQLError

        def values() -> list[int]:
            try:
                connection = self._open(address, ANSWER)
                try:
                    _execute(connection, "SET SESSION wsrep_sync_wait = 1")
                    return _select(connection)
                finally:
                    connection.close()
            except (MySQLError, OSError) as error:
                raise NotYet(words(error)) from error

        try:
            return wait_until(
                values, what=f"rows from {address}", timeout=timeout, interval=0.5, node=node
            )
        except WaitTimeout as error:
            self.unread[node] = str(error)
            return None

    def _ready(self) -> Any:
        if self._connection is None:
            try:
                self._connection = self._open(self._host, ANSWER)
            except Exception as error:
                raise Failed(words(error)) from error  # Nothing was sent yet.
        return self._connection

    def _open(self, host: str, timeout: float) -> Any:
        return self._connect(
            host=host,
            autocommit=True,
            connect_timeout=CONNECT,
            read_timeout=timeout,
            write_timeout=timeout,
            **self._login,
        )

    def _schema(self, *statements: str) -> None:
        try:
            connection = self._open(self._host, SCHEMA)
            try:
                for statement in statements:
                    _execute(connection, statement)
            finally:
                connection.close()
        except Exception as error:
            raise DevenvError(
                f"could not change the database {DATABASE} through {self._host}",
                detail=words(error),
                remedy="look at `devenv status`: is the database there?",
            ) from error


def _pymysql(**arguments: Any) -> Any:
    import pymysql

    return pymysql.connect(**arguments)


def _execute(connection: Any, statement: str, *values: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def _select(connection: Any) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(SELECT)
        return [int(value) for (value,) in cursor.fetchall()]


def _code(error: Exception) -> object:
    return error.args[0] if error.args else None
