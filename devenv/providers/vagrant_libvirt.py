"""libvirt's system daemon, by `virsh`: the bindings for Python would need a compiler."""

from __future__ import annotations

import re
import tempfile
import uuid
import xml.etree.ElementTree as ElementTree
from base64 import b64decode, b64encode
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import ClassVar

from devenv.core.errors import HostError
from devenv.host.system import tail
from devenv.providers import subnets, vagrant_tools
from devenv.providers.vagrant_hypervisor import (
    API,
    EXTERNAL,
    KINDS,
    MANAGEMENT,
    Facts,
    Hypervisor,
    Machine,
    Plug,
    State,
    by_place,
    parallel,
    read_facts,
)

URI = "qemu:///system"
#: vagrant-libvirt's storage pool, and where it makes it if it is not there.
POOL, POOL_FOLDER = "default", "/var/lib/libvirt/images"

_SECOND = {MANAGEMENT: 29, API: 30, EXTERNAL: 31}
_STATES: dict[str, State] = {
    "shut off": "off",
    "crashed": "off",
    "paused": "paused",
    "pmsuspended": "paused",
}
_VERBS: dict[Plug, str] = {
    "start": "start",
    "kill": "destroy",
    "reset": "reset",
    "pause": "suspend",
    "resume": "resume",
}


def virsh(*arguments: str, timeout: float = 120) -> str:
    """What `virsh` says.

    :raises HostError: when it fails.
    """
    done = vagrant_tools.run(["virsh", "-q", "-c", URI, *arguments], timeout=timeout)
    if done.code != 0:
        raise HostError(
            f"`virsh {' '.join(arguments[:2])}` failed",
            detail=done.said,
            remedy="devenv doctor --provider vagrant",
        )
    return done.out


def _lines(*arguments: str) -> list[str]:
    return [line.strip() for line in virsh(*arguments).splitlines() if line.strip()]


class Libvirt(Hypervisor):
    """Domains, networks and volumes of the system's libvirt."""

    name: ClassVar[str] = "libvirt"

    @classmethod
    def names(cls) -> list[str]:
        """Of domains and networks."""
        return [*_lines("list", "--all", "--name"), *_lines("net-list", "--all", "--name")]

    # -- machines ----------------------------------------------------------------------

    def machines(self) -> list[Machine]:
        """From the list of domains and the XML of each."""
        states = {
            name.removeprefix(self.prefix): _STATES.get(state, "running")
            for _, name, state in self._rows()
            if name.startswith(self.prefix)
        }

        def look(node: str) -> Machine:
            text = virsh("dumpxml", "--inactive", self.prefix + node)
            root = ElementTree.fromstring(text)  # noqa: S314 - the daemon's own
            facts = read_facts(root.findtext("description") or "")
            return Machine(node, states[node], facts, root.get("type") != "kvm")

        return by_place(parallel(look, list(states)))

    def describe(self, node: str, facts: Facts) -> None:
        """As the domain's description: of the one that is defined, and of the one that runs."""
        domain = self.prefix + node
        on = "shut" not in virsh("domstate", domain)
        live = ["--live"] if on else []
        virsh("desc", domain, "--config", *live, "--new-desc", facts.text())

    def plug(self, node: str, act: Plug) -> None:
        """`virsh destroy` is the plug; Vagrant's own halt would shut the node down."""
        virsh(_VERBS[act], self.prefix + node)

    def resize(self, node: str, memory: int, cpus: int) -> None:
        """In the domain's definition."""
        domain, size = self.prefix + node, f"{memory}b"
        virsh("setmaxmem", domain, size, "--config")
        virsh("setmem", domain, size, "--config")
        virsh("setvcpus", domain, str(cpus), "--config", "--maximum")
        virsh("setvcpus", domain, str(cpus), "--config")

    # -- snapshots ---------------------------------------------------------------------

    def snapshots(self, node: str) -> dict[str, bool]:
        """By the time at which they were made; whole seconds, so that equals stay in order."""
        rows = (line.rsplit(None, 4) for line in _lines("snapshot-list", self.prefix + node))
        found = sorted(((f"{row[1]} {row[2]}", row[0], row[4]) for row in rows), key=lambda r: r[0])
        return {name: state != "shutoff" for _, name, state in found}

    def save(self, node: str, name: str) -> None:
        """With its memory, inside the volume."""
        virsh("snapshot-create-as", self.prefix + node, name, "--atomic", timeout=900)

    def revert(self, node: str, name: str) -> None:
        """It waits for its resume, so that all go on at one moment."""
        on = self.snapshots(node)[name]
        paused = ["--paused"] if on else []
        virsh("snapshot-revert", self.prefix + node, name, *paused, "--force", timeout=900)

    # -- networks ----------------------------------------------------------------------

    def networks(self) -> dict[str, IPv4Network]:
        """By name."""
        names = set(_lines("net-list", "--all", "--name"))
        kinds = [kind for kind in KINDS if self.network(kind) in names]
        found = parallel(lambda kind: _subnets(self.network(kind)), kinds)
        return {kind: each[0] for kind, each in zip(kinds, found, strict=True) if each}

    def taken(self) -> list[tuple[IPv4Network, str]]:
        """Of all networks, also of those that do not run."""
        own = {self.network(kind) for kind in KINDS}
        names = [name for name in _lines("net-list", "--all", "--name") if name not in own]
        found = zip(names, parallel(_subnets, names), strict=True)
        return [(net, f"the libvirt network {name}") for name, each in found for net in each]

    def candidates(self, kind: str) -> Iterator[IPv4Network]:
        """The /24 networks of a /16 for each kind."""
        return subnets.private(_SECOND[kind])

    def make_network(self, kind: str, subnet: IPv4Network) -> None:
        """The nodes' own addresses are static: only Vagrant's network has DHCP."""
        root = ElementTree.Element("network")
        ElementTree.SubElement(root, "name").text = self.network(kind)
        if kind != API:
            ElementTree.SubElement(root, "forward", mode="nat")
        if kind != MANAGEMENT:
            ElementTree.SubElement(root, "dns", enable="no")
        ip = ElementTree.SubElement(root, "ip", address=str(subnet[1]), netmask=str(subnet.netmask))
        if kind == MANAGEMENT:
            dhcp = ElementTree.SubElement(ip, "dhcp")
            ElementTree.SubElement(dhcp, "range", start=str(subnet[2]), end=str(subnet[-2]))
        _define("net-define", ElementTree.tostring(root, "unicode"))
        virsh("net-autostart", self.network(kind))
        virsh("net-start", self.network(kind))

    def prepare(self) -> None:
        """The storage pool, and networks that run: after a start of this machine none may."""
        if POOL not in _lines("pool-list", "--all", "--name"):
            virsh("pool-define-as", POOL, "dir", "--target", POOL_FOLDER)
            virsh("pool-build", POOL)
            virsh("pool-autostart", POOL)
        if POOL not in _lines("pool-list", "--name"):
            virsh("pool-start", POOL)
        running = set(_lines("net-list", "--name"))
        for kind in self.networks():
            if self.network(kind) not in running:
                virsh("net-start", self.network(kind))

    # -- the end -----------------------------------------------------------------------

    def remove(self, node: str) -> list[str]:
        """The domain, its snapshots, and its volumes, the console's log as one of them."""
        domain = self.prefix + node
        removed = []
        states = {name: state for _, name, state in self._rows()}
        if domain in states:
            if states[domain] != "shut off":
                virsh("destroy", domain)
            virsh("undefine", domain, "--snapshots-metadata", "--managed-save", "--nvram")
            removed.append(f"domain {domain}")
        return removed + self._remove_volumes(re.escape(domain))

    def remove_rest(self) -> list[str]:
        """Volumes without a domain, the networks with their leases, and the key."""
        removed = self._remove_volumes(re.escape(self.prefix) + r"[a-z0-9-]+")
        names, running = (
            set(_lines("net-list", *args)) for args in (("--all", "--name"), ("--name",))
        )
        for kind in KINDS:
            name = self.network(kind)
            if name in running:
                virsh("net-destroy", name)
            if name in names:
                virsh("net-undefine", name)
                removed.append(f"network {name}")
        if self._secret in " ".join(_lines("secret-list")):
            virsh("secret-undefine", self._secret)
            removed.append(f"secret {self._secret}")
        return removed

    def _rows(self) -> Iterator[list[str]]:
        return (line.split(None, 2) for line in _lines("list", "--all"))

    def _remove_volumes(self, domain: str) -> list[str]:
        if POOL not in _lines("pool-list", "--name"):
            return []
        virsh("pool-refresh", POOL)
        removed = []
        for line in _lines("vol-list", POOL):
            volume = line.split()[0]
            if re.fullmatch(rf"{domain}((_\d+)?\.img|\.console)", volume):
                virsh("vol-delete", volume, "--pool", POOL)
                removed.append(f"volume {volume}")
        return removed

    # -- what it keeps -----------------------------------------------------------------

    def console_path(self, node: str) -> str:
        """In the pool: there the daemon reads it and removes it for users who are not root."""
        text = virsh("pool-dumpxml", POOL)
        folder = ElementTree.fromstring(text).findtext("target/path")  # noqa: S314
        return f"{folder or POOL_FOLDER}/{self.prefix}{node}.console"

    def console(self, node: str) -> str:
        """What the daemon has written of it."""
        try:
            virsh("pool-refresh", POOL)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "console"
                virsh("vol-download", f"{self.prefix}{node}.console", str(file), "--pool", POOL)
                return tail(file.read_text("utf-8", "replace"))
        except (HostError, OSError):
            return ""

    @property
    def _secret(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"devenv-{self.environment}"))

    def kept_key(self) -> str | None:
        """A secret of the daemon, which only those see that may start machines, too."""
        if self._secret not in " ".join(_lines("secret-list")):
            return None
        try:
            return b64decode(virsh("secret-get-value", self._secret)).decode()
        except HostError:  # It was defined, and a kill came before it got its value.
            return None

    def keep_key(self, private: str) -> None:
        """The secret's value is passed in a file: other users see arguments."""
        if self.kept_key() == private:
            return
        description = f"devenv-{self.environment}: the private SSH key"
        _define(
            "secret-define",
            f"<secret ephemeral='no' private='no'><uuid>{self._secret}</uuid>"
            f"<description>{description}</description></secret>",
        )
        with tempfile.NamedTemporaryFile("w", suffix=".key") as file:
            file.write(b64encode(private.encode()).decode())
            file.flush()
            virsh("secret-set-value", self._secret, "--file", file.name)


def _define(verb: str, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
        file.write(text)
        file.flush()
        virsh(verb, file.name)


def _subnets(network: str) -> list[IPv4Network]:
    root = ElementTree.fromstring(virsh("net-dumpxml", network))  # noqa: S314 - the daemon's own
    found = []
    for ip in root.findall("ip"):
        address, mask = ip.get("address", ""), ip.get("netmask") or ip.get("prefix") or "24"
        if ":" not in address:
            found.append(IPv4Network(f"{address}/{mask}", strict=False))
    return found
