"""The embedded provider: nodes are system containers on this machine's Docker Engine."""

from __future__ import annotations

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
from devenv.images.store import Store, Stores, ensure_node_image
from devenv.nodes import container as system_container
from devenv.nodes.container import Attachment, SystemContainer
from devenv.nodes.keys import key_pair
from devenv.nodes.node import ExternalLink, Node, SshTarget
from devenv.providers import local_facts, local_power, places, subnets
from devenv.providers.base import Inventory, PowerAction, Provider, refuse_change
from devenv.topology.load import LoadedTopology
from devenv.topology.models import NodeSpec

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.networks import Network
    from docker.models.volumes import Volume

#: What images, volumes and guests of a first environment take on disk, bytes.
DISK_NEEDED = 10 * 2**30
API, EXTERNAL = "api", "external"


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
        # One that was never started is no node yet: a kill came first, it may lack a network.
        containers = [each for each in self._containers(client) if each.status != "created"]
        if API not in networks or EXTERNAL not in networks or not containers:
            return None
        api, external = (local_facts.subnet(networks[kind]) for kind in (API, EXTERNAL))
        self._reclaim(containers, str(networks[API].name))
        private, _ = key_pair(self._state)
        nodes = tuple(
            self._node(container, networks, external, private) for container in containers
        )
        control = [node for node in nodes if "control" in node.roles]
        label = networks[API].attrs["Labels"].get(local_facts.VIP)
        vip = IPv4Address(label or api.network_address + places.VIP_OFFSET)
        if control and not label:
            vip = IPv4Address(control[0].address)
        return Inventory(
            environment=self._environment,
            source=str(containers[0].labels.get(labels.TOPOLOGY, "")),
            nodes=nodes,
            api=api,
            external=external,
            vip=vip,
            gateway=external.network_address + 1,
            virtual=bool(label),
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
            own_disk=False,
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
        return sorted(found, key=lambda each: (local_facts.order(each), str(each.name)))

    def _volumes(self, client: DockerClient) -> list[Volume]:
        return list(client.volumes.list(filters={"label": [self._label, labels.NODE]}))

    def _networks(self, client: DockerClient) -> dict[str, Network]:
        found = client.networks.list(filters={"label": self._label})
        return {str(network.attrs["Labels"].get(labels.KIND)): network for network in found}

    # -- make --------------------------------------------------------------------------

    def create(self, wanted: LoadedTopology, store: Store) -> Inventory:
        """Networks, then volumes cloned from `store` and containers, all nodes at the same time."""
        client = connect()
        self._refuse(client, wanted)
        ensure_node_image(client, self._events)
        networks = self._ensure_networks(client, wanted)
        specs = wanted.topology.node_specs()
        self._remove_lost(client, {spec.name for spec in specs})
        present = {str(node.labels[labels.NODE]): node for node in self._containers(client)}
        api, external = (local_facts.subnet(networks[kind]) for kind in (API, EXTERNAL))
        offsets = local_facts.offsets(specs, present, networks[API], networks[EXTERNAL])
        orders = local_facts.orders(specs, present)
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

        def ensure(spec: NodeSpec) -> tuple[str, str]:
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
                        own,
                        wanted,
                        spec,
                        orders[spec.name],
                        store.volume,
                        attachments[spec.name],
                        hosts,
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
            # Nodes may have come and gone since it was made, with the names of that day.
            system_container.ensure_hosts(container, hosts, api)
            return hosts[spec.name], system_container.host_key(container)

        with ThreadPoolExecutor(max_workers=max(len(specs), 1)) as pool:
            keys = dict(pool.map(ensure, specs))
        system_container.write_known_hosts(self._state / "known_hosts", keys)
        inventory = self.nodes()
        if inventory is None:
            raise HostError("the nodes vanished while they were made")
        return inventory

    def _refuse(self, client: DockerClient, wanted: LoadedTopology) -> None:
        """All that can be wrong with `wanted` here, while nothing is changed.

        :raises InputError: in words.
        """
        inventory, api = self.nodes(), self._networks(client).get(API)
        refuse_change(inventory, wanted)
        places.refuse_crowd(wanted)
        if inventory is None:
            local_facts.refuse_leftovers(wanted, self._environment, api, self._volumes(client))
        elif inventory.virtual and api is not None:
            nodes = {str(node.labels[labels.NODE]): node for node in self._containers(client)}
            local_facts.refuse_held_vip(inventory.vip, client.networks.get(str(api.id)), nodes)

    def _remove_lost(self, client: DockerClient, names: set[str]) -> None:
        """Remove nodes that are not in `names`, and what a kill in here left of such."""
        containers = {str(node.labels[labels.NODE]): node for node in self._containers(client)}
        volumes = {local_facts.node_of(volume): volume for volume in self._volumes(client)}
        for name in sorted((containers.keys() | volumes.keys()) - names):
            with self._events.step(name, node=name, type="node", why="the topology lost it"):
                if name in containers:
                    containers[name].remove(force=True)
                if name in volumes:
                    volumes[name].remove(force=True)

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
                        local_facts.ORDER: str(order),
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
        present, networks = self._networks(client), wanted.topology.networks
        for kind, cidr, second in (
            (API, networks.api.cidr, 30),
            (EXTERNAL, networks.external.cidr, 31),
        ):

            def labelled(subnet: IPv4Network, kind: str = kind) -> dict[str, str]:
                vip = places.virtual_ip(wanted, subnet) if kind == API else ""
                return self._labels({labels.KIND: kind, **({local_facts.VIP: vip} if vip else {})})

            if kind not in present:
                name = f"devenv-{self._environment}-{kind}"
                free = subnets.private(second)
                subnets.make(client, name, cidr, free, f"networks.{kind}.cidr", labelled)
        return self._networks(client)

    # -- power and the rest ------------------------------------------------------------

    def power(self, node: str, action: PowerAction) -> None:
        """Off and reset kill the node's container, whatever it does; pause freezes it."""
        container = self._find(node)
        if local_power.change(container, node, action):
            self._tell_hosts(container)

    def _tell_hosts(self, container: Container) -> None:
        """The others' names as of now: its start brought those of the day it was made."""
        client = connect()
        api = self._networks(client)[API]
        hosts = {
            str(each.labels[labels.NODE]): local_facts.addresses(each)[str(api.name)]
            for each in self._containers(client)
        }
        system_container.ensure_hosts(container, hosts, local_facts.subnet(api))

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

    def collect_garbage(self) -> list[str]:
        """Networks and volumes of an environment that has no node container left."""
        return [] if self._containers(connect()) else self.destroy()


def _remove_container(id: str) -> str:
    container = connect(timeout=600).containers.get(id)
    container.remove(force=True, v=True)
    return f"container {container.name}"
