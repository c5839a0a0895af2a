"""Synced database schemas, kept and restored: a restore takes a tenth of the time of a sync.

A dump is keyed by the hash of the image that made it and of the database server's, so a stale one
is never found. It is taken only from a database that was empty before the sync, and restored only
into an empty one: it never holds anybody's data, nor a secret (cell mappings are templates).
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

from devenv.core import paths
from devenv.core.errors import DeployError
from devenv.core.hashing import digest
from devenv.nodes.connection import Connection

_CLIENT = "--defaults-file=/var/lib/mysql-client.cnf"
_SERVER = "mariadb"
#: A table that is there while a dump is being loaded.
_RESTORING = "devenv_restoring"


class Schemas:
    """The dumps on this machine, for the databases behind one connection."""

    def __init__(self, connection: Connection, server_recipe: str) -> None:
        self._connection = connection
        self._server_recipe = server_recipe

    def path(self, recipe: str, names: list[str]) -> Path:
        """Where the dump of `names` as image `recipe` syncs them is, or would be."""
        key = digest(recipe, self._server_recipe, names)
        return paths.cache() / "schemas" / f"{'-'.join(names[:1])}-{key}.sql.gz"

    def is_empty(self, names: list[str]) -> bool:
        """Whether the databases have no table, or only those of a restore that was killed."""
        listed = ", ".join(f"'{name}'" for name in names)
        query = (
            "SELECT COUNT(*) = 0 OR COALESCE(SUM(table_name = '" + _RESTORING + "'), 0) > 0 "
            f"FROM information_schema.tables WHERE table_schema IN ({listed})"
        )
        out = self._run(["mariadb", _CLIENT, "--batch", "--skip-column-names", "--execute", query])
        return out.strip() == b"1"

    def restore(self, path: Path, names: list[str]) -> None:
        """Load a dump. Each table is dropped before it is made, so that it can be done again."""
        mark = f"`{names[0]}`.`{_RESTORING}`"
        data = b"".join(
            (
                f"CREATE TABLE IF NOT EXISTS {mark} (x INT);\n".encode(),
                gzip.decompress(path.read_bytes()),
                f"\nDROP TABLE {mark};\n".encode(),
            )
        )
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            entry = tarfile.TarInfo(path.stem)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
        container = self._connection.docker.containers.get(_SERVER)
        container.put_archive("/var/tmp", buffer.getvalue())  # noqa: S108 - inside the container
        target = f"/var/tmp/{path.stem}"  # noqa: S108
        try:
            self._run(["bash", "-c", f"mariadb {_CLIENT} < {target}"])
        finally:
            container.exec_run(["rm", "-f", target], user="root")

    def save(self, path: Path, names: list[str]) -> None:
        """Dump `names` to `path`, at once or not at all."""
        data = self._run(
            ["mariadb-dump", _CLIENT, "--no-create-db", "--skip-comments", "--databases", *names]
        )
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(gzip.compress(data, mtime=0))
        fresh.replace(path)

    def _run(self, command: list[str]) -> bytes:
        container = self._connection.docker.containers.get(_SERVER)
        code, (out, err) = container.exec_run(command, demux=True)
        if code != 0:
            raise DeployError(
                f"`{command[0]}` in {_SERVER} exited with {code}",
                node=self._connection.node.name,
                detail=(err or b"").decode(errors="replace"),
            )
        return out or b""
