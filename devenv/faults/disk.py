"""A fault on a node's disk: not a byte is free where the Docker Engine keeps its data."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from devenv.core.errors import InputError, NodeError, Unsupported
from devenv.core.wait import NotYet
from devenv.faults.fault import Fault
from devenv.faults.site import Site
from devenv.nodes.connection import Connection

#: Followed by a fault's id.
PREFIX = ".devenv-fault-"
#: Appended to the name of the file that `confirm` tries to write.
PROBE = ".probe"
#: fallocate leaves what only root may use (ext4 reserves 5 %): the rest is written byte by byte.
_FILL = """file={file}
free=$(df --output=avail -B1 "$(dirname "$file")" | tail -n 1)
fallocate -l "$free" "$file" 2>/dev/null || true
cat /dev/zero >> "$file" 2>/dev/null
sync
"""
_TRY = """file={file}.probe
said=$(LC_ALL=C head -c 65536 /dev/zero 2>&1 > "$file"); code=$?
rm -f "$file"
printf '%s' "$said"
exit "$code"
"""


@dataclass(frozen=True)
class FillDisk(Fault):
    """A file takes all the space. Through SSH alone: on a full disk no container can be made.

    :param file: on the node.
    """

    file: str = ""

    verb: ClassVar[str] = "fill-disk"

    def describe(self) -> str:
        """``fill the disk of ctl2``."""
        return f"fill the disk of {self.node}"

    def prepare(self, site: Site) -> Self:
        """The node's disk has to be its own, and to take a write now.

        :raises Unsupported: when the node shares its disk with this machine or with other nodes.
        :raises InputError: when the disk is full already.
        """
        if not site.node(self.node).own_disk:
            raise Unsupported(
                "its disk is not its own: filling it would hit this machine and every node",
                node=self.node,
                remedy="choose a provider whose nodes are machines",
            )
        super().prepare(site)
        connection = site.connection(self.node)
        ready = replace(self, file=f"{root(connection)}/{PREFIX}{self.id}")
        if full(connection, ready.file):
            raise InputError("its disk is full already", node=self.node)
        return ready

    def inject(self, site: Site) -> None:
        """Take all the space."""
        line = _FILL.format(file=shlex.quote(self.file))
        site.connection(self.node).run(line, check=False, timeout=600)

    def confirm(self, site: Site) -> None:
        """Another file cannot be written for want of space."""
        if not full(site.connection(self.node), self.file):
            raise NotYet("a file could be written")

    def heal(self, site: Site) -> None:
        """Remove the file."""
        if self.file:
            site.connection(self.node).run(["rm", "-f", self.file, f"{self.file}{PROBE}"])


def root(connection: Connection) -> str:
    """Where the node's engine keeps its data."""
    return str(connection.docker.info()["DockerRootDir"])


def full(connection: Connection, file: str) -> bool:
    """Whether a write beside `file` fails with ENOSPC.

    :raises NodeError: when it fails with something else.
    """
    done = connection.run(_TRY.format(file=shlex.quote(file)), check=False, timeout=60)
    said = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode and "No space left" not in said:
        raise NodeError("a file could not be written", node=connection.node.name, detail=said)
    return done.returncode != 0
