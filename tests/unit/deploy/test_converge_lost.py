"""A node that answers no more is told from one where something failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import docker.errors
import pytest

from devenv.core.errors import DeployError, NodeError, NodeLost
from devenv.core.events import Events
from devenv.deploy.converge import Converge
from devenv.deploy.plan import Action


class Broken:
    """A connection whose engine answers nothing."""

    def __init__(self, alive: bool | None) -> None:
        self.node = SimpleNamespace(name="n1", pace=1.0)
        self.docker = self
        self.api = self
        self._alive = alive

    def stop(self, *_: Any, **__: Any) -> None:
        raise docker.errors.DockerException("the socket is closed")

    def run(self, command: list[str], **_: Any) -> SimpleNamespace:
        if self._alive is None:
            raise NodeError("it did not end in 20 s", node="n1")
        return SimpleNamespace(returncode=0 if self._alive else 255)


def remove() -> Action:
    return Action("n1/nova_api", "remove", "n1", "nova_api", "it is not wanted", frozenset())


@pytest.mark.parametrize("alive", [False, None])
def test_a_lost_node(alive: bool | None) -> None:
    connections = {"n1": cast(Any, Broken(alive))}
    with pytest.raises(NodeLost, match="nova_api could not be seen to") as caught:
        Converge("lab", connections, {}, Events()).run([remove()])
    assert caught.value.node == "n1"
    said = str(caught.value)
    assert "the socket is closed" in said and "devenv --name lab up" in said


def test_an_engine_that_fails_on_a_node_that_answers() -> None:
    connections = {"n1": cast(Any, Broken(True))}
    with pytest.raises(DeployError, match="the engine could not remove nova_api"):
        Converge("lab", connections, {}, Events()).run([remove()])
