"""Data as tables for people and as JSON for machines, on stdout."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from devenv.deploy.status import Status


def print_json(data: object) -> None:
    """`data` as JSON."""
    click.echo(json.dumps(data, indent=2))


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """`rows` in aligned columns below `head`."""
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def duration(seconds: float) -> str:
    """The two largest units: ``3d 4h``, ``12m 5s``."""
    parts: list[str] = []
    rest = int(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def size(count: float) -> str:
    """`count` bytes in MiB or GiB."""
    mib = count / 2**20
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"


def command(*words: str, name: str) -> str:
    """A ``devenv`` command that can be pasted: with --name and a path where they are needed."""
    environment = [] if name == "default" else ["--name", name]
    return " ".join([_program("devenv"), *environment, *words])


def openstack(*words: str, name: str) -> str:
    """An ``openstack`` command that can be pasted."""
    return " ".join([_program("openstack"), "--os-cloud", f"devenv-{name}", *words])


def _program(name: str) -> str:
    """`name` if the shell finds it, else its path beside this process's Python, if it is there."""
    beside = Path(sys.executable).parent / name
    if shutil.which(name) or not beside.exists():
        return name
    here = Path.cwd()
    return str(beside.relative_to(here)) if beside.is_relative_to(here) else str(beside)


def print_nodes(status: Status) -> None:
    """A line a node: what runs where."""
    rows = []
    for node in status.inventory.nodes:
        own = [one for name, one in status.containers() if name == node.name]
        running = sum(one.state == "running" for one in own)
        count = f"{running} running" + (f" of {len(own)}" if running < len(own) else "")
        if node.name not in status.states:
            count = "the node does not answer"
        rows.append((node.name, ", ".join(sorted(node.roles)), node.address, count))
    print_table(("NODE", "ROLES", "ADDRESS", "CONTAINERS"), rows)


def print_status(status: Status) -> None:
    """The nodes, a line a container, jobs that are not done, and the guest."""
    print_nodes(status)
    rows = [
        (node, one.name, one.service, one.image, f"job: {one.status}" if one.is_job else one.status)
        for node, state in status.states.items()
        for _, one in sorted(state.containers.items())
        if not (one.is_job and one.exit_code == 0)
    ]
    click.echo()
    print_table(("NODE", "CONTAINER", "SERVICE", "IMAGE", "STATE"), rows)
    click.echo()
    print_guest(status)


def print_guest(status: Status) -> None:
    """Where the guest answers, if there is one."""
    if status.guest:
        word = "answers" if status.guest.answers else "does not answer"
        click.echo(f"guest {status.guest.name} {word} at {status.guest.address}")
    else:
        click.echo("no guest yet")
