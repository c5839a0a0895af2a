"""Kept schemas: which are found, and that none is half written."""

from __future__ import annotations

import gzip
import io
import sqlite3
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from devenv.core.errors import DeployError
from devenv.deploy.schemas import Schemas
from devenv.nodes.connection import Connection


class Database:
    """A container named mariadb that answers each command by its first word."""

    def __init__(self, **answers: tuple[int, bytes, bytes]) -> None:
        self.answers = answers
        self.commands: list[list[str]] = []
        self.archives: list[tuple[str, bytes]] = []

    def get(self, name: str) -> Database:
        assert name == "mariadb"
        return self

    def exec_run(self, command: list[str], **options: Any) -> Any:
        self.commands.append(command)
        code, out, err = self.answers.get(command[0].replace("-", "_"), (0, b"", b""))
        return (code, (out, err)) if options.get("demux") else (code, out)

    def put_archive(self, folder: str, data: bytes) -> None:
        self.archives.append((folder, data))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEVENV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def schemas(database: Database | None = None, server: str = "server1") -> Schemas:
    docker = SimpleNamespace(containers=database or Database())
    node = SimpleNamespace(name="ctl1")
    return Schemas(cast(Connection, SimpleNamespace(docker=docker, node=node)), server)


def test_a_stale_dump_is_never_found() -> None:
    """Whatever made a dump is part of its name: the image, the server, the databases."""
    kept = schemas().path("nova1", ["nova", "nova_api"])
    others = [
        schemas().path("nova2", ["nova", "nova_api"]),
        schemas(server="server2").path("nova1", ["nova", "nova_api"]),
        schemas().path("nova1", ["nova"]),
        schemas().path("nova1", ["nova_api", "nova"]),
        schemas().path("nova1", ["nova", "nova_cell0"]),
        # Nothing that is one part can be taken for a piece of another.
        schemas(server="1server1").path("nova", ["nova", "nova_api"]),
    ]
    assert len({kept, *others}) == len(others) + 1
    assert schemas().path("nova1", ["nova", "nova_api"]) == kept


def test_dumps_are_in_the_cache(cache: Path) -> None:
    path = schemas().path("nova1", ["nova"])
    assert path.parent == cache / "schemas"
    assert path.name.startswith("nova-") and path.name.endswith(".sql.gz")


@pytest.mark.parametrize(
    ("tables", "empty"),
    [
        ([], True),
        ([("keystone", "user")], True),
        ([("nova", "t")], False),
        ([("nova_api", "t")], False),
        # A restore that was killed: the table that marks it is still there.
        ([("nova", "t"), ("nova", "devenv_restoring")], True),
        ([("keystone", "devenv_restoring"), ("nova", "t")], False),
    ],
)
def test_is_empty(tables: list[tuple[str, str]], empty: bool) -> None:
    """The query itself, asked of a database that has a table like MariaDB's."""
    engine = sqlite3.connect(":memory:")
    engine.execute("ATTACH ':memory:' AS information_schema")
    engine.execute("CREATE TABLE information_schema.tables (table_schema TEXT, table_name TEXT)")
    engine.executemany("INSERT INTO information_schema.tables VALUES (?, ?)", tables)

    class Answering(Database):
        def exec_run(self, command: list[str], **options: Any) -> Any:
            ((answer,),) = engine.execute(command[-1]).fetchall()
            return 0, (f"{answer}\n".encode(), b"")

    assert schemas(Answering()).is_empty(["nova", "nova_api"]) is empty


def test_save_and_restore() -> None:
    database = Database(mariadb_dump=(0, b"CREATE TABLE t;", b""))
    path = schemas(database).path("nova1", ["nova", "nova_api"])
    schemas(database).save(path, ["nova", "nova_api"])
    assert gzip.decompress(path.read_bytes()) == b"CREATE TABLE t;"
    assert list(path.parent.iterdir()) == [path]
    assert database.commands[0][-3:] == ["--databases", "nova", "nova_api"]

    schemas(database).restore(path, ["nova", "nova_api"])
    ((folder, archive),) = database.archives
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        (entry,) = tar.getmembers()
        content = tar.extractfile(entry)
        assert content is not None
        begin, dump, end = content.read().splitlines()
    # The mark is there as long as the dump is not loaded to its end.
    assert begin == b"CREATE TABLE IF NOT EXISTS `nova`.`devenv_restoring` (x INT);"
    assert dump == b"CREATE TABLE t;"
    assert end == b"DROP TABLE `nova`.`devenv_restoring`;"
    assert f"< {folder}/{entry.name}" in database.commands[1][-1]
    assert database.commands[-1] == ["rm", "-f", f"{folder}/{entry.name}"]


def test_a_failed_dump_leaves_nothing() -> None:
    database = Database(mariadb_dump=(2, b"CREATE TAB", b"server has gone away"))
    path = schemas(database).path("nova1", ["nova"])
    with pytest.raises(DeployError, match="exited with 2") as caught:
        schemas(database).save(path, ["nova"])
    assert caught.value.node == "ctl1"
    assert caught.value.detail == "server has gone away"
    assert not path.exists()


def test_a_failed_restore_still_tidies_up() -> None:
    database = Database(mariadb_dump=(0, b"x", b""), bash=(1, b"", b"syntax error"))
    path = schemas(database).path("nova1", ["nova"])
    schemas(database).save(path, ["nova"])
    with pytest.raises(DeployError, match="exited with 1"):
        schemas(database).restore(path, ["nova", "nova_api"])
    assert database.commands[-1][:2] == ["rm", "-f"]
