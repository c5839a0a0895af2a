"""The embedded provider: nodes are system containers on this machine's Docker Engine."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from devenv.core import labels
from devenv.core.errors import HostError, NodeError, Unsupported
from devenv.core.events import Events
from devenv.host import resources
from devenv.host.capabilities import Privileges
from devenv.host.checks import Check, Probe
from devenv.host.engine import connect, engine_check
from devenv.host.packages import packages_check
from devenv.images.store import Stores, ensure_node_image
from devenv.nodes import container as system_container
from devenv.nodes.container import Attachment, SystemContainer
from devenv.nodes.keys import key_pair
from devenv.nodes.node import ExternalLink, Node, SshTarget
from devenv.providers import local_facts, subnets
from devenv.providers.base import Inventory, PowerAction, Provider
from devenv.topology.load import LoadedTopology
from devenv.topology.models import NodeSpec

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.networks import Network

#: What images, volumes and guests of a first environment take on disk, bytes.
DISK_NEEDED = 10 * 2**30
VIP_ADDRESS = 10
API, EXTERNAL = "api", "external"
#: The container's method behind each power action, and the status that says it was done before.
_POWER: dict[PowerAction, tuple[str, str]] = {
    "on": ("start", "running"),
    "off": ("kill", "exited"),
    "reset": ("restart", ""),
    "pause": ("pause", "paused"),
    "resume": ("unpause", "running"),
}


class LocalProvider(Provider):
    """Nodes as system containers, on two private bridge networks per environment."""

    name: ClassVar[str] = "local"

    def __init__(
        self, environment: str, state: Path, events: Events, privileges: Callable[[], Privileges]
    ) -> None:
        self._environment = environment
        self._state = state
        self._events = events
        self._privileges = privileges
        self._label = f"{labels.ENVIRONMENT}={environment}"

    # -- what is there -----------------------------------------------------------------

    def check(self, wanted: LoadedTopology) -> Iterable[Probe]:
        """An engine, OpenSSH's client, overlayfs, tun, and memory and disk for `wanted`."""
        needed = sum(spec.memory for spec in wanted.topology.node_specs())
        return [
            engine_check,
            lambda: packages_check({"ssh": "openssh-client", "ssh-keygen": "openssh-client"}),
            resources.overlay_check,
            resources.tun_check,
            lambda: self._memory_check(needed),
            self._disk_check,
            lambda: self._networks_check(wanted),
        ]

    def _memory_check(self, needed: int) -> Check:
        running = sum(
            container.attrs["HostConfig"].get("Memory") or 0
            for container in (self._containers(connect()) if engine_check().ok else [])
            if container.status == "running"
        )
        return resources.memory_check(max(needed - running, 0))

    def _networks_check(self, wanted: LoadedTopology) -> Check:
        """Whether the networks that the topology names are free, or this environment's already."""
        if not engine_check().ok:
            return Check("networks", True, "not looked at without an engine")
        client, networks = connect(), wanted.topology.networks
        present = self._networks(client)
        named = {API: networks.api.cidr, EXTERNAL: networks.external.cidr}
        missing = {
            wanted.where("networks", kind, "cidr"): cidr
            for kind, cidr in named.items()
            if kind not in present
        }
        return subnets.check(missing, subnets.taken(client))

    def _disk_check(self) -> Check:
        root = resources.docker_root(connect()) if engine_check().ok else Path("/var/lib/docker")
        stores = (
            Stores(connect(), self._privileges, self._events).names() if engine_check().ok else []
        )
        return resources.disk_check(root, DISK_NEEDED // (4 if stores else 1))

    def nodes(self) -> Inventory | None:
        """From the labels on networks and containers."""
        client = connect()
        networks = self._networks(client)
        containers = self._containers(client)
        if API not in networks or EXTERNAL not in networks or not containers:
            return None
        api, external = (local_facts.subnet(networks[kind]) for kind in (API, EXTERNAL))
        self._reclaim(containers, str(networks[API].name))
        private, _ = key_pair(self._state)
        nodes = tuple(
            self._node(container, networks, external, private) for container in containers
        )
        control = [node for node in nodes if "control" in node.roles]
        vip = api.network_address + VIP_ADDRESS
        if len(control) == 1:
            vip = IPv4Address(control[0].address)
        source = str(containers[0].labels.get(labels.TOPOLOGY, ""))
        return Inventory(
            self._environment, source, nodes, api, external, vip, external.network_address + 1
        )

    def _node(
        self,
        container: Container,
        networks: dict[str, Network],
        external: IPv4Network,
        private: Path,
    ) -> Node:
        addresses = local_facts.addresses(container)
        address = addresses[str(networks[API].name)]
        outside = addresses[str(networks[EXTERNAL].name)]
        return Node(
            name=str(container.labels[labels.NODE]),
            roles=frozenset(json.loads(container.labels[labels.ROLES])),
            address=address,
            external=ExternalLink("eth1", f"{outside}/{external.prefixlen}"),
            ssh=SshTarget(address, private, self._state / "known_hosts"),
        )

    def _reclaim(self, containers: list[Container], api: str) -> None:
        """Make keys anew where the state folder was lost, and have the nodes accept them."""
        known_hosts = self._state / "known_hosts"
        if known_hosts.exists():
            return
        _, public = key_pair(self._state)
        keys = {}
        for container in containers:
            if container.status == "running":
                system_container.authorize(container, public)
                keys[local_facts.addresses(container)[api]] = system_container.host_key(container)
        system_container.write_known_hosts(known_hosts, keys)

    def _containers(self, client: DockerClient) -> list[Container]:
        found = client.containers.list(
            all=True, filters={"label": [self._label, labels.NODE]}, ignore_removed=True
        )
        return sorted(found, key=lambda container: int(container.labels.get("devenv.order", 0)))

    def _networks(self, client: DockerClient) -> dict[str, Network]:
        found = client.networks.list(filters={"label": self._label})
        return {str(network.attrs["Labels"].get(labels.KIND)): network for network in found}

    # -- make --------------------------------------------------------------------------

    def create(self, wanted: LoadedTopology, store: str) -> Inventory:
        """Networks, then volumes cloned from `store` and containers, all nodes at the same time."""
        client = connect()
        ensure_node_image(client, self._events)
        networks = self._ensure_networks(client, wanted)
        api, external = (local_facts.subnet(networks[kind]) for kind in (API, EXTERNAL))
        specs = wanted.topology.node_specs()
        present = {str(node.labels[labels.NODE]): node for node in self._containers(client)}
        local_facts.refuse_losses(specs, present)
        for name in present.keys() - {spec.name for spec in specs}:
            with self._events.step(name, node=name, type="node", why="the topology lost it"):
                self._remove_node(client, present.pop(name))
        offsets = local_facts.offsets(specs, present, api, str(networks[API].name))
        hosts = {spec.name: str(api.network_address + offsets[spec.name]) for spec in specs}
        attachments = {
            spec.name: [
                Attachment(str(networks[API].name), hosts[spec.name]),
                Attachment(
                    str(networks[EXTERNAL].name), str(external.network_address + offsets[spec.name])
                ),
            ]
            for spec in specs
        }

        # Before the threads, of which each would make a pair of its own.
        _, public = key_pair(self._state)

        def ensure(order: int, spec: NodeSpec) -> tuple[str, str]:
            own = connect(timeout=600)
            container = present.get(spec.name)
            if container is not None and container.status == "created":
                # Killed between creating and starting: it may lack a network.
                own.containers.get(container.id).remove(force=True)
                container = None
            why = "it is not there"
            if container is not None and (why := local_facts.difference(container, spec)):
                # Its volume stays, and with it all that the node runs.
                own.containers.get(container.id).remove(force=True)
                container = None
            if container is None:
                with self._events.step(spec.name, node=spec.name, type="node", why=why):
                    container = self._create_node(
                        own, wanted, spec, order, store, attachments[spec.name], hosts
                    )
            else:
                container = own.containers.get(container.id)
                if container.status != "running":
                    with self._events.step(
                        spec.name, node=spec.name, type="node", why=f"it is {container.status}"
                    ):
                        container.unpause() if container.status == "paused" else container.start()
                # The state folder may be another than when the node was made.
                system_container.authorize(container, public)
            return hosts[spec.name], system_container.host_key(container)

        with ThreadPoolExecutor(max_workers=max(len(specs), 1)) as pool:
            keys = dict(pool.map(ensure, range(len(specs)), specs))
        system_container.write_known_hosts(self._state / "known_hosts", keys)
        inventory = self.nodes()
        if inventory is None:
            raise HostError("the nodes vanished while they were made")
        return inventory

    def _create_node(
        self,
        client: DockerClient,
        wanted: LoadedTopology,
        spec: NodeSpec,
        order: int,
        store: str,
        attachments: list[Attachment],
        hosts: dict[str, str],
    ) -> Container:
        name = f"devenv-{self._environment}-{spec.name}"
        client.volumes.create(name, labels=self._labels({labels.NODE: spec.name}))
        helper = {labels.ENVIRONMENT: self._environment}
        Stores(client, self._privileges, self._events).clone(store, name, helper)
        _, public = key_pair(self._state)
        return system_container.create(
            client,
            SystemContainer(
                name=name,
                image=ensure_node_image(client, self._events),
                volume=name,
                public_key=public,
                privileges=self._privileges(),
                labels=self._labels(
                    {
                        labels.NODE: spec.name,
                        labels.ROLES: json.dumps(sorted(spec.roles)),
                        labels.TOPOLOGY: wanted.source,
                        "devenv.order": str(order),
                    }
                ),
                attachments=attachments,
                hosts=hosts,
                memory=spec.memory,
                cpus=None,
            ),
        )

    def _labels(self, more: dict[str, str]) -> dict[str, str]:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return {
            labels.ENVIRONMENT: self._environment,
            labels.OWNER: getpass.getuser(),
            labels.CREATED: now,
            **more,
        }

    def _ensure_networks(self, client: DockerClient, wanted: LoadedTopology) -> dict[str, Network]:
        present = self._networks(client)
        networks = wanted.topology.networks
        for kind, cidr, second in (
            (API, networks.api.cidr, 30),
            (EXTERNAL, networks.external.cidr, 31),
        ):
            if kind in present:
                continue
            self._ensure_network(client, kind, cidr, second)
        return self._networks(client)

    def _ensure_network(
        self, client: DockerClient, kind: str, cidr: IPv4Network | str, second: int
    ) -> None:
        from docker.errors import APIError
        from docker.types import IPAMConfig, IPAMPool

        used = subnets.taken(client)
        while True:
            subnet = subnets.choose(cidr, subnets.private(second), used, f"networks.{kind}.cidr")
            pool = IPAMPool(subnet=str(subnet), gateway=str(subnet.network_address + 1))
            try:
                client.networks.create(
                    f"devenv-{self._environment}-{kind}",
                    driver="bridge",
                    labels=self._labels({labels.KIND: kind}),
                    ipam=IPAMConfig(pool_configs=[pool]),
                )
                return
            except APIError as error:
                # Another process took it in between: the next free one does as well.
                if cidr != "auto" or "overlap" not in str(error):
                    raise HostError(f"the {kind} network {subnet} was refused: {error}") from error
                used.append((subnet, "the engine"))

    # -- power and the rest ------------------------------------------------------------

    def power(self, node: str, action: PowerAction) -> None:
        """As the switch of a machine: off and reset kill, nothing is shut down."""
        from docker.errors import APIError

        container = self._find(node)
        verb, done = _POWER[action]
        if container.status == done:
            return  # The engine would refuse to do it again.
        try:
            getattr(container, verb)(**({"timeout": 0} if action == "reset" else {}))
        except APIError as error:
            raise HostError(
                f"the engine refused to {action} it: {error.explanation}", node=node
            ) from error

    def _find(self, node: str) -> Container:
        for container in self._containers(connect()):
            if container.labels.get(labels.NODE) == node:
                return container
        raise NodeError(
            "no such node", node=node, remedy=f"devenv --name {self._environment} status"
        )

    def snapshot(self, name: str) -> None:
        """Not here: a container's memory cannot be saved."""
        raise Unsupported("the local provider has no snapshots: its nodes are containers")

    def restore(self, name: str) -> None:
        """Not here: a container's memory cannot be saved."""
        raise Unsupported("the local provider has no snapshots: its nodes are containers")

    def destroy(self) -> list[str]:
        """Containers first, then volumes and networks; all with this environment's label."""
        client = connect(timeout=600)
        removed: list[str] = []
        containers = client.containers.list(
            all=True, filters={"label": self._label}, ignore_removed=True
        )
        with ThreadPoolExecutor(max_workers=max(len(containers), 1)) as pool:
            removed += pool.map(_remove_container, [str(c.id) for c in containers])
        for volume in client.volumes.list(filters={"label": self._label}):
            volume.remove(force=True)
            removed.append(f"volume {volume.name}")
        for network in client.networks.list(filters={"label": self._label}):
            network.remove()
            removed.append(f"network {network.name}")
        return removed

    def _remove_node(self, client: DockerClient, container: Container) -> None:
        name = str(container.name)
        container.remove(force=True)
        with contextlib.suppress(Exception):
            client.volumes.get(name).remove(force=True)

    def collect_garbage(self) -> list[str]:
        """Networks and volumes of an environment that has no node container left."""
        return [] if self._containers(connect()) else self.destroy()


def _remove_container(id: str) -> str:
    container = connect(timeout=600).containers.get(id)
    container.remove(force=True, v=True)
    return f"container {container.name}"
