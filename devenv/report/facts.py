"""What ran where, out of what `devenv status` says for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Place:
    """A node. `running` of `containers` (jobs do not count) were running."""

    name: str
    roles: tuple[str, ...]
    address: str
    external: str
    running: int
    containers: int


@dataclass(frozen=True)
class Row:
    """A container (or a job) of one service and image, wherever it runs.

    :param tag: what the image's reference says of its version; a digest is cut short.
    :param cells: one a node, in the order of the nodes; None where it is not.
    """

    service: str
    name: str
    image: str
    tag: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Cell:
    """A container on a node: is it as it should be, and the engine's words."""

    well: bool
    said: str


@dataclass(frozen=True)
class Facts:
    """An environment as its nodes told it; empty if nobody asked them.

    :param known: values by name: release, topology, virtual IP, cloud.
    """

    known: tuple[tuple[str, str], ...]
    nodes: tuple[Place, ...]
    containers: tuple[Row, ...]
    jobs: tuple[Row, ...]


def parse(data: Mapping[str, Any]) -> Facts:
    """The facts in `data`; what is not there is left out."""
    nodes = list(data.get("nodes") or [])
    names = (("release", "release"), ("topology", "topology"), ("virtual IP", "vip"))
    known = [(name, str(data[key])) for name, key in names if data.get(key)]
    if guest := data.get("guest"):
        answers = "answers at" if guest.get("answers") else "does not answer at"
        known.append(("guest", f"{answers} {guest.get('address')}"))
    return Facts(
        known=tuple(known),
        nodes=tuple(_place(node) for node in nodes),
        containers=_rows(nodes, job=False),
        jobs=_rows(nodes, job=True),
    )


def split(image: str) -> tuple[str, str]:
    """A reference's name and its tag, or the digest's first 12 digits."""
    name, at, digest = image.partition("@")
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    if at:
        algorithm, _, digits = digest.partition(":")
        tag = " ".join(filter(None, (tag, f"{algorithm}:{digits[:12]}")))
    return f"{head}{slash}{last}", tag


def _place(node: Mapping[str, Any]) -> Place:
    services = [one for one in node.get("containers") or [] if one.get("kind") != "job"]
    return Place(
        name=str(node.get("name", "")),
        roles=tuple(node.get("roles") or ()),
        address=str(node.get("address", "")),
        external=str(node.get("external", "")),
        running=sum(one.get("state") == "running" for one in services),
        containers=len(services),
    )


def _rows(nodes: list[Mapping[str, Any]], *, job: bool) -> tuple[Row, ...]:
    found: dict[tuple[str, str, str], list[Cell | None]] = {}
    for place, node in enumerate(nodes):
        for one in node.get("containers") or []:
            if (one.get("kind") == "job") != job:
                continue
            key = str(one.get("service", "")), str(one.get("name", "")), str(one.get("image", ""))
            well = one.get("exit_code") == 0 if job else one.get("state") == "running"
            cells = found.setdefault(key, [None] * len(nodes))
            cells[place] = Cell(well, str(one.get("status") or one.get("state") or ""))
    return tuple(
        Row(service, name, *split(image), tuple(cells))
        for (service, name, image), cells in sorted(found.items())
    )
