"""Volumes, networks and containers of an engine in memory, as docker-py shows them.

Each refuses what a real engine refuses (Docker 20.10 and later): names and addresses that are
taken, networks that overlap or are in use, volumes in use, commands in what does not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, NotFound

if TYPE_CHECKING:
    from fake_engine import Engine

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
        self.engine.before(f"remove volume {self.name}")
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
        self.engine.before(f"connect {found.name}")
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
    hosts: str = ""
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
        self.hosts = self.first_hosts()
        self.keys.add(self.environment.get("DEVENV_AUTHORIZED_KEY", ""))
        for volume in self.volumes:
            found = self.engine.volumes_by_name[volume]
            found.host_key = found.host_key or f"ssh-ed25519 KEY-{next(self.engine.numbers)}"

    def first_hosts(self) -> str:
        """/etc/hosts after each start: what it was made with, and its own name on each network."""
        given = [entry.partition(":") for entry in self.host_config.get("ExtraHosts") or []]
        own = [f"{address}\t{self.labels['devenv.node']}" for address in self.endpoints.values()]
        lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost", "# by hand"]
        lines += [f"{address}\t{name}" for name, _, address in given]
        return "".join(f"{line}\n" for line in [*lines, *own])

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
        """`cat` of the host key and of /etc/hosts, and the scripts that change files."""
        self._needs("running")
        if command == ["cat", "/etc/hosts"]:
            return 0, self.hosts.encode()
        if command[0] == "sh" and "> /etc/hosts" in command[2]:
            self.hosts = (environment or {})["HOSTS"]
            return 0, b""
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
        self.engine.before(f"remove {self.name}")
        found = self.engine.find_container(self.id)
        if found.state in ("running", "paused") and not force:
            raise refused(409, f"You cannot remove a running container {self.name}")
        del self.engine.containers_by_id[self.id]

    def _needs(self, *states: str) -> None:
        if self.state not in states:
            raise refused(409, f"Container {self.name} is {self.state}, not {states[0]}")
