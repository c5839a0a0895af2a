"""Three control nodes and a compute node in memory, as SSH, Docker and a provider show them."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker.errors

from devenv.core import labels
from devenv.core.errors import NodeError
from devenv.core.events import Events
from devenv.faults.site import Site
from devenv.nodes.node import ExternalLink, Node, SshTarget
from devenv.providers.base import Inventory

VIP = "172.30.0.10"
ROOT = "/var/lib/docker"


def node(number: int, name: str, *roles: str, own_disk: bool = True) -> Node:
    address = f"172.30.0.{number}"
    target = SshTarget(address, Path("/key"), Path("/hosts"))
    link = ExternalLink("eth1", f"172.31.0.{number}/24")
    return Node(name, frozenset(roles), address, link, target, own_disk=own_disk)


def inventory(*nodes: Node) -> Inventory:
    networks = IPv4Network("172.30.0.0/24"), IPv4Network("172.31.0.0/24")
    return Inventory(
        "lab", "multinode", nodes, *networks, IPv4Address(VIP), IPv4Address("172.31.0.1")
    )


NODES = tuple(
    node(11 + number, name, *roles)
    for number, (name, *roles) in enumerate(
        [("ctl1", "control"), ("ctl2", "control"), ("ctl3", "control"), ("cmp1", "compute")]
    )
)


@dataclass
class Machine:
    """A node's insides."""

    node: Node
    world: World
    power: str = "running"
    boots: int = 1
    addresses: set[str] = field(default_factory=set)
    containers: dict[str, FakeContainer] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)

    def boot(self) -> None:
        """What is in memory goes; containers stay dead or start, helpers are removed."""
        self.boots += 1
        self.tables.clear()
        self.containers = {
            n: c for n, c in self.containers.items() if "devenv.fault" not in c.labels
        }


class World:
    """The machines, what was done to them, and what works."""

    def __init__(self, nodes: tuple[Node, ...] = NODES) -> None:
        self.inventory = inventory(*nodes)
        self.machines = {one.name: Machine(one, self) for one in nodes}
        self.did: list[str] = []
        #: Words of commands, scripts and power actions that have no effect; that fail.
        self.idle: set[str] = set()
        self.failing: dict[str, BaseException] = {}
        self.said: list[str] = []
        #: Called with each thing before it is done.
        self.watch: Callable[[str], None] = lambda what: None
        self.lock = threading.Lock()
        for machine in self.machines.values():
            machine.containers = {
                name: FakeContainer(machine, name, {labels.ENVIRONMENT: "lab"})
                for name in ("haproxy", "mariadb")
            }
        next(iter(self.machines.values())).addresses.add(VIP)

    def does(self, what: str) -> bool:
        """Write down what is done; whether it has an effect."""
        with self.lock:
            self.did.append(what)
        self.watch(what)
        for words, error in self.failing.items():
            if words in what:
                raise error
        return not any(words in what for words in self.idle)

    def site(self) -> FakeSite:
        events = Events(lambda event: self.said.append(f"{event.kind} {event.step} {event.text}"))
        return FakeSite(self, events)

    def can_talk(self, one: Machine, other: Machine) -> bool:
        """Whether packets pass, as the rules of both say."""
        if "running" not in (one.power, other.power) or one.power != other.power:
            return False
        for here, there in ((one, other), (other, one)):
            for text in here.tables.values():
                dropped = re.findall(r"^\s+ip [sd]addr \{([^}]*)\} drop$", text, re.MULTILINE)
                if "\n    drop\n" in text or any(there.node.address in each for each in dropped):
                    return False
        return True

    # -- as a provider -------------------------------------------------------------------

    def power(self, name: str, action: str) -> None:
        """As the local provider's."""
        machine = self.machines[name]
        if not self.does(f"power {action} {name}"):
            return
        if action == "reset" or (action == "on" and machine.power == "exited"):
            machine.boot()
        states = {"off": "exited", "pause": "paused"}
        machine.power = states.get(action, "running")


@dataclass
class FakeContainer:
    """A container on a node."""

    machine: Machine
    name: str
    labels: dict[str, str]
    status: str = "running"

    @property
    def id(self) -> str:
        return f"id-{self.name}"

    def start(self) -> None:
        if self.machine.world.does(f"start {self.name}"):
            self.status = "running"

    def unpause(self) -> None:
        if self.machine.world.does(f"unpause {self.name}"):
            self.status = "running"

    def exec_run(self, command: list[str], **options: Any) -> Any:
        """The helper's scripts, and the client of the database."""
        machine = self.machine
        if command[0] == "mariadb":
            return 0, b"ctl2\n"
        script, rules = command[2], (options.get("environment") or {}).get("RULES", "")
        if not machine.world.does(f"script {script} {rules}"):
            return 0, (b"", b"")
        out = ""
        if "nft -f" in script:
            out = load(machine, rules)
        elif "address show" in script:
            out = f"2: eth0    inet {machine.node.address}/24 brd 172.30.0.255 scope global eth0"
        elif "route get" in script:
            out = "172.30.0.1 dev eth0 src 172.30.0.11"
        elif "neigh show" in script:
            out = "".join(
                f"{one.node.address} lladdr 02:42:00:00:00:{one.node.address[-2:]} REACHABLE\n"
                for one in machine.world.machines.values()
            )
        elif "tc qdisc add" in script:
            return 2, (b"", b"Error: Specified qdisc kind is unknown.\n")
        return 0, (out.encode(), b"")


def load(machine: Machine, rules: str) -> str:
    """As nft: declare, delete, define."""
    for id in re.findall(r"^delete table netdev devenv_fault_(\w+)$", rules, re.MULTILINE):
        machine.tables.pop(id, None)
    for id, body in re.findall(
        r"^table netdev devenv_fault_(\w+) \{\n(.*?)^\}$", rules, re.MULTILINE | re.DOTALL
    ):
        machine.tables[id] = body
    return ""


class FakeDocker:
    """A node's engine: docker-py's client and its low-level one."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.api = self
        self.containers: Any = _Containers(machine)

    def ping(self) -> None:
        if self.machine.power != "running":
            raise OSError("no answer")

    def info(self) -> dict[str, str]:
        return {"DockerRootDir": ROOT}

    def create_host_config(self, **options: Any) -> dict[str, Any]:
        return options

    def create_container(self, image: str, **options: Any) -> dict[str, str]:
        assert options["host_config"]["network_mode"] == "host"
        name = options["name"]
        self.machine.world.does(f"create {name}")
        self.machine.containers[name] = FakeContainer(self.machine, name, options["labels"])
        return {"Id": name}

    def start(self, name: str) -> None:
        self.machine.world.does(f"start {name}")

    def remove_container(self, name: str, force: bool) -> None:
        name = name.removeprefix("id-")
        if name not in self.machine.containers:
            raise docker.errors.NotFound(name)
        self.machine.world.does(f"remove {name}")
        del self.machine.containers[name]

    def inspect_container(self, name: str) -> dict[str, Any]:
        found = self.containers.get(name)
        running = found.status in ("running", "paused")
        state = {"Running": running, "Restarting": False, "Status": found.status}
        return {"State": state, "Config": {"Labels": found.labels}}

    def _change(self, verb: str, name: str, status: str) -> None:
        if self.machine.world.does(f"{verb} {name} on {self.machine.node.name}"):
            self.machine.containers[name].status = status

    def kill(self, name: str) -> None:
        self._change("kill", name, "exited")

    def stop(self, name: str, timeout: int) -> None:
        self._change("stop", name, "exited")

    def pause(self, name: str) -> None:
        self._change("pause", name, "paused")

    def exec_create(self, name: str, command: list[str]) -> dict[str, str]:
        if self.machine.containers[name].status == "paused":
            raise docker.errors.APIError(f"Container {name} is paused")
        return {"Id": "e"}

    def exec_start(self, id: str) -> bytes:
        return b""


@dataclass
class _Containers:
    machine: Machine

    def __call__(self, all: bool, filters: dict[str, str]) -> list[dict[str, Any]]:
        name, _, value = filters["label"].partition("=")
        return [
            {"Names": [f"/{one.name}"], "State": one.status, "Labels": one.labels, "ImageID": "i"}
            for one in self.machine.containers.values()
            if name in one.labels and value in ("", one.labels[name])
        ]

    def get(self, name: str) -> FakeContainer:
        if name not in self.machine.containers:
            raise docker.errors.NotFound(name)
        return self.machine.containers[name]


class FakeConnection:
    """SSH to a node."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.node = machine.node
        self.docker = FakeDocker(machine)
        self.opened = 0

    def open(self, timeout: float = 60) -> None:
        self.opened += 1
        if self.machine.power != "running":
            raise NodeError("no answer", node=self.node.name)

    def read(self, path: str) -> bytes:
        self.run(["cat", path])
        boots = self.machine.boots
        return b"same\n" if "boot_id" in path else b"1 (a b) S " + b"0 " * 18 + b"%d 0" % boots

    def run(
        self, command: Any, *, check: bool = True, timeout: float = 300, stdin: Any = None
    ) -> subprocess.CompletedProcess[bytes]:
        """What faults and targets ask of a shell."""
        line = command if isinstance(command, str) else " ".join(command)
        if self.machine.power != "running":
            raise NodeError(f"`{line}` did not end", node=self.node.name)
        return subprocess.CompletedProcess([], *self._answer(line))

    def _answer(self, line: str) -> tuple[int, bytes, bytes]:
        world, machine = self.machine.world, self.machine
        if line.startswith("for a in"):
            wanted = line.removeprefix("for a in ").partition(";")[0].split()
            others = [one for one in world.machines.values() if one.node.address in wanted]
            there = [one.node.address for one in others if world.can_talk(machine, one)]
            return 0, "\n".join(there).encode(), b""
        if line.startswith("for i in"):
            lossy = any("numgen" in text for text in machine.tables.values())
            return 0, b"12\n9\nlost\n" if lossy else b"12\n9\n11\n", b""
        if "SSH_CONNECTION" in line:
            return 0, f"172.30.0.1 5555 {self.node.address} 22".encode(), b""
        if "fib_trie" in line:
            own = [self.node.address, *machine.addresses]
            return 0, "".join(f"  |-- {one}\n     /32 host LOCAL\n" for one in own).encode(), b""
        if "fallocate" in line:
            if world.does("fill"):
                machine.files.add(re.findall(r"^file=(\S+)", line)[0])
            return 0, b"", b""
        if "head -c" in line:
            return (
                (1, b"write error: No space left on device", b"")
                if machine.files
                else (0, b"", b"")
            )
        if line.startswith("rm -f"):
            world.does(line)
            machine.files -= set(line.split())
        if line.startswith("ls -d"):
            return 0, "\n".join(machine.files).encode(), b""
        return 0, b"", b""


class FakeSite(Site):
    """A site whose fresh SSH connections are asked of the world."""

    def __init__(self, world: World, events: Events) -> None:
        self.connections = {name: FakeConnection(one) for name, one in world.machines.items()}
        provider: Any = SimpleNamespace(power=world.power)
        open_ones: Any = self.connections
        super().__init__("lab", provider, world.inventory, open_ones, events)
        self.world = world

    def answers(self, name: str, timeout: int = 2) -> bool:
        return self.world.machines[name].power == "running"
