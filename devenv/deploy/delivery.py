"""Has the images that a node runs on that node: stock ones from a store, checkouts as a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devenv.core.events import Events
from devenv.core.parallel import Step, run_steps
from devenv.images.build import build_context
from devenv.images.recipe import Cookbook
from devenv.images.source import Source
from devenv.images.store import Store, Stores, load, locked, present
from devenv.nodes.connection import Connection
from devenv.services.model import Service


@dataclass(frozen=True)
class Image:
    """An image that a service runs on.

    :param stock: the reference that it is, or is a layer over.
    :param recipe: the hash that it must carry.
    """

    reference: str
    recipe: str
    stock: str
    source: Source | None = None


def choose(
    services: Sequence[Service], cookbook: Cookbook, sources: Mapping[str, Path]
) -> dict[str, Image]:
    """The image behind each of Kolla's names, with checkouts where there are any."""
    chosen: dict[str, Image] = {}
    for service in services:
        source = Source(service.pypi, sources[service.name]) if service.name in sources else None
        for name in {spec.image for spec in service.containers.values()}:
            stock = cookbook.recipes[name].reference
            recipe = cookbook.hash(name)
            if source and name in service.images:
                layered = source.hash(recipe)
                chosen[name] = Image(f"{stock}-{layered[:8]}", layered, stock, source)
            else:
                chosen.setdefault(name, Image(stock, recipe, stock))
    return chosen


class Delivery:
    """Brings images to nodes."""

    def __init__(self, stores: Stores, store: Store, events: Events) -> None:
        self._stores = stores
        self._store = store
        self._events = events

    def ensure(
        self,
        wanted: Mapping[str, set[str]],
        images: Mapping[str, Image],
        connections: Mapping[str, Connection],
    ) -> None:
        """Have on each node the images it needs.

        :param wanted: node name to image names.
        """
        stock: dict[str, set[str]] = {}
        layers: list[Step] = []
        for node, names in wanted.items():
            has = present(connections[node].docker)
            for name in sorted(names):
                image = images[name]
                if has.get(image.reference) == image.recipe:
                    continue
                kept = self._store.images[name]
                if has.get(image.stock) != kept.recipe:
                    stock.setdefault(node, set()).add(image.stock)
                if image.source:
                    layers.append(self._layer(connections[node], image))
        if stock:
            self._hand_over(stock, connections)
        run_steps(layers, self._events, workers=2)

    def _layer(self, connection: Connection, image: Image) -> Step:
        source = image.source
        assert source is not None
        node = connection.node.name

        def run() -> None:
            build_context(
                connection.docker, source.context(image.stock), image.reference, image.recipe
            )

        return Step(
            f"{node}/{image.reference}",
            image.reference,
            "image",
            node,
            f"a layer with {source.folder}",
            run,
        )

    def _hand_over(
        self, wanted: Mapping[str, set[str]], connections: Mapping[str, Connection]
    ) -> None:
        """Save and load for nodes that are older than the store: all images of a node in one
        stream, since each layer is in it once."""
        with locked(), self._stores.builder(self._store.volume) as builder:
            api = builder.docker.api
            for node, references in wanted.items():
                why = f"the node has others of {len(references)}"
                with self._events.step("images", node=node, type="image", why=why):
                    answer = api.get(
                        f"{api.base_url}/v{api.api_version}/images/get",
                        params={"names": sorted(references)}, stream=True,
                    )  # fmt: skip
                    answer.raise_for_status()
                    load(connections[node].docker, answer.iter_content(2**20))
