"""The containers of an environment: look at them, and do to them what an operator does."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from devenv.core import labels
from devenv.core.errors import NodeError
from devenv.core.events import Events
from devenv.core.wait import NotYet, wait_until
from devenv.deploy.operate import Operator, recreated
from devenv.deploy.places import Place, find, members, one
from devenv.nodes.connection import Connection
from devenv.providers.base import Inventory


@dataclass(frozen=True)
class Container:
    """A container as it was at one moment.

    :param image: the reference that it was made from.
    :param hash: the label that says what made it; empty if it has none.
    :param started: when it was started last, in the engine's words.
    """

    node: str
    name: str
    id: str
    image: str
    image_id: str
    hash: str
    started: str
    running: bool
    raw: Mapping[str, Any]


class Containers:
    """The containers by name. Where several nodes have one, `node` says which; else the first."""

    def __init__(
        self, inventory: Inventory, connections: Mapping[str, Connection], events: Events
    ) -> None:
        self._environment = inventory.environment
        self._connections = connections
        self._operator = Operator(inventory, connections, events)

    def all(self) -> dict[str, Container]:
        """Every container, jobs too, by ``NODE/NAME``."""
        found = {}
        for node, connection in self._connections.items():
            label = f"{labels.ENVIRONMENT}={self._environment}"
            for entry in connection.docker.api.containers(all=True, filters={"label": label}):
                container = _container(node, connection.docker.api.inspect_container(entry["Id"]))
                found[f"{node}/{container.name}"] = container
        return found

    def inspect(self, name: str, node: str | None = None) -> Container:
        """Look at a container.

        :raises InputError: when there is none of that name.
        """
        place = self._place(name, node)
        return _container(place.node, place.connection.docker.api.inspect_container(name))

    def stop(self, name: str, node: str | None = None) -> None:
        """SIGTERM, then SIGKILL after the service's own time."""
        self._operator.stop(self._place(name, node))

    def start(self, name: str, node: str | None = None) -> None:
        """Start it and wait until it answers."""
        self._operator.start(self._place(name, node))

    def restart(self, name: str, node: str | None = None) -> None:
        """Stop and start it, and wait until it answers."""
        self._operator.restart(self._place(name, node))

    def kill(self, name: str, node: str | None = None) -> None:
        """SIGKILL, and wait until it is dead. The engine does not restart it by itself."""
        place = self._place(name, node)
        before = _container(place.node, place.connection.docker.api.inspect_container(name))
        place.connection.docker.api.kill(name)

        def dead() -> None:
            now = _container(place.node, place.connection.docker.api.inspect_container(name))
            if now.running and now.started == before.started:
                raise NotYet("it still runs")

        wait_until(dead, what=f"{name} to be dead", timeout=30, node=place.node)

    def replace(self, name: str, image: str | None = None, node: str | None = None) -> None:
        """The upgrade: another container of the same configuration from `image`, in its place."""
        self._operator.replace(self._place(name, node), image)

    def tag(self, name: str, tag: str, node: str | None = None) -> str:
        """Give the image of a container another tag on its node; returns the new reference."""
        now = self.inspect(name, node)
        repository = now.image.rpartition(":")[0]
        self._connections[now.node].docker.api.tag(now.image_id, repository, tag)
        return f"{repository}:{tag}"

    def untag(self, container: Container, tag: str) -> None:
        """Take such a tag away again, if it is there."""
        import docker.errors

        reference = f"{container.image.rpartition(':')[0]}:{tag}"
        with contextlib.suppress(docker.errors.ImageNotFound):
            self._connections[container.node].docker.api.remove_image(reference)

    def put_back(self, before: Container) -> None:
        """Make a container again exactly as it was when it was looked at, its labels too.

        Nothing happens if it is still that one's like: then only its start is made sure.
        """
        now = self.inspect(before.name, before.node)
        if now.hash != before.hash:
            self.recreate(before)
        elif not now.running:
            self.start(before.name, before.node)

    def recreate(
        self, like: Container, change: Callable[[dict[str, Any]], None] = lambda config: None
    ) -> None:
        """Put a container like `like` in the place of the one that has its name now.

        :param change: may change the Engine API's configuration before it is used.
        """
        place = self._place(like.name, like.node)
        api = place.connection.docker.api
        image = api.inspect_image(like.image_id)
        config = recreated(like.raw, image, like.image, like.image_id)
        change(config)
        api.stop(like.name, timeout=20)
        api.remove_container(like.name, force=True, v=True)
        api.create_container_from_config(config, like.name)
        self._operator.start(self._place(like.name, like.node))

    def wait_members(self) -> None:
        """Wait until every member of every cluster is in sync, and each haproxy and keepalived.

        :raises DeployError: naming the one that is not, with its last log lines.
        """
        places = [
            place
            for connection in self._connections.values()
            for place in members(connection, self._environment)
        ]
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(self._operator.wait, places))

    def logs(self, tail: int = 40) -> dict[str, str]:
        """The last lines of all containers by ``NODE/NAME``; of nodes that answer."""
        found = {}
        label = {"label": f"{labels.ENVIRONMENT}={self._environment}"}
        for node, connection in self._connections.items():
            with contextlib.suppress(Exception):
                for entry in connection.docker.api.containers(all=True, filters=label):
                    log = connection.docker.api.logs(entry["Id"], tail=tail)
                    found[f"{node}/{entry['Names'][0][1:]}"] = log.decode(errors="replace")
        return dict(sorted(found.items()))

    def exec(self, name: str, command: Sequence[str], node: str | None = None) -> str:
        """Run a command in a container; its standard output.

        :raises NodeError: on another exit code than 0.
        """
        place = self._place(name, node)
        container = place.connection.docker.containers.get(name)
        code, (out, err) = container.exec_run(list(command), demux=True)
        if code != 0:
            said = (err or out or b"").decode(errors="replace")
            line = shlex.join(command)
            raise NodeError(f"`{line}` in {name} exited with {code}", node=place.node, detail=said)
        return (out or b"").decode(errors="replace")

    def _place(self, name: str, node: str | None) -> Place:
        where = {node: self._connections[node]} if node else self._connections
        return one(find(where, self._environment, name, jobs=True))


def _container(node: str, raw: Mapping[str, Any]) -> Container:
    return Container(
        node=node,
        name=str(raw["Name"]).lstrip("/"),
        id=str(raw["Id"]),
        image=str(raw["Config"]["Image"]),
        image_id=str(raw["Image"]),
        hash=str((raw["Config"].get("Labels") or {}).get(labels.HASH, "")),
        started=str(raw["State"]["StartedAt"]),
        running=bool(raw["State"]["Running"]),
        raw=raw,
    )
