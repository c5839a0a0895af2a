"""An environment as its nodes tell it: what runs where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from devenv.deploy.actual import Actual, NodeState
from devenv.providers.base import Inventory
from devenv.topology.models import Topology


@dataclass(frozen=True)
class Guest:
    """The first guest, as the job that made it reported it.

    :param answers: whether it answers on its floating IP now.
    """

    name: str
    address: str
    answers: bool


@dataclass(frozen=True)
class Status:
    """What runs where.

    :param states: by the names of the nodes that answer.
    :param release: the OpenStack release; empty if no control node told it.
    """

    inventory: Inventory
    states: Mapping[str, NodeState]
    guest: Guest | None = None
    release: str = ""

    def containers(self) -> list[tuple[str, Actual]]:
        """Node name and container, services only, in the order of nodes and names."""
        return [
            (node.name, found)
            for node in self.inventory.nodes
            if node.name in self.states
            for _, found in sorted(self.states[node.name].containers.items())
            if not found.is_job
        ]

    def data(self) -> dict[str, Any]:
        """For JSON, as ``devenv status`` prints it and results keep it."""
        nodes = []
        for node in self.inventory.nodes:
            state = self.states.get(node.name)
            containers = sorted(state.containers.items()) if state else []
            found = [
                {
                    "name": one.name,
                    "service": one.service,
                    "kind": "job" if one.is_job else "container",
                    "image": one.image,
                    "state": one.state,
                    "status": one.status,
                    "exit_code": one.exit_code,
                }
                for _, one in containers
            ]
            nodes.append(
                {
                    "name": node.name,
                    "roles": sorted(node.roles),
                    "address": node.address,
                    "external": node.external.address,
                    "containers": found,
                }
            )
        return {
            "environment": self.inventory.environment,
            "release": self.release,
            "topology": self.inventory.source,
            "cloud": f"devenv-{self.inventory.environment}",
            "vip": str(self.inventory.vip),
            "nodes": nodes,
            "guest": asdict(self.guest) if self.guest else None,
        }


def release(topology: bytes) -> str:
    """The OpenStack release in a topology that `up` accepted; empty for no text."""
    if not topology:
        return ""
    said = yaml.safe_load(topology).get("release", Topology.model_fields["release"].default)
    return str(said)
