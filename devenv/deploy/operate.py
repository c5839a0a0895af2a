"""Stop, start, restart and replace containers that an `up` has made."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import StrictUndefined, Template

from devenv.core import labels
from devenv.core.errors import InputError
from devenv.core.events import Events
from devenv.core.hashing import digest
from devenv.deploy.converge import Converge
from devenv.deploy.places import Place
from devenv.nodes.connection import Connection
from devenv.nodes.node import Node
from devenv.providers.base import Inventory
from devenv.services.catalogue import catalogue
from devenv.services.model import ContainerSpec
from devenv.services.render import Rendered

#: Between the hash of what `up` made and the mark of the image put in its place since.
REPLACED = "+"


@dataclass(frozen=True)
class Changed:
    """What became of a container.

    :param seconds: until it answered, or until it was stopped.
    """

    node: str
    container: str
    id: str
    image: str
    state: str
    seconds: float


class Operator:
    """Changes containers one after the other, so that a service on several nodes goes on."""

    def __init__(
        self, inventory: Inventory, connections: Mapping[str, Connection], events: Events
    ) -> None:
        self._inventory = inventory
        self._events = events
        self._converge = Converge(inventory.environment, connections, {}, events)

    def stop(self, place: Place) -> Changed:
        """SIGTERM, then SIGKILL after the service's own time. The next `up` starts it again."""

        def work() -> None:
            place.connection.docker.api.stop(place.container.name, timeout=_stop_timeout(place))

        return self._step(place, "stop", work)

    def start(self, place: Place) -> Changed:
        """Start it, or let it go on if it is paused, and wait until it answers."""

        def work() -> None:
            container = place.connection.docker.containers.get(place.container.name)
            container.unpause() if container.status == "paused" else container.start()
            self.wait(place)

        return self._step(place, "start", work)

    def restart(self, place: Place) -> Changed:
        """Stop and start the same container, and wait until it answers."""

        def work() -> None:
            place.connection.docker.api.restart(place.container.name, timeout=_stop_timeout(place))
            self.wait(place)

        return self._step(place, "restart", work)

    def replace(self, place: Place, image: str | None = None) -> Changed:
        """The upgrade: another container of the same configuration, from `image`, in its place.

        The new one is created before the old one is stopped, so a configuration or an image
        that the engine refuses changes nothing. With another image the hash label is another,
        too: the next `up` sees it and goes back to the image that the topology says.

        :param image: a reference; pulled if the node does not have it. None for the same.
        :raises InputError: when the node has no such image and cannot pull it.
        """
        return self._step(place, f"replace from {image or 'the same image'}",
                          lambda: self._replace(place, image))  # fmt: skip

    def _replace(self, place: Place, image: str | None) -> None:
        import docker.errors

        api, name = place.connection.docker.api, place.container.name
        old = api.inspect_container(place.container.id)
        reference = image or str(old["Config"]["Image"])
        new_image = _have(place, reference)
        old_image = _image(place, str(old["Image"]))
        config = recreated(old, old_image or {}, reference, str(new_image["Id"]))
        aside = f"{name}-replacement"
        with contextlib.suppress(docker.errors.NotFound):  # One that a kill left behind.
            api.remove_container(aside, force=True, v=True)
        made = api.create_container_from_config(config, aside)
        try:
            api.stop(old["Id"], timeout=_stop_timeout(place))
        except BaseException:
            api.remove_container(made["Id"], force=True, v=True)
            raise
        api.remove_container(old["Id"], force=True, v=True)
        api.rename(made["Id"], name)
        api.start(made["Id"])
        self.wait(place)

    def _step(self, place: Place, why: str, work: Callable[[], None]) -> Changed:
        begin = time.monotonic()
        with self._events.step(place.container.name, node=place.node, type="container", why=why):
            work()
        now = place.connection.docker.api.inspect_container(place.container.name)
        return Changed(
            node=place.node,
            container=place.container.name,
            id=str(now["Id"]),
            image=str(now["Config"]["Image"]),
            state=str(now["State"]["Status"]),
            seconds=round(time.monotonic() - begin, 2),
        )

    def wait(self, place: Place) -> None:
        """Wait until it answers as its service's folder says."""
        spec = _spec(place)
        if spec is None:  # Made by another version of devenv: nobody knows what to ask it.
            return
        rendered = Rendered(
            service=place.container.service,
            name=place.container.name,
            node=place.node,
            spec=spec,
            image="",
            files={},
            environment={},
            ready=ready_command(spec, place.connection.node, self._inventory),
            hash="",
        )
        self._converge.wait_ready(place.connection, rendered)


def ready_command(spec: ContainerSpec, node: Node, inventory: Inventory) -> str:
    """What asks a container on `node` whether it answers; empty if nothing does.

    Only what the nodes tell is known here: a question needs addresses, but never a secret.

    :raises jinja2.UndefinedError: when the service's template asks for more.
    """
    template = Template(spec.ready.command if spec.ready else "", undefined=StrictUndefined)
    control = inventory.with_role("control")
    variables: dict[str, Any] = {"node": node, "nodes": inventory.nodes, "control": control}
    variables["ha"] = len(control) > 1
    return str(template.render(variables, vip=str(inventory.vip)))


def recreated(
    old: Mapping[str, Any], old_image: Mapping[str, Any], reference: str, image_id: str
) -> dict[str, Any]:
    """The Engine API's configuration of a container like `old`, but from another image.

    What `old` has from its own image is left out: the new one says it anew.

    :param old: a container as the engine inspects it.
    :param old_image: its image as the engine inspects it; empty if that is gone.
    """
    config, base = dict(old["Config"]), old_image.get("Config") or {}
    inherited = set(base.get("Env") or [])
    own = {
        key: value
        for key, value in (config.get("Labels") or {}).items()
        if (base.get("Labels") or {}).get(key) != value
    }
    if reference != config["Image"] or image_id != old["Image"]:
        made_by_up = own.get(labels.HASH, "").partition(REPLACED)[0]
        own[labels.HASH] = f"{made_by_up}{REPLACED}{digest(reference, image_id)[:8]}"
    made: dict[str, Any] = {
        "Image": reference,
        "Env": [entry for entry in config.get("Env") or [] if entry not in inherited],
        "Labels": own,
        "HostConfig": old["HostConfig"],
    }
    for key in ("Cmd", "Entrypoint", "User", "WorkingDir", "Healthcheck", "StopSignal"):
        if config.get(key) and config[key] != base.get(key):
            made[key] = config[key]
    return made


def _spec(place: Place) -> ContainerSpec | None:
    service = catalogue().get(place.container.service)
    return service.containers.get(place.container.name) if service else None


def _stop_timeout(place: Place) -> int:
    spec = _spec(place)
    return spec.stop_timeout if spec else 10


def _image(place: Place, reference: str) -> dict[str, Any] | None:
    import docker.errors

    try:
        found: dict[str, Any] = place.connection.docker.api.inspect_image(reference)
    except docker.errors.ImageNotFound:
        return None
    return found


def _have(place: Place, reference: str) -> dict[str, Any]:
    import docker.errors

    found = _image(place, reference)
    if found is not None:
        return found
    try:
        place.connection.docker.images.pull(reference)
    except docker.errors.APIError as error:
        raise InputError(
            f"the image {reference} is not there and cannot be pulled; {place.container.name} was "
            "not touched",
            node=place.node,
            detail=str(error.explanation or error),
            remedy=f"devenv ssh {place.node} -- docker images",
        ) from error
    return _image(place, reference) or {}
