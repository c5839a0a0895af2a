"""VirtualBox, by `VBoxManage`, whose ``--machinereadable`` output is that of its manual."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv4Network
from threading import Lock
from typing import ClassVar

from devenv.core.errors import HostError
from devenv.providers import vagrant_tools
from devenv.providers.vagrant_hypervisor import (
    API,
    EXTERNAL,
    Facts,
    Hypervisor,
    Machine,
    Plug,
    State,
    by_place,
    read_facts,
)

_REMOVAL = Lock()
_FACTS, _KEY = "devenv/facts", "devenv/key"
_STATES: dict[str, State] = {
    "poweroff": "off",
    "aborted": "off",
    "saved": "off",
    "paused": "paused",
}
_VERBS: dict[Plug, tuple[str, ...]] = {
    "kill": ("controlvm", "poweroff"),
    "reset": ("controlvm", "reset"),
    "pause": ("controlvm", "pause"),
    "resume": ("controlvm", "resume"),
}


def _manage(*arguments: str, timeout: float = 120) -> str:
    done = vagrant_tools.run(["VBoxManage", "-q", *arguments], timeout=timeout)
    if done.code != 0:
        raise HostError(
            f"`VBoxManage {' '.join(arguments[:2])}` failed",
            detail=done.said,
            remedy="devenv doctor --provider vagrant",
        )
    return done.out


class VirtualBox(Hypervisor):
    """Machines of this user's VirtualBox, on host-only networks; the first card is NAT."""

    name: ClassVar[str] = "virtualbox"

    @classmethod
    def names(cls) -> list[str]:
        """Of the machines."""
        return re.findall(r'^"(.*)" \{', _manage("list", "vms"), re.MULTILINE)

    def machines(self) -> list[Machine]:
        """From the list of machines, the state and the extra data of each."""
        found = []
        for name in self.names():
            if name.startswith(self.prefix):
                state = _STATES.get(self._info(name).get("VMState", ""), "running")
                facts = read_facts(_extra(name, _FACTS))
                found.append(Machine(name.removeprefix(self.prefix), state, facts, False))
        return by_place(found)

    def _info(self, name: str) -> dict[str, str]:
        lines = _manage("showvminfo", name, "--machinereadable").splitlines()
        pairs = (line.partition("=") for line in lines)
        return {key.strip('"'): value.strip('"') for key, _, value in pairs}

    def describe(self, node: str, facts: Facts) -> None:
        """As extra data of the machine, which no snapshot has."""
        _manage("setextradata", self.prefix + node, _FACTS, facts.text())

    def plug(self, node: str, act: Plug) -> None:
        """Without a window."""
        if act == "start":
            _manage("startvm", self.prefix + node, "--type", "headless")
        else:
            verb, what = _VERBS[act]
            _manage(verb, self.prefix + node, what)

    def resize(self, node: str, memory: int, cpus: int) -> None:
        """In the machine's settings."""
        size = str(memory // 2**20)
        _manage("modifyvm", self.prefix + node, "--memory", size, "--cpus", str(cpus))

    def snapshots(self, node: str) -> dict[str, bool]:
        """The oldest first: each is the child of the one before. Whether it was on is in its name's
        description, which `save` writes."""
        done = vagrant_tools.run(
            ["VBoxManage", "-q", "snapshot", self.prefix + node, "list", "--machinereadable"]
        )
        if done.code != 0:  # "This machine does not have any snapshots"
            return {}
        pairs = dict(re.findall(r'^(Snapshot\w+[-\d]*)="(.*)"$', done.out, re.MULTILINE))
        names = {key: value for key, value in pairs.items() if key.startswith("SnapshotName")}
        return {
            name: pairs.get(key.replace("Name", "Description")) != "off"
            for key, name in sorted(names.items(), key=lambda item: len(item[0]))
        }

    def save(self, node: str, name: str) -> None:
        """With its memory if it is on."""
        on = self._info(self.prefix + node).get("VMState") not in ("poweroff", "aborted")
        said = "--description=" + ("on" if on else "off")
        _manage("snapshot", self.prefix + node, "take", name, said, timeout=900)

    def revert(self, node: str, name: str) -> None:
        """Restored it is a machine with a saved state: started paused, as the others."""
        on = self.snapshots(node)[name]
        if self._info(self.prefix + node).get("VMState") in ("running", "paused"):
            self.plug(node, "kill")
        _manage("snapshot", self.prefix + node, "restore", name, timeout=900)
        if on:
            self.plug(node, "start")
            self.plug(node, "pause")

    # -- networks ----------------------------------------------------------------------

    def networks(self) -> dict[str, IPv4Network]:
        """Those of the machines' own facts: a host-only network has no name to choose."""
        for machine in self.machines():
            if machine.facts:
                return {API: machine.facts.api.network, EXTERNAL: machine.facts.outside.network}
        return {}

    def taken(self) -> list[tuple[IPv4Network, str]]:
        """Of all host-only networks."""
        return [(net, f"the host-only network {name}") for name, net in self._host_only()]

    def _host_only(self) -> Iterator[tuple[str, IPv4Network]]:
        for block in _manage("list", "hostonlyifs").split("\n\n"):
            pairs = (line.partition(":") for line in block.splitlines())
            values = {key.strip(): value.strip() for key, _, value in pairs}
            if values.get("IPAddress", "0.0.0.0") != "0.0.0.0":  # noqa: S104 - it means none
                interface = IPv4Interface(f"{values['IPAddress']}/{values['NetworkMask']}")
                yield values["Name"], interface.network

    def candidates(self, kind: str) -> Iterator[IPv4Network]:
        """Those that VirtualBox allows without /etc/vbox/networks.conf."""
        odd = kind == EXTERNAL
        nets = IPv4Network("192.168.56.0/21").subnets(new_prefix=24)
        return (net for at, net in enumerate(nets) if at % 2 == odd)

    def make_network(self, kind: str, subnet: IPv4Network) -> None:
        """Vagrant makes it with the first machine."""

    def remove(self, node: str) -> list[str]:
        """The machine with its disks and snapshots, and the networks that only it was on."""
        name = self.prefix + node
        if f'"{name}" {{' not in _manage("list", "vms"):
            return []
        info = self._info(name)
        if info.get("VMState") in ("running", "paused", "stuck"):
            _manage("controlvm", name, "poweroff")
        cards = {value for key, value in info.items() if key.startswith("hostonlyadapter")}
        _manage("unregistervm", name, "--delete", timeout=300)
        return [f"machine {name}", *self._remove_unused(cards)]

    def _remove_unused(self, cards: set[str]) -> list[str]:
        # Machines are removed at the same time: the last one takes the network.
        with _REMOVAL:
            used, there = _manage("list", "-l", "vms"), {name for name, _ in self._host_only()}
            gone = [card for card in sorted(cards & there) if f"'{card}'" not in used]
            for card in gone:
                _manage("hostonlyif", "remove", card)
            return [f"network {card}" for card in gone]

    def remove_rest(self) -> list[str]:
        """The key."""
        if not _extra("global", self._key):
            return []
        _manage("setextradata", "global", self._key)
        return [f"key of {self.environment}"]

    def console_path(self, node: str) -> str | None:
        """None: VirtualBox writes as this user, and the console is looked at in its window."""
        return None

    def console(self, node: str) -> str:
        """There is none."""
        return ""

    @property
    def _key(self) -> str:
        return f"{_KEY}/{self.environment}"

    def kept_key(self) -> str | None:
        """From VirtualBox's own settings, which are this user's alone."""
        return b64decode(_extra("global", self._key)).decode() or None

    def keep_key(self, private: str) -> None:
        """Into VirtualBox's own settings."""
        if self.kept_key() != private:
            _manage("setextradata", "global", self._key, b64encode(private.encode()).decode())


def _extra(where: str, key: str) -> str:
    found = _manage("getextradata", where, key).strip()
    return found.removeprefix("Value: ") if found.startswith("Value: ") else ""
