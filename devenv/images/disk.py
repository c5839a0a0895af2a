"""A disk that boots as a node: Debian with Docker, SSH and the images that services run on.

Nothing is downloaded that is not a Debian package, no loop device is used, nothing is mounted, and
this machine needs no tool for it. All happens in containers: the system and what makes a disk of
it are an image (``devenv/images/machine``), the services' images come as hard links from the
store, and a helper puts both into a qcow2.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from devenv.core import labels, paths
from devenv.core.errors import BuildError
from devenv.core.events import Events
from devenv.core.hashing import digest
from devenv.images.recipe import Cookbook, Recipe
from devenv.images.store import Store, Stores, ensure_image, locked, present

if TYPE_CHECKING:
    from docker import DockerClient

#: GiB, as ``machine/build`` makes it; sparse.
SIZE = 20
#: Where the images are put together; only one disk is made at a time.
_VOLUME = "devenv-disk"
#: Seconds for the disk itself; tens are usual.
_TIMEOUT = 1800

#: An engine's folder is only a part of the volume: the rest is made beside it. Machines that start
#: as one must not all be the same engine.
_SCRIPT = """
set -eu
cd /volume
rm -rf .devenv-* docker tree engine-id
mkdir docker tree
for entry in $(ls -A); do case $entry in docker|tree) ;; *) mv "$entry" docker/ ;; esac; done
exec sh /usr/local/bin/build /volume/tree /volume/docker "/target/$1"
"""


def contents(store: Store) -> str:
    """A hash over all that goes into a disk with the images of `store`."""
    images = sorted(f"{one.reference}={one.recipe}" for one in store.images.values())
    with _recipe() as recipe:
        return digest(Cookbook([recipe]).hash(recipe.name), images)


@contextmanager
def alone() -> Iterator[None]:
    """One makes a disk at a time; the kernel drops the lock when the process dies."""
    with (paths.cache() / "disk.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def make_disk(
    client: DockerClient, stores: Stores, store: Store, target: Path, events: Events
) -> None:
    """Write `target`, a qcow2 with the images of `store`; it is there all at once or not.

    The caller holds the lock of :func:`alone`. The folder of `target` is seen by the engine.

    :raises BuildError: with the helper's last lines.
    """
    machine = _ensure_machine(client, events)
    _discard(client)
    # With this label `gc --cache` takes it away after a kill.
    client.volumes.create(_VOLUME, labels={labels.CACHE: "disk"})
    try:
        with events.step("images", type="image", why=f"{len(store.images)} go onto the disk"):
            stores.clone(store.volume, _VOLUME, {})
            _keep_only(stores, store)
        # Nobody else may take this for a leftover.
        with locked(shared=True), events.step("disk", type="image", why="system and images"):
            _run(client, machine, target)
    finally:
        _discard(client)


@contextmanager
def _recipe() -> Iterator[Recipe]:
    with as_file(files("devenv.images") / "machine") as folder:
        yield Recipe("machine", "1", folder)


def _ensure_machine(client: DockerClient, events: Events) -> str:
    """The image with the system and the tools."""
    with _recipe() as recipe:
        return ensure_image(client, recipe, "build the system of virtual machines", events)


def _keep_only(stores: Stores, store: Store) -> None:
    """Remove all images but those of `store` from the clone."""
    wanted = {one.reference for one in store.images.values()}
    with locked(), stores.builder(_VOLUME) as builder:
        for reference in sorted(present(builder.docker).keys() - wanted):
            builder.docker.images.remove(reference, force=True)
        builder.docker.images.prune(filters={"dangling": True})


def _run(client: DockerClient, machine: str, target: Path) -> None:
    container = client.containers.create(
        machine,
        name=_VOLUME,
        entrypoint=["sh", "-c", _SCRIPT, "build", target.name],
        # A volume is on a file system that keeps all attributes; a container's own is not.
        volumes=[f"{_VOLUME}:/volume", f"{target.parent}:/target"],
        cap_add=["SYS_ADMIN"],  # to keep overlayfs' trusted.* attributes
        network_mode="none",
        # Not a helper: those end within minutes. This one goes with the builders' lock.
        labels={labels.KIND: "builder"},
    )
    container.start()
    code = int(container.wait(timeout=_TIMEOUT)["StatusCode"])
    if code != 0:
        raise BuildError(
            f"the disk {target} could not be made (code {code})",
            detail=container.logs(tail=20).decode(errors="replace"),
            remedy="mend what the last lines name (is the disk of this machine full?), and again",
        )


def _discard(client: DockerClient) -> None:
    """Remove the volume, and first all containers that a killed process left on it."""
    import docker.errors

    for container in client.containers.list(all=True, filters={"volume": _VOLUME}):
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True, v=True)
    with contextlib.suppress(docker.errors.NotFound):
        client.volumes.get(_VOLUME).remove(force=True)
