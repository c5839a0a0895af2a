"""Hosts that devenv did not make: system containers with sshd only, on networks of their own."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import docker
from docker.errors import NotFound

from devenv.core.events import Events
from devenv.core.hashing import tree_digest
from devenv.core.wait import NotYet, wait_until
from devenv.host import capabilities
from devenv.host.capabilities import Privileges
from devenv.images.base_image import ensure_base
from devenv.images.trust import extra_certificates
from devenv.nodes.keys import key_pair
from devenv.providers import subnets
from devenv.providers.baremetal_power import Press, State

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

RECIPE = Path(__file__).parents[2] / "baremetal/lab"

#: Everything that a host has: files with mode, owner and content; what is in memory too.
_SNAPSHOT = r"""
export LC_ALL=C
cd /
find / /var/lib /run -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp \) -prune -o \
  \( -type f -o -type l -o -type d \) -printf '%M %U:%G %p %l\n' | sort -u
find / /var/lib /run -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp \) -prune -o \
  -type f -print0 | sort -zu | xargs -0 sha256sum
sha256sum /etc/hosts
dpkg-query -W -f 'package ${Package} ${Version} ${Status}\n'
ps -eo comm,args --no-headers | sed 's/^/process /' | sort
ip -o address | sed 's/^[0-9]*: /address /; s/ *valid_lft.*//'
ip -o link | sed 's/^[0-9]*: /link /'
ip route | sed 's/^/route /'
nft list ruleset | sed 's/^/rule /'
for key in net.ipv4.tcp_keepalive_time net.ipv4.tcp_keepalive_intvl net.ipv4.tcp_keepalive_probes \
  net.ipv4.tcp_retries2 net.ipv4.ip_forward net.ipv4.conf.all.forwarding; do
  echo "sysctl $key $(sysctl -n $key)"; done
mount | grep -v -e ' /proc' -e ' /sys' | sed 's/^/mount /' | sort
"""


@dataclass
class LabHost:
    """A host.

    :param name: of its container and of the volume with its /var/lib.
    :param networks: the API network and the external one.
    :param address: on the API network.
    :param outside: on the external network.
    :param public: the key of who may log in.
    :param host_key: its own private key, which stays when it is installed anew.
    """

    client: DockerClient
    name: str
    networks: list[str]
    address: str
    outside: str
    public: str
    host_key: str

    @property
    def container(self) -> Container:
        """It, as the engine has it now."""
        return self.client.containers.get(self.name)

    def run(self, script: str) -> str:
        """Run a shell script as root, without SSH.

        :raises AssertionError: when it fails.
        """
        code, out = self.container.exec_run(["sh", "-c", script])
        text = str(out.decode(errors="replace"))
        assert code == 0, text
        return text

    def snapshot(self) -> list[str]:
        """What the host has, one line a thing."""
        return self.run(_SNAPSHOT).splitlines()

    def install(self) -> None:
        """Make it, with nothing but the system on its disk.

        As devenv/nodes/container.py makes a node: what an engine inside takes, and no privilege
        beyond it. All of /var/lib is a volume, so that /var/lib/docker is a folder like any other.
        """
        self.remove()
        api, image = self.client.api, _image(self.client)
        config = api.create_host_config(
            binds=[f"{self.name}:/var/lib"],
            tmpfs={"/run": "", "/tmp": "exec"},
            init=True,
            network_mode=self.networks[0],
        )
        config.update(_granted(self.client, image).host_config(), CgroupnsMode="private")
        made = api.create_container(
            image,
            name=self.name,
            hostname=self.name,
            environment={"LAB_KEY": self.public, "LAB_HOST_KEY": self.host_key},
            host_config=config,
            networking_config=api.create_networking_config(
                {self.networks[0]: api.create_endpoint_config(ipv4_address=self.address)}
            ),
        )
        external = self.client.networks.get(self.networks[1])
        external.connect(made["Id"], ipv4_address=self.outside)
        self.press("on")

    def remove(self) -> None:
        """Take it away, if it is there."""
        with suppress(NotFound):
            self.container.remove(force=True, v=True)
        with suppress(NotFound):
            self.client.volumes.get(self.name).remove(force=True)

    # -- its switch: see devenv.providers.baremetal_power.Controller

    def state(self) -> State:
        """On or off."""
        return "on" if self.container.status == "running" else "off"

    def press(self, action: Press) -> None:
        """Nothing is shut down; what is switched on has booted when this returns."""
        if action != "on":
            self.container.kill()
            self.container.wait()
        if action != "off":
            self.container.start()
            wait_until(self._listens, what="sshd", timeout=30, node=self.name)

    def _listens(self) -> None:
        code, out = self.container.exec_run(["sh", "-c", "pgrep -x sshd && nft list ruleset"])
        if code:
            raise NotYet(self.container.logs(tail=5).decode() + out.decode())

    def controller(self) -> AbstractContextManager[LabHost]:
        """A connection to the switch."""
        return nullcontext(self)


@dataclass(frozen=True)
class Lab:
    """The hosts by name, and the key of who may log in as `lab`."""

    hosts: dict[str, LabHost]
    key: Path

    def section(self, *, power: bool = False) -> str:
        """The topology's sections on hosts."""
        switch = "redfish: {address: https://bmc, username: lab}, " if power else ""
        return "provider: baremetal\nbaremetal:\n  hosts:\n" + "".join(
            f"    {name}: {{address: {host.address}, user: lab, key: {self.key}, {switch}"
            f"external: {{interface: eth1, address: {host.outside}}}}}\n"
            for name, host in self.hosts.items()
        )


@contextmanager
def lab(names: list[str], folder: Path) -> Iterator[Lab]:
    """Hosts that run and answer; all of it is removed at the end.

    :param folder: where keys are kept.
    """
    client = docker.from_env(timeout=300)
    tag = f"lab-{secrets.token_hex(3)}"
    networks = [f"{tag}-api", f"{tag}-external"]
    private, public = key_pair(folder)
    hosts: dict[str, LabHost] = {}
    try:
        cidrs = []
        for name, second in zip(networks, (28, 29), strict=True):
            subnets.make(client, name, "auto", subnets.private(second), name, lambda subnet: {})
            made = client.networks.get(name)
            cidrs.append(str(made.attrs["IPAM"]["Config"][0]["Subnet"]))
        for place, name in enumerate(names):
            (folder / name).mkdir()
            own, _ = key_pair(folder / name)
            address, outside = (f"{cidr.rpartition('.')[0]}.{21 + place}" for cidr in cidrs)
            hosts[name] = LabHost(
                client, f"{tag}-{name}", networks, address, outside, public, own.read_text()
            )
            hosts[name].install()
        yield Lab(hosts, private)
    finally:
        for host in hosts.values():
            host.remove()
        for name in networks:
            with suppress(NotFound):
                client.networks.get(name).remove()


@cache
def _granted(client: DockerClient, image: str) -> Privileges:
    return capabilities.probe(client, image)


def _image(client: DockerClient) -> str:
    reference = f"devenv-lab:{tree_digest(RECIPE)}"
    if not client.images.list(reference):
        ensure_base(client, Events())
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as archive:
            archive.add(RECIPE, arcname=".")
            data = extra_certificates()
            entry = tarfile.TarInfo("extra-ca.crt")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        context.seek(0)
        client.images.build(fileobj=context, custom_context=True, tag=reference, rm=True)
    return reference
