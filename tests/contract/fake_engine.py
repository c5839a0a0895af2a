"""A Docker Engine in memory, as docker-py shows it: what LocalProvider asks of one."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import Any

from docker.types import EndpointConfig, HostConfig, NetworkingConfig
from fake_objects import Container, Filters, Network, Volume, matches, refused

from devenv.images.store import NO_MANIFEST

API_VERSION = "1.41"
_CLONE = re.compile(r"set -- /volumes/(\S+)/_data /volumes/(\S+)/_data")


class Engine:
    """The engine's state, shared by its clients."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.containers_by_id: dict[str, Container] = {}
        self.networks_by_id: dict[str, Network] = {}
        self.volumes_by_name: dict[str, Volume] = {}
        self.lock = threading.RLock()
        #: Called with each method that changes something, before it does: raise to be a kill.
        self.before: Callable[[str], None] = lambda what: None

    def client(self, timeout: int = 60) -> Client:
        """Stands for :func:`devenv.host.engine.connect`."""
        return Client(self)

    def new_id(self) -> str:
        """64 digits, as the engine's."""
        return f"{next(self.numbers):064x}"

    def find_container(self, key: str | None) -> Container:
        """By id or name."""
        for container in self.containers_by_id.values():
            if key in (container.id, container.name):
                return container
        raise refused(404, f"No such container: {key}")

    def add_container(self, container: Container) -> None:
        """Refused if the name is taken."""
        if any(c.name == container.name for c in self.containers_by_id.values()):
            raise refused(409, f'Conflict. The container name "{container.name}" is in use')
        for volume in container.volumes:
            # The engine makes what is not there, without labels.
            self.volumes_by_name.setdefault(
                volume, Volume(self, volume, {"Name": volume, "Labels": {}})
            )
        self.containers_by_id[container.id] = container

    def run_helper(self, script: str) -> int:
        """A clone between volumes, unless it was cloned; a store's name says if it is complete."""
        match = _CLONE.match(script)
        assert match, script
        store, target = match.groups()
        if store not in self.volumes_by_name or "incomplete" in store:
            return NO_MANIFEST
        volume = self.volumes_by_name[target]
        volume.cloned_from = volume.cloned_from or store
        return 0


class Client:
    """Stands for a DockerClient."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.api = Api(engine)
        self.containers = Containers(engine)
        self.networks = Networks(engine)
        self.volumes = Volumes(engine)
        self.images = Images()

    def info(self) -> dict[str, str]:
        """Where the engine keeps its data."""
        return {"DockerRootDir": "/var/lib/docker"}


class Images:
    """Every image is there."""

    def get(self, reference: str) -> str:
        """An image."""
        return reference


@dataclass
class Containers:
    """``client.containers``."""

    engine: Engine

    def list(
        self, all: bool = False, filters: Filters = None, ignore_removed: bool = False
    ) -> list[Container]:
        """Newest first, as the engine lists."""
        found = [
            c
            for c in self.engine.containers_by_id.values()
            if matches(c.labels, filters) and (all or c.state == "running")
        ][::-1]
        for container in found:
            container.reload()
        return found

    def get(self, key: str | None) -> Container:
        """By id or name."""
        found = self.engine.find_container(key)
        found.reload()
        return found

    def create(self, image: str, name: str | None = None, **options: Any) -> Container:
        """A helper with a script; nothing else is made in this way."""
        self.engine.before("helper")
        container = Container(
            self.engine,
            id := self.engine.new_id(),
            name or f"helper-{id}",
            image,
            options["labels"],
            script=options["entrypoint"][2],
        )
        self.engine.add_container(container)
        return container


@dataclass
class Networks:
    """``client.networks``."""

    engine: Engine

    def list(self, filters: Filters = None) -> list[Network]:
        """All that match."""
        found = self.engine.networks_by_id.values()
        return [n for n in found if matches(n.attrs["Labels"], filters)]

    def get(self, key: str) -> Network:
        """By id or name; only here it says what is on it, and of that what runs."""
        for network in self.engine.networks_by_id.values():
            if key in (network.id, network.name):
                on = {
                    c.id: {"Name": c.name, "IPv4Address": f"{c.endpoints[network.name]}/24"}
                    for c in self.engine.containers_by_id.values()
                    if network.name in c.endpoints and c.state in ("running", "paused")
                }
                return replace(network, attrs={**network.attrs, "Containers": on})
        raise refused(404, f"network {key} not found")

    def create(self, name: str, driver: str, labels: dict[str, str], ipam: Any) -> Network:
        """Refused if the name is taken or the subnet overlaps another's."""
        self.engine.before(f"network {name}")
        with self.engine.lock:
            subnet = IPv4Network(ipam["Config"][0]["Subnet"])
            for other in self.engine.networks_by_id.values():
                if other.name == name:
                    raise refused(409, f"network with name {name} already exists")
                if IPv4Network(other.attrs["IPAM"]["Config"][0]["Subnet"]).overlaps(subnet):
                    raise refused(403, "Pool overlaps with other one on this address space")
            attrs = {"Labels": labels, "IPAM": {"Config": [{"Subnet": str(subnet)}]}}
            network = Network(self.engine, self.engine.new_id(), name, attrs)
            self.engine.networks_by_id[network.id] = network
            return network


@dataclass
class Volumes:
    """``client.volumes``."""

    engine: Engine

    def list(self, filters: Filters = None) -> list[Volume]:
        """All that match."""
        found = self.engine.volumes_by_name.values()
        return [v for v in found if matches(v.attrs["Labels"], filters)]

    def get(self, name: str) -> Volume:
        """By name."""
        if name not in self.engine.volumes_by_name:
            raise refused(404, f"no such volume {name}")
        return self.engine.volumes_by_name[name]

    def create(self, name: str, labels: dict[str, str]) -> Volume:
        """One that is there stays as it is."""
        self.engine.before(f"volume {name}")
        made = Volume(self.engine, name, {"Name": name, "Labels": labels})
        return self.engine.volumes_by_name.setdefault(name, made)


@dataclass
class Api:
    """``client.api``: the calls that node containers are made with."""

    engine: Engine

    def create_host_config(self, **options: Any) -> dict[str, Any]:
        """docker-py's own."""
        return dict(HostConfig(version=API_VERSION, **options))

    def create_networking_config(self, endpoints: dict[str, Any]) -> dict[str, Any]:
        """docker-py's own."""
        return dict(NetworkingConfig(endpoints))

    def create_endpoint_config(self, **options: Any) -> dict[str, Any]:
        """docker-py's own."""
        return dict(EndpointConfig(API_VERSION, **options))

    def create_container(self, image: str, **options: Any) -> dict[str, str]:
        """On one network at most; others are connected later."""
        self.engine.before(f"container {options['name']}")
        endpoints = (options["networking_config"] or {}).get("EndpointsConfig", {})
        with self.engine.lock:
            container = Container(
                self.engine,
                self.engine.new_id(),
                options["name"],
                image,
                options["labels"],
                volumes=[bind.split(":")[0] for bind in options["host_config"]["Binds"]],
                endpoints={n: e["IPAMConfig"]["IPv4Address"] for n, e in endpoints.items()},
                host_config=options["host_config"],
                environment=options["environment"],
            )
            container.check_addresses()
            self.engine.add_container(container)
        return {"Id": container.id}

    def start(self, id: str) -> None:
        """As the container's own."""
        self.engine.before(f"start {self.engine.find_container(id).name}")
        self.engine.find_container(id).start()
