"""A Docker Engine in memory, as docker-py shows it: what LocalProvider asks of one.

It refuses what a real engine refuses (Docker 20.10 and later): names and addresses that are
taken, networks that overlap or are in use, volumes in use, commands in what does not run.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from docker.errors import APIError, NotFound
from docker.types import EndpointConfig, HostConfig, NetworkingConfig

from devenv.images.store import NO_MANIFEST

API_VERSION = "1.41"
_CLONE = re.compile(r"set -- /volumes/(\S+)/_data /volumes/(\S+)/_data")
Filters = Mapping[str, Any] | None


def refused(status: int, words: str) -> APIError:
    """The error that docker-py makes of an engine's answer."""

    class Response:
        status_code = status
        reason = words
        url = "http+docker://fake"

        def json(self) -> dict[str, str]:
            return {"message": words}

    kind = NotFound if status == 404 else APIError
    return kind(words, response=Response(), explanation=words)


def matches(labels: Mapping[str, str], filters: Filters) -> bool:
    """As the engine filters: each label by name, or by name and value."""
    wanted = (filters or {}).get("label", [])
    for label in [wanted] if isinstance(wanted, str) else wanted:
        name, equals, value = label.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True


@dataclass
class Volume:
    """A named volume; `cloned_from` is the image store whose clone it holds."""

    engine: Engine
    name: str
    attrs: dict[str, Any]
    cloned_from: str = ""
    host_key: str = ""

    def remove(self, force: bool = False) -> None:
        """Refused while a container has it, with force too."""
        users = [c.name for c in self.engine.containers_by_id.values() if self.name in c.volumes]
        if users:
            raise refused(409, f"remove {self.name}: volume is in use - {users}")
        self.engine.volumes_by_name.pop(self.name, None)


@dataclass
class Network:
    """A bridge network."""

    engine: Engine
    id: str
    name: str
    attrs: dict[str, Any]

    def connect(self, container: str, ipv4_address: str) -> None:
        """Give a container an address here."""
        found = self.engine.containers_by_id[container]
        found.endpoints[self.name] = ipv4_address
        found.check_addresses()

    def remove(self) -> None:
        """Refused while something that runs is on it."""
        on = [
            c.name
            for c in self.engine.containers_by_id.values()
            if self.name in c.endpoints and c.state in ("running", "paused")
        ]
        if on:
            raise refused(403, f"network {self.name} has active endpoints: {on}")
        del self.engine.networks_by_id[self.id]


@dataclass
class Container:
    """A container; `status` and `attrs` are as of the last look, as docker-py's are."""

    engine: Engine
    id: str
    name: str
    image: str
    labels: dict[str, str]
    volumes: list[str] = field(default_factory=list)
    endpoints: dict[str, str] = field(default_factory=dict)
    host_config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    script: str = ""
    state: str = "created"
    starts: int = 0
    code: int = 0
    keys: set[str] = field(default_factory=set)
    status: str = "created"

    @property
    def attrs(self) -> dict[str, Any]:
        """Networks: the address that was asked for stays, the one in use goes when it is off."""
        on = self.state in ("running", "paused")
        networks = {
            name: {"IPAMConfig": {"IPv4Address": address}, "IPAddress": address if on else ""}
            for name, address in self.endpoints.items()
        }
        return {"NetworkSettings": {"Networks": networks}, "HostConfig": self.host_config}

    def reload(self) -> None:
        """Look again."""
        self.status = self.engine.find_container(self.id).state

    def check_addresses(self) -> None:
        """Refuse an address outside its network, or one that another container holds."""
        for network, address in self.endpoints.items():
            (subnet,) = [
                IPv4Network(n.attrs["IPAM"]["Config"][0]["Subnet"])
                for n in self.engine.networks_by_id.values()
                if n.name == network
            ]
            if address not in map(str, subnet.hosts()):
                raise refused(400, f"{address} is not in {subnet}")
            for other in self.engine.containers_by_id.values():
                if other is not self and other.endpoints.get(network) == address:
                    raise refused(403, f"Address already in use: {address}")

    def start(self) -> None:
        """No change if it runs; refused if it is paused."""
        if self.state == "paused":
            raise refused(409, "cannot start a paused container, try unpause instead")
        if self.state == "running":
            return
        self.check_addresses()
        self.starts += 1
        self.state = "running"
        if self.script:
            self.code = self.engine.run_helper(self.script)
            self.state = "exited"
            return
        self.keys.add(self.environment.get("DEVENV_AUTHORIZED_KEY", ""))
        for volume in self.volumes:
            found = self.engine.volumes_by_name[volume]
            found.host_key = found.host_key or f"ssh-ed25519 KEY-{next(self.engine.numbers)}"

    def kill(self) -> None:
        """Refused if it does not run."""
        self._needs("running", "paused")
        self.state = "exited"

    def stop(self, timeout: int = 10) -> None:
        """No change if it does not run."""
        self.state = "exited" if self.state in ("running", "paused") else self.state

    def restart(self, timeout: int = 10) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Refused if it is paused."""
        self._needs("running")
        self.state = "paused"

    def unpause(self) -> None:
        """Refused if it is not."""
        self._needs("paused")
        self.state = "running"

    def exec_run(
        self, command: list[str], environment: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """`cat` of the host key, and the script that authorizes a key."""
        self._needs("running")
        if command[0] == "cat":
            return 0, self.engine.volumes_by_name[self.volumes[0]].host_key.encode() + b" root@x\n"
        if command[0] == "sh" and "grep -q" in command[2]:
            self.keys.add((environment or {})["KEY"])
            return 0, b""
        raise AssertionError(f"nothing here knows {command}")

    def wait(self, timeout: int) -> dict[str, int]:
        """Helpers end at once."""
        return {"StatusCode": self.code}

    def logs(self, tail: int = 0) -> bytes:
        """Nothing was said."""
        return b""

    def remove(self, force: bool = False, v: bool = False) -> None:
        """Refused while it runs, unless forced."""
        found = self.engine.find_container(self.id)
        if found.state in ("running", "paused") and not force:
            raise refused(409, f"You cannot remove a running container {self.name}")
        del self.engine.containers_by_id[self.id]

    def _needs(self, *states: str) -> None:
        if self.state not in states:
            raise refused(409, f"Container {self.name} is {self.state}, not {states[0]}")


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
        """A clone between volumes; the store is complete if its name does not say otherwise."""
        match = _CLONE.match(script)
        assert match, script
        store, target = match.groups()
        if store not in self.volumes_by_name or "incomplete" in store:
            return NO_MANIFEST
        self.volumes_by_name[target].cloned_from = store
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
        """By id or name."""
        for network in self.engine.networks_by_id.values():
            if key in (network.id, network.name):
                return network
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
        return HostConfig(version=API_VERSION, **options)

    def create_networking_config(self, endpoints: dict[str, Any]) -> dict[str, Any]:
        """docker-py's own."""
        return NetworkingConfig(endpoints)

    def create_endpoint_config(self, **options: Any) -> dict[str, Any]:
        """docker-py's own."""
        return EndpointConfig(API_VERSION, **options)

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
