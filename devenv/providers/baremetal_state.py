"""How this machine reaches its hosts: a file in the state folder, without a secret."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from devenv.core import paths
from devenv.providers.baremetal_lock import Member, Place, owner
from devenv.providers.baremetal_ssh import where
from devenv.providers.discover import Existing
from devenv.topology.machines import Host

_FILE = "hosts.json"
#: Seconds for a host to accept a connection, when somebody only wants to know if it is there.
_GLANCE = 0.5


class Known(BaseModel):
    """A host as this machine remembers it; it is asked whether that is still so.

    :param held: whether it was taken: a kill may have come before.
    """

    model_config = ConfigDict(frozen=True)

    host: Host
    member: Member
    held: bool = False


class Record(BaseModel):
    """The file's content.

    :param place: None before any host was taken.
    :param created: ISO 8601, UTC.
    :param cloud: in clouds.yaml, the one whose Ironic gave the hosts; empty if none did.
    """

    model_config = ConfigDict(frozen=True)

    created: str
    place: Place | None = None
    hosts: dict[str, Known] = Field(default_factory=dict)
    cloud: str = ""


def load(folder: Path) -> Record | None:
    """The record in a state folder; None if there is none."""
    try:
        return Record.model_validate_json((folder / _FILE).read_text())
    except (FileNotFoundError, ValidationError):
        return None


def save(folder: Path, record: Record | None) -> None:
    """Write the record, at once or not at all; None removes it."""
    file = folder / _FILE
    if record is None:
        file.unlink(missing_ok=True)
        return
    text = record.model_dump_json(indent=1)
    if not file.exists() or file.read_text() != text:
        new = file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(text)
        new.rename(file)


def existing() -> list[Existing]:
    """The environments on hosts that this user made from here, by name.

    Of the hosts it is only seen whether their SSH accepts a connection.
    """
    folder = paths.home() / "environments"
    found = {path.name: load(path) for path in sorted(folder.glob("*")) if path.is_dir()}
    return [_existing(name, record) for name, record in found.items() if record]


def _existing(name: str, record: Record) -> Existing:
    held = sorted(
        (known for known in record.hosts.values() if known.held),
        key=lambda known: known.member.order,
    )
    with ThreadPoolExecutor(max_workers=max(len(held), 1)) as pool:
        running = sum(pool.map(_listens, (known.host for known in held)))
    return Existing(
        name=name,
        provider="baremetal",
        topology=record.place.source if record.place else "",
        nodes=tuple(known.member.name for known in held),
        running=running,
        owner=owner(),
        created=record.created,
    )


def _listens(host: Host) -> bool:
    try:
        socket.create_connection((where(host), host.port), timeout=_GLANCE).close()
    except OSError:
        return False
    return True
