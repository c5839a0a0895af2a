"""The environment's nodes for testinfra, over SSH masters that are already there."""

from __future__ import annotations

from collections.abc import Mapping

from devenv.access import ssh
from devenv.nodes.connection import Connection


def host_names(environment: str, connections: Mapping[str, Connection]) -> dict[str, str]:
    """The names in :func:`ssh_config` by node name."""
    return {node: f"devenv-{environment}-{node}" for node in connections}


def ssh_config(environment: str, connections: Mapping[str, Connection]) -> str:
    """An ssh_config(5) that uses the master of each connection.

    Without it testinfra pays a handshake for every command.
    """
    parts = []
    for connection in connections.values():
        # ssh expands % in the path.
        path = str(connection.control_path).replace("%", "%%")
        parts.append(
            ssh.ssh_config(environment, [connection.node]).rstrip("\n")
            + f'\n  ControlPath "{path}"\n  BatchMode yes\n  LogLevel ERROR\n'
        )
    return "\n".join(parts)
