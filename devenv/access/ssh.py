"""Inventories for ssh and Ansible."""

from __future__ import annotations

from collections.abc import Iterable

from devenv.nodes.node import Node


def ssh_config(environment: str, nodes: Iterable[Node]) -> str:
    """An ssh_config(5) with a host ``devenv-NAME-NODE`` for each node."""
    parts = []
    for node in nodes:
        ssh = node.ssh
        lines = [
            f"Host devenv-{environment}-{node.name}",
            f"  HostName {ssh.host}",
            f"  Port {ssh.port}",
            f"  User {ssh.user}",
            f'  IdentityFile "{ssh.key}"',
            "  IdentitiesOnly yes",
            f'  UserKnownHostsFile "{ssh.known_hosts}"',
            "  StrictHostKeyChecking yes",
            *([f"  ProxyJump {ssh.jump}"] if ssh.jump else []),
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def ansible_inventory(nodes: Iterable[Node]) -> str:
    """An Ansible inventory (INI) with a group a role."""
    nodes = list(nodes)
    lines = []
    for node in nodes:
        ssh = node.ssh
        options = f"-o UserKnownHostsFile={ssh.known_hosts}" + (
            f" -J {ssh.jump}" if ssh.jump else ""
        )
        lines.append(
            f"{node.name} ansible_host={ssh.host} ansible_port={ssh.port} ansible_user={ssh.user} "
            f"ansible_ssh_private_key_file={ssh.key} ansible_ssh_common_args='{options}'"
        )
    for role in sorted({role for node in nodes for role in node.roles}):
        lines += ["", f"[{role}]", *(node.name for node in nodes if role in node.roles)]
    return "\n".join(lines) + "\n"
