"""What a node is, whoever provides it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SshTarget:
    """How to reach a node by SSH.

    :param known_hosts: a file with the host key that the provider learned; no other is accepted.
    :param jump: a bastion as ``user@host[:port]``, if the node is behind one.
    """

    host: str
    key: Path
    known_hosts: Path
    user: str = "root"
    port: int = 22
    jump: str | None = None

    def options(self) -> list[str]:
        """The ssh options that say all this, without the host."""
        options = [
            *("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"),
            *(
                "-o",
                f"UserKnownHostsFile={self.known_hosts}",
                "-o",
                "GlobalKnownHostsFile=/dev/null",
            ),
            *("-o", "IdentitiesOnly=yes", "-i", str(self.key), "-p", str(self.port)),
            *("-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"),
        ]
        return [*options, "-J", self.jump] if self.jump else options

    @property
    def destination(self) -> str:
        """``user@host``."""
        return f"{self.user}@{self.host}"


@dataclass(frozen=True)
class ExternalLink:
    """The node's place on the external network, which becomes the provider network.

    :param interface: the device on the node; empty where the node has none to spare.
    :param address: the node's address on it with its prefix, ``172.31.0.11/24``.
    """

    interface: str
    address: str


@dataclass(frozen=True)
class Node:
    """A name, roles, addresses, SSH and a Docker Engine.

    :param address: on the API network, an IPv4 address.
    :param docker_socket: path of the engine's socket on the node.
    :param own_disk: whether its disk is its own: filling it hurts nobody else.
    :param pace: how many times as long as usual everything may take on it; an emulated
        processor is 20 times slower.
    """

    name: str
    roles: frozenset[str]
    address: str
    external: ExternalLink
    ssh: SshTarget
    docker_socket: str = "/var/run/docker.sock"
    own_disk: bool = True
    pace: float = 1.0
