"""A container that is made again is the same, but for what comes from its image."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from devenv.core import labels
from devenv.core.errors import DeployError, InputError
from devenv.core.events import Events
from devenv.deploy.actual import Actual
from devenv.deploy.operate import Operator, ready_command, recreated
from devenv.deploy.places import Place
from devenv.nodes.node import ExternalLink, Node, SshTarget
from devenv.providers.base import Inventory
from devenv.services.catalogue import catalogue

NODE = Node(
    "aio",
    frozenset({"control", "network", "compute"}),
    "172.30.0.11",
    ExternalLink("eth1", "172.31.0.11/24"),
    SshTarget("172.30.0.11", Path("/k"), Path("/h")),
)
INVENTORY = Inventory(
    "default",
    "aio",
    (NODE,),
    IPv4Network("172.30.0.0/24"),
    IPv4Network("172.31.0.0/24"),
    IPv4Address("172.30.0.11"),
    IPv4Address("172.31.0.1"),
)
OLD_IMAGE = {
    "Id": "sha256:old",
    "Config": {
        "Env": ["PATH=/bin"],
        "Labels": {labels.RECIPE: "r1", "maintainer": "x"},
        "Cmd": ["kolla_start"],
        "User": "nova",
        "Entrypoint": None,
        "StopSignal": None,
    },
}
OLD = {
    "Id": "c1",
    "Image": "sha256:old",
    "Config": {
        "Image": "devenv/nova:1",
        "Env": ["KOLLA_CONFIG_STRATEGY=COPY_ALWAYS", "PATH=/bin"],
        "Labels": {labels.RECIPE: "r1", "maintainer": "x", labels.HASH: "h1", labels.NODE: "n"},
        "Cmd": ["kolla_start"],
        "User": "nova",
        "Entrypoint": None,
        "StopSignal": "SIGTERM",
    },
    "HostConfig": {"NetworkMode": "host", "MaskedPaths": []},
    "State": {"Status": "running"},
}


def test_what_comes_from_the_old_image_is_left_to_the_new_one() -> None:
    assert recreated(OLD, OLD_IMAGE, "devenv/nova:1", "sha256:old") == {
        "Image": "devenv/nova:1",
        "Env": ["KOLLA_CONFIG_STRATEGY=COPY_ALWAYS"],
        "Labels": {labels.HASH: "h1", labels.NODE: "n"},
        "HostConfig": {"NetworkMode": "host", "MaskedPaths": []},
        "StopSignal": "SIGTERM",
    }


def hash_after(old: Mapping[str, Any], reference: str, image_id: str) -> str:
    return str(recreated(old, OLD_IMAGE, reference, image_id)["Labels"][labels.HASH])


def test_another_image_shows_in_the_hash() -> None:
    assert hash_after(OLD, "devenv/nova:1", "sha256:old") == "h1"
    other_tag = hash_after(OLD, "devenv/nova:2", "sha256:old")
    other_content = hash_after(OLD, "devenv/nova:1", "sha256:new")
    assert len({"h1", other_tag, other_content}) == 3
    assert other_tag.startswith("h1+")


def test_a_second_replacement_does_not_pile_up_marks() -> None:
    config = {**OLD["Config"], "Labels": {labels.HASH: "h1+12345678"}}  # type: ignore[dict-item]
    assert hash_after({**OLD, "Config": config}, "devenv/nova:3", "x").count("+") == 1


@pytest.mark.parametrize(
    ("service", "container"),
    [(one.name, name) for one in catalogue().values() for name in one.containers],
)
def test_every_container_can_be_asked_with_what_the_nodes_tell(
    service: str, container: str
) -> None:
    spec = catalogue()[service].containers[container]
    asked = ready_command(spec, NODE, INVENTORY)
    assert bool(asked) == bool(spec.ready)
    assert "{{" not in asked


class Engine:
    """A Docker Engine with one container, that writes down what is done to it."""

    def __init__(self, refuses: str = "") -> None:
        self.did: list[str] = []
        self.containers_by_name = {"extra": OLD}
        self._refuses = refuses
        self.images = self

    def __getattr__(self, verb: str) -> Any:
        def call(*arguments: Any, **_: Any) -> Any:
            self.did.append(" ".join([verb, *(str(one) for one in arguments)]))
            if verb == self._refuses:
                raise docker.errors.APIError("refused")

        return call

    def inspect_container(self, name: str) -> Any:
        return OLD

    def inspect_image(self, reference: str) -> Any:
        if reference in ("sha256:old", "devenv/nova:1"):
            return OLD_IMAGE
        raise docker.errors.ImageNotFound(reference)

    def create_container_from_config(self, config: Any, name: str) -> dict[str, str]:
        self.did.append(f"create {name} from {config['Image']}")
        return {"Id": "c2"}

    def remove_container(self, name: str, **_: Any) -> None:
        if name == "extra-replacement":
            raise docker.errors.NotFound(name)
        self.did.append(f"remove {name}")


def place(engine: Engine) -> Place:
    """A container of a service that this devenv does not know: nothing is asked of it."""
    connection: Any = SimpleNamespace(node=NODE, docker=SimpleNamespace(api=engine, images=engine))
    return Place(
        connection, Actual("c1", "extra", "unknown", "i", "h1", False, "running", "Up", None)
    )


def test_the_new_container_is_made_before_the_old_one_stops() -> None:
    engine = Engine()
    changed = Operator(INVENTORY, {}, Events()).replace(place(engine))
    assert engine.did == [
        "create extra-replacement from devenv/nova:1",
        "stop c1",
        "remove c1",
        "rename c2 extra",
        "start c2",
    ]
    assert (changed.node, changed.container, changed.state) == ("aio", "extra", "running")


def test_an_image_that_cannot_be_had_leaves_the_container_alone() -> None:
    engine = Engine(refuses="pull")
    with pytest.raises(InputError, match="nova:2 is not there and cannot be pulled"):
        Operator(INVENTORY, {}, Events()).replace(place(engine), "devenv/nova:2")
    assert engine.did == ["pull devenv/nova:2"]


def test_a_stop_that_fails_leaves_no_second_container() -> None:
    engine = Engine(refuses="stop")
    with pytest.raises(docker.errors.APIError):
        Operator(INVENTORY, {}, Events()).replace(place(engine))
    assert engine.did[-1] == "remove c2"


def test_a_restarted_container_has_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked its service's own question, on its own node."""
    operator, asked = Operator(INVENTORY, {}, Events()), []

    def wait(connection: object, wanted: Any) -> None:
        asked.append((wanted.name, wanted.ready))
        raise DeployError("it died")

    monkeypatch.setattr(operator._converge, "wait_ready", wait)
    one = place(Engine())
    keystone = Actual("c", "keystone", "keystone", "i", "h", False, "running", "Up", None)
    with pytest.raises(DeployError, match="it died"):
        operator.restart(Place(one.connection, keystone))
    assert asked == [("keystone", "healthcheck_curl http://172.30.0.11:5000/v3")]
