"""Which image a service runs on, and how it comes to the node."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from devenv.core import labels
from devenv.core.errors import BuildError
from devenv.core.events import Events
from devenv.deploy.delivery import Delivery, Image, choose
from devenv.images.store import Store, StoredImage, Stores, load
from devenv.nodes.connection import Connection
from devenv.services.catalogue import catalogue, cookbook

SERVICES = [catalogue()[name] for name in ("nova", "glance", "mariadb")]
RECIPES = cookbook(SERVICES, "2026.1")
STOCK = choose(SERVICES, RECIPES, {})


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "setup.py").write_text("import setuptools")
    (tmp_path / "nova.py").write_text("answer = 42")
    return tmp_path


def test_stock_images() -> None:
    used = {spec.image for service in SERVICES for spec in service.containers.values()}
    assert STOCK.keys() == used
    for name, image in STOCK.items():
        assert image == Image(f"devenv/{name}:2026.1", RECIPES.hash(name), image.reference)


def test_a_checkout_layers_its_services_images_and_no_other(checkout: Path) -> None:
    chosen = choose(SERVICES, RECIPES, {"nova": checkout})
    nova = set(catalogue()["nova"].images)
    for name, image in chosen.items():
        if name not in nova:
            assert image == STOCK[name]
            continue
        assert image.source is not None and image.source.distribution == "nova"
        assert image.stock == STOCK[name].reference
        assert image.recipe != STOCK[name].recipe
        assert image.reference == f"{image.stock}-{image.recipe[:8]}"
    assert len({chosen[name].recipe for name in nova}) == len(nova)


def test_the_layers_hash_follows_the_checkout(checkout: Path) -> None:
    before = choose(SERVICES, RECIPES, {"nova": checkout})["nova-api"]
    assert choose(SERVICES, RECIPES, {"nova": checkout})["nova-api"].recipe == before.recipe
    (checkout / "nova.py").write_text("answer = 43")
    after = choose(SERVICES, RECIPES, {"nova": checkout})["nova-api"]
    assert after.recipe != before.recipe
    assert after.reference != before.reference


@pytest.mark.parametrize("order", [1, -1])
def test_a_borrowed_image_is_layered_whoever_comes_first(checkout: Path, order: int) -> None:
    """A service that runs on another's image gets that one's layer."""
    nova = catalogue()["nova"]
    spec = nova.containers["nova_api"]
    guest = nova.model_copy(update={"name": "guest", "images": [], "containers": {"guest": spec}})
    chosen = choose([nova, guest][::order], RECIPES, {"nova": checkout})
    assert chosen["nova-api"].source is not None
    # A checkout of the one that borrows is no reason to change what it borrows.
    chosen = choose([nova, guest][::order], RECIPES, {"guest": checkout})
    assert chosen["nova-api"].source is None


class Api:
    """A node's engine: has images, loads images, builds images."""

    base_url, api_version = "http+docker://x", "1.41"

    def __init__(self, present: dict[str, str]) -> None:
        self.present = present
        self.loaded: list[str] = []
        self.built: list[tuple[str, str, list[str]]] = []

    def images(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = [
            {"RepoTags": [reference], "Labels": {labels.RECIPE: recipe}}
            for reference, recipe in self.present.items()
        ]
        # What an engine also lists: images without labels, and without a name.
        return [*entries, {"RepoTags": ["other:1"], "Labels": None}, {"RepoTags": None}]

    def get(self, url: str, params: dict[str, Any], stream: bool) -> Any:
        assert stream and url.endswith("/images/get")
        names = ",".join(params["names"]).encode()
        return SimpleNamespace(raise_for_status=lambda: None, iter_content=lambda size: [names])

    #: What the engine says at the end of a load.
    ending: dict[str, str] = {"stream": "Loaded"}  # noqa: RUF012

    def load_image(self, chunks: Any, quiet: bool) -> Iterator[dict[str, str]]:
        # As the engine: nothing is loaded before its answer is read to the end.
        self.loaded += b"".join(chunks).decode().split(",")
        yield self.ending

    def build(self, fileobj: Any, tag: str, labels: dict[str, str], **_: Any) -> Iterator[Any]:
        with tarfile.open(fileobj=io.BytesIO(fileobj.read())) as archive:
            self.built.append((tag, labels["devenv.recipe"], archive.getnames()))
        return iter([{"aux": {"ID": "sha256:x"}}])


class Node:
    """Stands for the connection to a node."""

    def __init__(self, present: dict[str, str]) -> None:
        self.api = Api(present)
        self.docker = self
        self.node = SimpleNamespace(name="n")


class FakeStores:
    """Counts how often the store's engine is started: that takes seconds."""

    started = 0

    @contextmanager
    def builder(self, volume: str) -> Iterator[Node]:
        self.started += 1
        assert volume == "store"
        yield Node({})


def ensure(images: dict[str, Image], wanted: dict[str, set[str]], **nodes: Node) -> FakeStores:
    stored = {
        name: StoredImage(name, image.stock, RECIPES.hash(name), "sha256:1", 1)
        for name, image in images.items()
    }
    stores = FakeStores()
    delivery = Delivery(cast(Stores, stores), Store("store", stored, 1), Events())
    delivery.ensure(wanted, images, cast(dict[str, Connection], nodes))
    return stores


def has(*names: str) -> dict[str, str]:
    return {STOCK[name].reference: STOCK[name].recipe for name in names}


def test_what_is_there_is_left() -> None:
    node = Node(has("nova-api", "glance-api"))
    stores = ensure(STOCK, {"n": {"nova-api", "glance-api"}}, n=node)
    assert (node.api.loaded, node.api.built, stores.started) == ([], [], 0)


def test_what_a_node_lacks_is_handed_over_in_one_stream() -> None:
    """Missing, or there with another recipe; and only what this node needs."""
    first = Node({**has("glance-api"), STOCK["nova-api"].reference: "older"})
    second = Node({})
    wanted = {"a": {"nova-api", "glance-api", "nova-compute"}, "b": {"mariadb-server"}}
    stores = ensure(STOCK, wanted, a=first, b=second)
    assert set(first.api.loaded) == {STOCK[n].reference for n in ("nova-api", "nova-compute")}
    assert second.api.loaded == [STOCK["mariadb-server"].reference]
    assert stores.started == 1


def test_a_layer_is_built_on_the_node(checkout: Path) -> None:
    images = choose(SERVICES, RECIPES, {"nova": checkout})
    node = Node(has("nova-api"))
    stores = ensure(images, {"n": {"nova-api"}}, n=node)
    ((tag, recipe, files),) = node.api.built
    assert (tag, recipe) == (images["nova-api"].reference, images["nova-api"].recipe)
    assert {"Dockerfile", "src/setup.py", "src/nova.py"} <= set(files)
    assert stores.started == 0
    node.api.present[tag] = recipe
    node.api.built.clear()
    ensure(images, {"n": {"nova-api"}}, n=node)
    assert node.api.built == []


def test_a_layers_stock_image_is_handed_over_first(checkout: Path) -> None:
    images = choose(SERVICES, RECIPES, {"nova": checkout})
    node = Node({})
    ensure(images, {"n": {"nova-api"}}, n=node)
    assert node.api.loaded == [STOCK["nova-api"].reference]
    assert len(node.api.built) == 1


def test_a_load_that_the_engine_refuses_is_an_error() -> None:
    class Full:
        def load_image(self, chunks: Any, quiet: bool) -> Iterator[dict[str, str]]:
            yield {"stream": "Loading layer"}
            yield {"error": "no space left on device"}

    with pytest.raises(BuildError, match="no space left"):
        load(SimpleNamespace(api=Full()), [b"x"])
