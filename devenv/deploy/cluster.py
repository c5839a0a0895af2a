"""What several instances of one container are to each other: members that come, go and are lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devenv.core.errors import WaitTimeout
from devenv.core.events import Events
from devenv.core.wait import NotYet, wait_until
from devenv.deploy.actual import NodeState
from devenv.nodes.connection import Connection
from devenv.nodes.node import Node
from devenv.services.model import Cluster, ContainerSpec, Service
from devenv.services.render import Renderer

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Seconds in which a cluster whose members all run may come back by itself, all at once with
#: everything else on its nodes.
PATIENCE = 90
#: The same where some members are away, so that those left may be busy agreeing on it.
GLANCE = 15
#: States of a container that may go on by itself.
_UP = ("running", "paused", "restarting")


@dataclass(frozen=True)
class _Members:
    """A container that forms a cluster, and the nodes that it is to run on."""

    service: Service
    name: str
    spec: ContainerSpec
    cluster: Cluster
    nodes: tuple[Node, ...]

    def data(self) -> list[str]:
        """The volumes that hold what makes a member one."""
        return [v.split(":")[0] for v in self.spec.volumes if not v.startswith("/")]


class Clusters:
    """The clusters of an environment, before a plan is made for them."""

    def __init__(
        self, renderer: Renderer, connections: Mapping[str, Connection], events: Events
    ) -> None:
        self._renderer = renderer
        self._connections = connections
        self._events = events

    def lost(self, states: Mapping[str, NodeState]) -> dict[str, str]:
        """Stop the members of each cluster that is none any more.

        :returns: why to run which bootstrap jobs again, by id (node/container).
        """
        again: dict[str, str] = {}
        for members in self._all():
            there = [n for n in members.nodes if members.name in states[n.name].containers]
            if not members.cluster.bootstrap or len(members.nodes) < 2 or not there:
                continue
            running = [n for n in there if self._running(n, members.name, states)]
            if self._is_one(members, running, wait=len(running) == len(members.nodes)):
                continue
            why = f"no member of {members.name} is in a cluster any more"
            # One that is paused or restarting is as lost as the others.
            for node in (n for n in there if states[n.name].containers[members.name].state in _UP):
                with self._events.step(members.name, node=node.name, type="stop", why=why):
                    self._container(node, members.name).stop(timeout=members.spec.stop_timeout)
            again |= {f"{node.name}/{members.cluster.bootstrap}": why for node in members.nodes}
        return again

    def forget(self, gone: Sequence[Node], states: Mapping[str, NodeState]) -> None:
        """Tell the members that are there about the nodes in `gone`."""
        for members in self._all():
            for node in gone:
                if node.roles.isdisjoint(members.spec.roles) or not members.cluster.forget:
                    continue
                self._forget(members, node, states)

    def forget_wiped(self, states: Mapping[str, NodeState]) -> None:
        """The same about nodes that have nothing of a cluster that others have."""
        for members in self._all():
            for node in members.nodes:
                state = states[node.name]
                if members.name in state.containers or state.volumes & set(members.data()):
                    continue
                if members.cluster.forget:
                    self._forget(members, node, states)

    def _forget(self, members: _Members, gone: Node, states: Mapping[str, NodeState]) -> None:
        for node in members.nodes:
            if node.name == gone.name or not self._running(node, members.name, states):
                continue
            command = self._renderer.command(members.service, members.cluster.forget, node, gone)
            why = f"{gone.name} has not got its data any more"
            with self._events.step(members.name, node=node.name, type="forget", why=why):
                code, output = self._exec(node, members.name, command)
                if code == 0:
                    return
                said = output.decode(errors="replace").strip()[-300:]
                self._events.note(members.name, said, node=node.name, type="forget")

    def _is_one(self, members: _Members, running: Sequence[Node], *, wait: bool) -> bool:
        def one() -> None:
            for node in running:
                command = self._renderer.command(members.service, members.cluster.member, node)
                if self._exec(node, members.name, command)[0] == 0:
                    return
            raise NotYet("none is a member")

        try:
            wait_until(one, what=members.name, timeout=PATIENCE if wait else GLANCE)
        except WaitTimeout:
            return False
        return True

    def _all(self) -> Iterator[_Members]:
        for service in self._renderer.services:
            for name, spec in service.containers.items():
                if spec.cluster:
                    nodes = self._renderer.nodes_for(spec)
                    yield _Members(service, name, spec, spec.cluster, nodes)

    def _running(self, node: Node, name: str, states: Mapping[str, NodeState]) -> bool:
        state = states.get(node.name)
        found = state.containers.get(name) if state else None
        return found is not None and found.state == "running"

    def _container(self, node: Node, name: str) -> Container:
        return self._connections[node.name].docker.containers.get(name)

    def _exec(self, node: Node, name: str, command: str) -> tuple[int, bytes]:
        """The exit code and the output; of a container that died meanwhile what the engine says."""
        import docker.errors

        limited = ["timeout", "60", "bash", "-c", command]
        try:
            code, output = self._container(node, name).exec_run(limited)
        except docker.errors.APIError as error:
            return 1, str(error.explanation or error).encode()
        return int(code), bytes(output)


def stop_all(connection: Connection, state: NodeState) -> None:
    """Stop what runs on a node that is about to go, so that clusters see it leave."""

    def stop(name: str) -> None:
        with contextlib.suppress(Exception):
            connection.docker.api.stop(name, timeout=10)

    running = [c.name for c in state.containers.values() if c.state == "running"]
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(stop, running))
