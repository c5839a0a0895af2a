"""Containers and jobs to plan for, and nodes that have some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from devenv.deploy.actual import Actual, NodeState
from devenv.deploy.plan import Action
from devenv.services.model import Cluster, ContainerSpec
from devenv.services.render import Rendered


def container(
    name: str,
    *after: str,
    node: str = "ctl",
    service: str = "",
    hash: str = "h",
    cluster: Cluster | None = None,
) -> Rendered:
    spec = ContainerSpec(image=name, roles=["control"], after=list(after), cluster=cluster)
    return Rendered(service or name, name, node, spec, f"{name}:1", {}, {}, "", hash)


def job(
    name: str,
    *after: str,
    node: str = "ctl",
    volume: str = "",
    hash: str = "h",
    each: bool = False,
) -> Rendered:
    item = container(name, *after, node=node, hash=hash)
    facts = {"job": True, "creates_volume": volume, "each": each}
    return replace(item, spec=item.spec.model_copy(update=facts))


def made(item: Rendered, **changes: object) -> Actual:
    """What `item` is on its node after a deploy."""
    state, code = ("exited", 0) if item.spec.is_job else ("running", None)
    found = Actual(
        "id", item.name, item.service, item.image, item.hash, item.spec.is_job, state, "", code
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def deployed(
    wanted: Sequence[Rendered], volumes: Sequence[str] = ("data",), nodes: Sequence[str] = ("ctl",)
) -> dict[str, NodeState]:
    """The nodes after `wanted` was deployed."""
    return {
        node: NodeState(
            {item.name: made(item) for item in wanted if item.node == node}, frozenset(volumes)
        )
        for node in {*nodes, *(item.node for item in wanted)}
    }


def altered(
    nodes: Mapping[str, NodeState], name: str, node: str = "ctl", **changes: object
) -> dict[str, NodeState]:
    containers = dict(nodes[node].containers)
    containers[name] = replace(containers[name], **changes)  # type: ignore[arg-type]
    return {**nodes, node: replace(nodes[node], containers=containers)}


def verbs(actions: Sequence[Action]) -> dict[str, str]:
    assert len({action.id for action in actions}) == len(actions)
    return {action.id: action.verb for action in actions}
