"""The box that machines are made of: devenv's own, or one that Vagrant has or finds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devenv.core.errors import HostError, InputError
from devenv.core.events import Events
from devenv.host.capabilities import Privileges
from devenv.host.engine import connect
from devenv.images.store import Store, Stores
from devenv.providers import vagrant_tools
from devenv.providers.vagrant_project import parse
from devenv.topology.load import LoadedTopology

#: A box from elsewhere is a download of hundreds of megabytes.
_DOWNLOAD = 3600.0


@dataclass(frozen=True)
class Chosen:
    """A box that Vagrant has."""

    name: str
    version: str | None


def ensure(
    wanted: LoadedTopology,
    store: Store,
    provider: str,
    privileges: Callable[[], Privileges],
    events: Events,
) -> Chosen:
    """The box of `wanted`, added to Vagrant if it has not got it.

    :param provider: Vagrant's word for what runs the machines.
    :param privileges: what this machine's engine grants to containers, which build the own box.
    :raises InputError: when there is no such box.
    :raises HostError: when Vagrant refuses it.
    """
    asked = wanted.topology.vagrant
    if asked.box is None:
        return _own(wanted, store, provider, privileges, events)
    chosen = Chosen(asked.box, asked.box_version)
    if not _has(chosen, provider):
        with events.step(asked.box, type="image", why="Vagrant has no such box"):
            command = ["vagrant", "box", "add", "--provider", provider, asked.box]
            version = ["--box-version", asked.box_version] if asked.box_version else []
            done = vagrant_tools.run([*command, *version], timeout=_DOWNLOAD)
            if done.code != 0:
                raise InputError(
                    f"{wanted.where('vagrant', 'box')}: the box {asked.box!r} is not to be had",
                    detail=done.said,
                    remedy="vagrant box list; without `box:` devenv builds one itself",
                )
    return chosen


def _own(
    wanted: LoadedTopology,
    store: Store,
    provider: str,
    privileges: Callable[[], Privileges],
    events: Events,
) -> Chosen:
    if provider != "libvirt":
        raise InputError(
            f"{wanted.where('vagrant')}: the box that devenv builds is for libvirt only",
            remedy="name a box for VirtualBox: `vagrant: {box: debian/bookworm64}`",
        )
    from devenv.images import box

    found = box.find(store)
    chosen = Chosen(found.name, found.version)
    if not _has(chosen, provider):
        client = connect(timeout=600)
        made = box.ensure_box(client, Stores(client, privileges, events), store, events)
        with events.step(made.name, type="image", why="Vagrant has no such box"):
            _add(made.name, made.version, made.file, provider)
    return chosen


def _add(name: str, version: str, file: Path, provider: str) -> None:
    """Through a catalogue's JSON: a plain file has no version."""
    entry = {"name": provider, "url": file.absolute().as_uri()}
    catalogue = {"name": name, "versions": [{"version": version, "providers": [entry]}]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "box.json"
        path.write_text(json.dumps(catalogue))
        command = ["vagrant", "box", "add", "--force", "--provider", provider, str(path)]
        done = vagrant_tools.run(command, timeout=_DOWNLOAD)
    if done.code != 0:
        raise HostError(f"Vagrant refused the box {file}", detail=done.said)


def _has(chosen: Chosen, provider: str) -> bool:
    done = vagrant_tools.run(["vagrant", "--machine-readable", "box", "list"])
    found: list[dict[str, str]] = []
    for message in filter(None, map(parse, done.out.splitlines())):
        if message.kind == "box-name":
            found.append({})
        if found and message.kind.startswith("box-") and message.data:
            found[-1][message.kind] = message.data[0]
    return any(
        box["box-name"] == chosen.name
        and box.get("box-provider") == provider
        and chosen.version in (None, box.get("box-version"))
        for box in found
    )
