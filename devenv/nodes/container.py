"""System containers with an own Docker Engine and sshd: local nodes, and the builder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devenv.core.errors import NodeError
from devenv.core.wait import NotYet, wait_until
from devenv.host.capabilities import Privileges

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container


#: Given at create time because a restart drops others. Each is the network namespace's own, so
#: containers on the node's network have it too. Times are as of the kernel's ip-sysctl.rst.
SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    # A peer that was switched off sends no reset. Connections to it that ask for keepalive end
    # after 5 + 3 * 2 s instead of two hours,
    "net.ipv4.tcp_keepalive_time": "5",
    "net.ipv4.tcp_keepalive_intvl": "2",
    "net.ipv4.tcp_keepalive_probes": "3",
    # and those with something to send after 13 s instead of 15 minutes.
    "net.ipv4.tcp_retries2": "5",
}


@dataclass(frozen=True)
class Attachment:
    """A network that the container is on, with a fixed address."""

    network: str
    address: str


@dataclass(frozen=True)
class SystemContainer:
    """What a system container is made of.

    :param public_key: the OpenSSH public key that may log in as root.
    :param volume: named volume for the inner engine's data.
    :param memory: limit in bytes, None for no limit.
    :param hosts: addresses by name for /etc/hosts. A restart brings these back and drops others.
    """

    name: str
    image: str
    volume: str
    public_key: str
    privileges: Privileges
    labels: Mapping[str, str] = field(default_factory=dict)
    attachments: Sequence[Attachment] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    memory: int | None = None
    cpus: float | None = None


def create(client: DockerClient, wanted: SystemContainer) -> Container:
    """Create and start the container."""
    api = client.api
    options: dict[str, Any] = {
        "binds": [f"{wanted.volume}:/var/lib/docker"],
        "tmpfs": {"/run": "", "/tmp": "exec"},  # noqa: S108 - inside the node
        "init": True,
        "extra_hosts": dict(wanted.hosts),
        "sysctls": dict(SYSCTLS),
    }
    if wanted.memory:
        options["mem_limit"] = wanted.memory
    if wanted.cpus:
        options["nano_cpus"] = int(wanted.cpus * 1e9)
    first = wanted.attachments[0] if wanted.attachments else None
    if first:
        options["network_mode"] = first.network
    host_config = api.create_host_config(**options)
    host_config.update(wanted.privileges.host_config(), CgroupnsMode="private")
    networking = None
    if first:
        networking = api.create_networking_config(
            {first.network: api.create_endpoint_config(ipv4_address=first.address)}
        )
    short = wanted.labels.get("devenv.node", wanted.name)
    made = api.create_container(
        wanted.image,
        name=wanted.name,
        hostname=short,
        labels=dict(wanted.labels),
        environment={"DEVENV_AUTHORIZED_KEY": wanted.public_key},
        host_config=host_config,
        networking_config=networking,
    )
    for attachment in wanted.attachments[1:]:
        client.networks.get(attachment.network).connect(made["Id"], ipv4_address=attachment.address)
    api.start(made["Id"])
    return client.containers.get(made["Id"])


def host_key(container: Container, timeout: float = 30) -> str:
    """The node's public host key, learned through the engine and not through the network.

    :param timeout: seconds.
    :raises NodeError: with the container's last log lines when it is not running.
    """

    def ask() -> str:
        code, out = container.exec_run(
            ["cat", "/var/lib/docker/.devenv-ssh/ssh_host_ed25519_key.pub"]
        )
        if code == 0 and out.strip():
            return " ".join(out.decode().split()[:2])
        container.reload()
        if container.status not in ("running", "created", "restarting"):
            raise dead(container)
        raise NotYet("no host key yet")

    try:
        return wait_until(ask, what="sshd's host key", timeout=timeout, node=container.name)
    except Exception as error:
        container.reload()
        if container.status == "exited" and not isinstance(error, NodeError):
            raise dead(container) from error
        raise


def authorize(container: Container, public_key: str) -> None:
    """Let `public_key` log in: for a state folder that was lost and made anew."""
    script = 'grep -qsxF "$KEY" "$FILE" || printf "%s\\n" "$KEY" >> "$FILE"'
    environment = {"KEY": public_key, "FILE": "/root/.ssh/authorized_keys"}
    container.exec_run(["sh", "-c", script], environment=environment)


def ensure_hosts(container: Container, hosts: Mapping[str, str], network: IPv4Network) -> None:
    """Have /etc/hosts of a container that runs say `hosts`, and of `network` nothing else.

    In place: the engine mounts the file, so that it cannot be replaced.

    :raises NodeError: when it could not be read or written.
    """
    before = _run(container, ["cat", "/etc/hosts"])
    after = with_hosts(before, hosts, network)
    if after != before:
        write = ["sh", "-c", 'printf %s "$HOSTS" > /etc/hosts']
        _run(container, write, {"HOSTS": after})


def with_hosts(text: str, hosts: Mapping[str, str], network: IPv4Network) -> str:
    """`text` of /etc/hosts without lines on `network` or on a name in `hosts`, and then `hosts`.

    So each name has one address, also the node's own, for which the engine writes one a network.
    """
    kept = []
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        try:
            ours = IPv4Address(address) in network
        except ValueError:
            ours = False
        if not ours and hosts.keys().isdisjoint(names):
            kept.append(line)
    return "".join(f"{line}\n" for line in [*kept, *(f"{hosts[name]}\t{name}" for name in hosts)])


def _run(
    container: Container, command: list[str], environment: Mapping[str, str] | None = None
) -> str:
    from docker.errors import APIError

    try:
        code, out = container.exec_run(command, environment=dict(environment or {}))
    except APIError as error:
        container.reload()
        if container.status != "running":
            raise dead(container) from error
        raise
    if code != 0:
        raise NodeError(
            f"`{' '.join(command)}` failed with code {code}",
            node=container.labels.get("devenv.node", container.name),
            detail=out.decode(errors="replace"),
        )
    return str(out.decode(errors="replace"))


def dead(container: Container) -> NodeError:
    """The error for a node container that is not running, with its last words."""
    return NodeError(
        f"the node's container is {container.status}",
        node=container.labels.get("devenv.node", container.name),
        detail=container.logs(tail=15).decode(errors="replace"),
        remedy="`devenv doctor` probes what the engine grants to a node",
    )


def write_known_hosts(path: Path, keys: Mapping[str, str]) -> None:
    """Write `path` with one line an address."""
    path.write_text("".join(f"{address} {key}\n" for address, key in sorted(keys.items())))
    path.chmod(0o600)
