"""Which container on which node somebody means by a name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from devenv.core.errors import InputError
from devenv.deploy.actual import Actual, inspect
from devenv.nodes.connection import Connection
from devenv.nodes.node import Node
from devenv.providers.base import Inventory
from devenv.services.catalogue import catalogue


@dataclass(frozen=True)
class Place:
    """A container of ours on a node."""

    connection: Connection
    container: Actual

    @property
    def node(self) -> str:
        """The node's name."""
        return self.connection.node.name


def node_called(inventory: Inventory, name: str | None) -> Node:
    """The node `name`, or the only one.

    :raises InputError: when there is no such node, or several to choose from.
    """
    nodes = {node.name: node for node in inventory.nodes}
    if name is None and len(nodes) == 1:
        return inventory.nodes[0]
    if name in nodes:
        return nodes[name]
    what = f"there is no node {name!r}" if name else "there is more than one node"
    raise InputError(
        f"{what} in environment {inventory.environment!r}", remedy=f"nodes: {', '.join(nodes)}"
    )


def find(
    connections: Mapping[str, Connection], environment: str, name: str, *, jobs: bool = False
) -> list[Place]:
    """The containers called `name`, else those of the service `name`, on all of `connections`.

    :param jobs: whether one-shot jobs count.
    :raises InputError: when there is none; it names those that are there.
    """
    places = [
        Place(connection, found)
        for connection in connections.values()
        for _, found in sorted(inspect(connection, environment).containers.items())
        if jobs or not found.is_job
    ]
    chosen = [place for place in places if place.container.name == name]
    # A service's jobs are asked for by name: they would only be noise among its containers.
    chosen = chosen or [
        place for place in places if place.container.service == name and not place.container.is_job
    ]
    if chosen:
        return chosen
    names = sorted({place.container.name for place in places})
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    on = next(iter(connections)) if len(connections) == 1 else None
    raise InputError(
        f"there is no container or service {name!r}{hint}",
        node=on,
        remedy=f"containers: {', '.join(names) or 'none'}",
    )


def members(connection: Connection, environment: str) -> list[Place]:
    """The containers on a node that are there on several nodes for the sake of each other."""
    return [
        Place(connection, found)
        for name, found in sorted(inspect(connection, environment).containers.items())
        if not found.is_job
        and (service := catalogue().get(found.service))
        and (spec := service.containers.get(name))
        and (spec.cluster or spec.clustered)
    ]


def one(places: list[Place]) -> Place:
    """The first place of the only container in `places`: on several nodes any will do.

    :raises InputError: when a service's name stands for several containers.
    """
    names = list(dict.fromkeys(place.container.name for place in places))
    if len(names) == 1:
        return places[0]
    raise InputError(
        f"{places[0].container.service} has several containers",
        remedy=f"name one of: {', '.join(names)}",
    )
