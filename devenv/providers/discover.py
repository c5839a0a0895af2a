"""The environments on this machine, as their backends have them."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from devenv.core import labels
from devenv.core.errors import HostError, InputError
from devenv.host.engine import connect


@dataclass(frozen=True)
class Existing:
    """An environment, or what is left of one.

    :param topology: the preset or file, as `up` was told; empty if no node is there to say it.
    :param nodes: the nodes' names in the topology's order.
    :param running: how many of them are running.
    :param created: ISO 8601, UTC; the oldest part's.
    """

    name: str
    provider: str
    topology: str
    nodes: tuple[str, ...]
    running: int
    owner: str
    created: str

    @property
    def state(self) -> str:
        """``running``, ``stopped``, ``2 of 3 running``, or ``leftover`` without any node."""
        if not self.nodes:
            return "leftover"
        if self.running in (0, len(self.nodes)):
            return "running" if self.running else "stopped"
        return f"{self.running} of {len(self.nodes)} running"

    @property
    def age(self) -> float:
        """Seconds since it was made, 0 if nobody knows."""
        if not self.created:
            return 0.0
        made = datetime.datetime.fromisoformat(self.created)
        return (datetime.datetime.now(datetime.UTC) - made).total_seconds()


#: Where each provider tells of its environments; the local one is below.
_OTHERS = ("vagrant_existing", "baremetal_state")


def existing() -> list[Existing]:
    """All environments on this machine, by name.

    Of one name that several providers have, the one with nodes counts; the rest is a leftover.

    :raises HostError: when there is no usable engine, and no other provider has one.
    """
    found = [one for name in _OTHERS for one in _of(name)]
    try:
        found += _local()
    except HostError:
        if not found:
            raise
    best: dict[str, Existing] = {}
    for one in sorted(found, key=lambda one: bool(one.nodes)):
        best[one.name] = one
    return [best[name] for name in sorted(best)]


def _of(module: str) -> list[Existing]:
    found: list[Existing] = import_module(f"devenv.providers.{module}").existing()
    return found


def _local() -> list[Existing]:
    """Those on this machine's engine; three calls."""
    client = connect()
    label = {"label": labels.ENVIRONMENT}
    api = client.api
    parts: dict[str, list[Mapping[str, str]]] = {}
    nodes: dict[str, list[tuple[int, str, bool]]] = {}
    for container in api.containers(all=True, filters=label):
        found = container["Labels"]
        name = found[labels.ENVIRONMENT]
        parts.setdefault(name, []).append(found)
        if labels.NODE in found:
            node = (int(found.get("devenv.order", 0)), found[labels.NODE])
            nodes.setdefault(name, []).append((*node, container["State"] == "running"))
    others: list[dict[str, Any]] = [
        *api.networks(filters=label),
        *(api.volumes(filters=label)["Volumes"] or []),
    ]
    for other in others:
        parts.setdefault(other["Labels"][labels.ENVIRONMENT], []).append(other["Labels"])
    return [_existing(name, parts[name], sorted(nodes.get(name, []))) for name in sorted(parts)]


def _existing(
    name: str, parts: list[Mapping[str, str]], nodes: list[tuple[int, str, bool]]
) -> Existing:
    def first(label: str) -> str:
        return min((part[label] for part in parts if part.get(label)), default="")

    return Existing(
        name=name,
        provider="local",
        topology=first(labels.TOPOLOGY),
        nodes=tuple(node for _, node, _ in nodes),
        running=sum(running for _, _, running in nodes),
        owner=first(labels.OWNER),
        created=first(labels.CREATED),
    )


def find(name: str) -> Existing:
    """The environment called `name`.

    :raises InputError: when there is none; it names those that are there.
    """
    there = {one.name: one for one in existing()}
    if name in there:
        return there[name]
    near = difflib.get_close_matches(name, there, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    only = f"there are: {', '.join(there)}" if there else "there is none at all: devenv up"
    raise InputError(f"there is no environment {name!r}{hint}", remedy=only)
