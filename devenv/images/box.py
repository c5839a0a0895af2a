"""A Vagrant box for libvirt: a disk with Docker and the images that a topology's services run on.

The format is vagrant-libvirt's: a tar of ``metadata.json``, ``Vagrantfile`` and ``box.img``
(vagrant-libvirt.github.io, "Create Box").
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devenv.core import paths
from devenv.core.events import Events
from devenv.images import disk
from devenv.images.store import Store, Stores

if TYPE_CHECKING:
    from docker import DockerClient

NAME = "devenv/node"
#: Boxes that are kept: whoever goes back to another topology does not wait.
KEPT = 2
_METADATA = {"provider": "libvirt", "format": "qcow2", "virtual_size": disk.SIZE}
_VAGRANTFILE = """Vagrant.configure("2") do |config|
  config.vm.synced_folder ".", "/vagrant", disabled: true
end
"""


@dataclass(frozen=True)
class Box:
    """A box as ``vagrant box add`` takes it.

    :param version: what went into it, as a version that Vagrant accepts; another one where
        anything differs.
    """

    name: str
    version: str
    file: Path


def folder() -> Path:
    """Where boxes are kept."""
    return paths.cache() / "boxes"


def find(store: Store) -> Box:
    """The box for the images of `store`, built or not."""
    # Vagrant wants numbers (Gem::Version); 12 digits of a hash are one.
    version = f"0.{int(disk.contents(store), 16) % 10**12}.0"
    return Box(NAME, version, folder() / f"{version}.box")


def ensure_box(client: DockerClient, stores: Stores, store: Store, events: Events) -> Box:
    """The box for the images of `store`, built if it is not there.

    :raises BuildError: when it cannot be built.
    """
    box = find(store)
    if box.file.exists():
        return box
    folder().mkdir(parents=True, exist_ok=True)
    with disk.alone():
        if not box.file.exists():
            _clear()
            image = box.file.with_suffix(".qcow2")
            disk.make_disk(client, stores, store, image, events)
            with events.step(f"box {box.version}", type="image", why=f"{box.name} for Vagrant"):
                _pack(box, image)
    return box


def _clear() -> None:
    """Remove what a killed process left half made, and all but the newest boxes."""
    boxes = sorted(folder().glob("*.box"), key=lambda file: file.stat().st_mtime)
    kept = boxes[-(KEPT - 1) :]
    for file in folder().iterdir():
        if file not in kept:
            file.unlink()


def _pack(box: Box, image: Path) -> None:
    """Write the box, which is there all at once; `image` goes."""
    new = box.file.with_suffix(".new")
    with tarfile.open(new, "w") as archive:
        for name, text in (("metadata.json", json.dumps(_METADATA)), ("Vagrantfile", _VAGRANTFILE)):
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
        archive.add(image, "box.img")
    image.unlink()
    new.replace(box.file)
