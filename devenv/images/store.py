"""The store: all service images of a topology in one volume that nodes get by hard links.

A volume ``devenv-images-HASH`` is a whole data folder of a Docker Engine that was shut down
cleanly; HASH is over the recipes of all images in it. It is built once, by an engine in a system
container that works on the volume itself, so nothing is ever copied between engines. A node's
own volume is a clone: layers are hard links, the rest is copied. A store that is complete has
a manifest, written last; a clone without it is refused, so a kill at any moment is harmless.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from devenv.core import labels, paths
from devenv.core.errors import BuildError, DevenvError, HostError
from devenv.core.events import Events
from devenv.core.hashing import digest
from devenv.core.parallel import Step, run_steps
from devenv.host.capabilities import Privileges
from devenv.images.base_image import ensure_base
from devenv.images.build import build
from devenv.images.recipe import BASE, NAMESPACE, Cookbook, Recipe
from devenv.nodes import container as system_container
from devenv.nodes.connection import Connection
from devenv.nodes.container import SystemContainer
from devenv.nodes.keys import key_pair
from devenv.nodes.node import ExternalLink, Node, SshTarget

if TYPE_CHECKING:
    from docker import DockerClient

PREFIX = "devenv-images-"
BUILDER = "devenv-builder"
MANIFEST = ".devenv-manifest.json"
#: Older stores that a new one leaves: whoever goes back to another checkout builds little.
KEPT = 2
NO_MANIFEST = 3  # exit code of a clone whose source is not complete

#: Clone a data folder: hard links for layers, copies for the rest, the marker last. The extended
#: attributes of folders carry overlayfs' opaque marks, hence -a.
_CLONE = f"""
set -eu
source=$1 target=$2 marker=$3
test -f "$source/{MANIFEST}" || exit {NO_MANIFEST}
test -f "$target/$marker" && exit 0
find "$target" -mindepth 1 -maxdepth 1 -exec rm -rf {{}} +
cp -al "$source/overlay2" "$target/overlay2"
for entry in $(ls -A "$source"); do
    case "$entry" in overlay2|.devenv-*) ;; *) cp -a "$source/$entry" "$target/$entry" ;; esac
done
touch "$target/$marker"
"""


@dataclass(frozen=True)
class StoredImage:
    """An image in the store.

    :param recipe: the hash of what it was built from.
    :param size: bytes with all layers, as the engine counts.
    """

    name: str
    reference: str
    recipe: str
    id: str
    size: int


@dataclass(frozen=True)
class Store:
    """A complete store: its volume and what is in it, by image name.

    :param disk: bytes of all layers, each counted once.
    """

    volume: str
    images: dict[str, StoredImage]
    disk: int


def node_recipe() -> Recipe:
    """The image of node containers."""
    from importlib.resources import as_file, files

    with as_file(files("devenv.images") / "node") as folder:
        return Recipe("node", "1", folder)


def ensure_node_image(client: DockerClient, events: Events) -> str:
    """Have the node image on this machine's engine; returns its reference."""
    return ensure_image(client, node_recipe(), "build the image of node containers", events)


def ensure_image(client: DockerClient, recipe: Recipe, why: str, events: Events) -> str:
    """Have the image of `recipe` on this machine's engine; its reference carries the hash."""
    import docker.errors

    wanted = Cookbook([recipe]).hash(recipe.name)
    reference = f"{NAMESPACE}/{recipe.name}:{wanted}"
    with contextlib.suppress(docker.errors.ImageNotFound):
        client.images.get(reference)
        return reference
    ensure_base(client, events)
    with events.step(recipe.name, type="image", why=why):
        build(client, recipe, wanted, tag=reference)
    return reference


class Stores:
    """The stores on this machine's engine."""

    def __init__(
        self, client: DockerClient, privileges: Callable[[], Privileges], events: Events
    ) -> None:
        self._client = client
        self._privileges = privileges
        self._events = events

    def find(self, cookbook: Cookbook) -> str:
        """The name of the volume that holds exactly the images of `cookbook`, built or not."""
        return PREFIX + digest(cookbook.hashes())

    def ensure(self, cookbook: Cookbook) -> Store:
        """The store for `cookbook`, built if it is not there or not complete.

        :raises BuildError: when an image cannot be built; what was built before is kept.
        """
        name = self.find(cookbook)
        store = self.load(name)
        if store:
            return store
        with locked():
            return self.load(name) or self._build(cookbook, name)

    def load(self, volume: str) -> Store | None:
        """The store in `volume`, or None if there is none that is complete."""
        import docker.errors

        try:
            made = str(self._client.volumes.get(volume).attrs.get("CreatedAt", ""))
        except docker.errors.NotFound:
            return None
        # A store never changes once it is complete, so its manifest may be cached; a volume of
        # the same name that was made later is another store.
        path = paths.cache() / "stores" / f"{volume}-{digest(made)}.json"
        if path.exists():
            return _parse(volume, path.read_text())
        code, text = self.on_volumes(f"cat /volumes/{volume}/_data/{MANIFEST}")
        if code != 0:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return _parse(volume, text)

    def names(self) -> list[str]:
        """The volumes of all stores, newest first, complete or not."""
        volumes = self._client.volumes.list(filters={"label": f"{labels.CACHE}=images"})
        volumes.sort(key=lambda volume: str(volume.attrs.get("CreatedAt", "")), reverse=True)
        return [str(volume.name) for volume in volumes]

    def clone(self, store: str, volume: str, helper_labels: Mapping[str, str]) -> None:
        """Fill `volume` with a clone of `store`, unless it was cloned before.

        :param helper_labels: of the container that does it, so that a killed one is found.
        :raises BuildError: when the store is not complete.
        """
        with locked(shared=True):
            # Nobody builds: a builder that is there was left by a kill, and writes to a store.
            self._remove(BUILDER)
            self._clone(store, volume, helper_labels)

    def _clone(self, store: str, volume: str, helper_labels: Mapping[str, str]) -> None:
        script = f"set -- /volumes/{store}/_data /volumes/{volume}/_data .devenv-cloned\n{_CLONE}"
        code, text = self.on_volumes(script, f"{volume}-clone", helper_labels)
        if code == NO_MANIFEST:
            raise BuildError(
                f"the image store {store} is not complete", remedy="devenv images build"
            )
        if code != 0:
            raise HostError(f"the image store could not be cloned into {volume}", detail=text)

    def on_volumes(
        self, script: str, name: str | None = None, more_labels: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Run a shell script that sees all volumes of the engine below /volumes.

        :param name: of the container, so that one which a killed process left at the same work
            is stopped first.
        """
        if name:
            self._remove(name)
        root = self._client.info()["DockerRootDir"]
        container = self._client.containers.create(
            ensure_node_image(self._client, self._events),
            name=name,
            entrypoint=["sh", "-c", script],
            volumes=[f"{root}/volumes:/volumes"],
            cap_add=["SYS_ADMIN"],  # to keep overlayfs' trusted.* attributes
            network_mode="none",
            labels={labels.KIND: "helper", **(more_labels or {})},
        )
        try:
            container.start()
            code = int(container.wait(timeout=600)["StatusCode"])
            return code, container.logs().decode(errors="replace")
        finally:
            container.remove(force=True, v=True)

    def _build(self, cookbook: Cookbook, name: str) -> Store:
        ensure_base(self._client, self._events)
        self._remove(BUILDER)
        older = [volume for volume in self.names() if volume != name]
        volume = self._client.volumes.create(
            name, labels={labels.CACHE: "images", labels.RECIPE: name.removeprefix(PREFIX)}
        )
        for candidate in older:
            if self.load(candidate):
                with self._events.step("store", type="image", why=f"start from {candidate}"):
                    self._clone(candidate, name, {})
                break
        with self.builder(name) as builder:
            images = self._build_all(builder, cookbook)
            disk = builder.docker.df()["LayersSize"]
        manifest = json.dumps({"disk": disk, "images": [asdict(image) for image in images]})
        path = f"/volumes/{name}/_data/{MANIFEST}"
        code, text = self.on_volumes(
            f"cat > {path}.new <<'EOF'\n{manifest}\nEOF\nmv {path}.new {path}"
        )
        if code != 0:
            raise HostError("the image store's manifest could not be written", detail=text)
        for leftover in older[KEPT:]:
            with contextlib.suppress(Exception):
                self._client.volumes.get(leftover).remove()
        store = self.load(str(volume.name))
        if store is None:
            raise HostError(f"the image store {name} vanished while it was built")
        return store

    def _build_all(self, builder: Connection, cookbook: Cookbook) -> list[StoredImage]:
        """Build what differs; images of one folder one after the other, since they share stages."""
        if not builder.docker.images.list(BASE):
            with self._events.step("debian", type="image", why="hand the base to the builder"):
                load(builder.docker, self._client.images.get(BASE).save(named=BASE))
        built = present(builder.docker)
        groups: dict[str, list[Recipe]] = {}
        for recipe in cookbook.recipes.values():
            if built.get(recipe.reference) != cookbook.hash(recipe.name):
                groups.setdefault(str(recipe.folder), []).append(recipe)
        group_of = {recipe.name: key for key, group in groups.items() for recipe in group}

        def build_group(group: list[Recipe]) -> None:
            for recipe in group:
                build(builder.docker, recipe, cookbook.hash(recipe.name))

        steps = [
            Step(
                id=key,
                name=", ".join(recipe.name for recipe in group),
                type="image",
                node=None,
                why="not built yet, or its recipe changed",
                run=lambda group=group: build_group(group),  # type: ignore[misc]
                after=frozenset(
                    group_of[parent]
                    for recipe in group
                    for parent in recipe.parents
                    if parent in group_of
                ),
            )
            for key, group in groups.items()
        ]
        run_steps(steps, self._events, workers=2)
        builder.docker.images.prune(filters={"dangling": True})
        stored = []
        for recipe in cookbook.recipes.values():
            image = builder.docker.images.get(recipe.reference)
            stored.append(
                StoredImage(
                    recipe.name,
                    recipe.reference,
                    cookbook.hash(recipe.name),
                    str(image.id),
                    image.attrs["Size"],
                )
            )
        for reference in built.keys() - {recipe.reference for recipe in cookbook.recipes.values()}:
            if reference != BASE:
                with contextlib.suppress(Exception):
                    builder.docker.images.remove(reference)
        return stored

    @contextmanager
    def builder(self, volume: str) -> Iterator[Connection]:
        """An engine that works on `volume`, shut down cleanly at the end."""
        state = paths.cache() / "builder"
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        private, public = key_pair(state)
        wanted = SystemContainer(
            name=BUILDER,
            image=ensure_node_image(self._client, self._events),
            volume=volume,
            public_key=public,
            privileges=self._privileges(),
            labels={labels.KIND: "builder"},
        )
        with self._events.step(
            "builder", type="image", why="an engine of its own builds the images"
        ):
            container = system_container.create(self._client, wanted)
        try:
            key = system_container.host_key(container)
            container.reload()
            address = container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
            system_container.write_known_hosts(state / "known_hosts", {address: key})
            ssh = SshTarget(address, private, state / "known_hosts")
            node = Node(BUILDER, frozenset(), address, ExternalLink("", ""), ssh)
            connection = Connection(node, paths.sockets(BUILDER))
            try:
                connection.open()
                yield connection
            finally:
                connection.close()
            container.stop(timeout=30)
        finally:
            self._remove(BUILDER)

    def _remove(self, name: str) -> None:
        import docker.errors

        with contextlib.suppress(docker.errors.NotFound):
            self._client.containers.get(name).remove(force=True)


def present(client: DockerClient) -> dict[str, str]:
    """The recipe hash of each image that an engine has, by reference; one call."""
    found: dict[str, str] = {}
    for entry in client.api.images():
        recipe = (entry.get("Labels") or {}).get(labels.RECIPE, "")
        found |= dict.fromkeys(entry.get("RepoTags") or [], recipe)
    return found


def _parse(volume: str, text: str) -> Store | None:
    """The manifest's store; None if another version of devenv wrote it otherwise."""
    try:
        data = json.loads(text)
        images = [StoredImage(**entry) for entry in data["images"]]
        return Store(volume, {image.name: image for image in images}, data["disk"])
    except (ValueError, KeyError, TypeError):
        return None


def load(client: DockerClient, archive: Iterable[bytes]) -> None:
    """Load saved images into an engine, to the end.

    :raises BuildError: with the engine's words; it answers 200 before it knows.
    """
    for line in client.api.load_image(archive, quiet=False):
        if "error" in line:
            raise BuildError(f"an engine could not load images: {line['error']}")


@contextmanager
def locked(*, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Builders exclude each other, and clones of a store; the kernel drops a dead one's lock.

    :raises DevenvError: if somebody holds it and `wait` is false.
    """
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    with (paths.cache() / "builder.lock").open("w") as handle:
        try:
            fcntl.flock(handle, how)
        except BlockingIOError as error:
            raise DevenvError(
                "another devenv is building images", remedy="wait for it to end"
            ) from error
        yield
