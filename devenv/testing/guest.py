"""Guests of a scenario's own: booted, reached, looked at from all sides, and removed."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from devenv.core.errors import DevenvError
from devenv.core.wait import NotYet, wait_until
from devenv.nodes.connection import Connection
from devenv.testing import console, processes
from devenv.testing.ping import Ping
from devenv.testing.processes import Process

#: What the guest image answers on (services/seed/image/guest/rootfs/etc/inittab).
ECHO, DISCARD, SOURCE, HTTP = 7, 9, 19, 80
MIB = 2**20
#: Seconds. A guest boots under emulation, with other work on the same processors.
ACTIVE, ANSWERS = 120, 120


class BootFailed(DevenvError):
    """A server ended in ERROR; the message is nova's fault."""


@dataclass(frozen=True)
class Facts:
    """What a guest says of itself on port 80.

    :param uptime: seconds.
    :param heartbeat: the sequence number of the last one.
    :param instance_id: from the metadata service, such as ``i-00000001``; None before it answered.
    """

    boot_id: str
    uptime: float
    heartbeat: int
    instance_id: str | None
    hostname: str | None


@dataclass
class Guest:
    """A server with a floating IP.

    :param id: the server's UUID.
    :param address: the floating IP.
    :param seconds: how long steps took: ``active``, ``answers``.
    :param refused: how often nova found no valid host before it found one.
    """

    name: str
    id: str
    address: str
    node: str
    cloud: Any = field(repr=False)
    connection: Connection = field(repr=False)
    seconds: dict[str, float] = field(default_factory=dict)
    refused: int = 0

    # -- over the network --------------------------------------------------------------

    def ping(self, interval: float = 0.1) -> Ping:
        """Ping it in the background for as long as the block lasts."""
        return Ping(self.address, interval)

    def facts(self) -> Facts:
        """Ask it over HTTP.

        :raises OSError: when it does not answer.
        """
        web = http.client.HTTPConnection(self.address, HTTP, timeout=5)
        try:
            web.request("GET", "/")
            found = json.loads(web.getresponse().read())
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"{self.address} gave no sane answer: {error!r}") from error
        finally:
            web.close()
        return Facts(**found)

    def echo(self, data: bytes) -> bytes:
        """What comes back for `data` on a TCP connection of its own."""
        with self._connect(ECHO) as tcp:
            tcp.sendall(data)
            tcp.shutdown(socket.SHUT_WR)
            return _read_all(tcp)

    def download(self, mebibytes: int) -> float:
        """Receive so much on one TCP connection; the rate in MB/s.

        :raises OSError: when nothing came for 20 s, or less than asked for.
        """
        begin = time.monotonic()
        with self._connect(SOURCE) as tcp:
            tcp.sendall(f"{mebibytes}\n".encode())
            got = len(_read_all(tcp))
        if got != mebibytes * MIB:
            raise OSError(f"{self.address} sent {got} bytes instead of {mebibytes} MiB")
        return mebibytes * MIB / 1e6 / (time.monotonic() - begin)

    def upload(self, mebibytes: int) -> float:
        """Send so much on one TCP connection; the rate in MB/s.

        :raises OSError: when nothing could be sent for 20 s, or the guest counted less.
        """
        begin = time.monotonic()
        with self._connect(DISCARD) as tcp:
            for _ in range(mebibytes):
                tcp.sendall(bytes(MIB))
            tcp.shutdown(socket.SHUT_WR)
            said = _read_all(tcp).strip()
        if said != str(mebibytes * MIB).encode():
            raise OSError(f"{self.address} counted {said!r} bytes of {mebibytes} MiB")
        return mebibytes * MIB / 1e6 / (time.monotonic() - begin)

    def wait_answers(self, timeout: float = ANSWERS) -> Facts:
        """Wait until it answers over HTTP and has read its metadata."""

        def answers() -> Facts:
            try:
                facts = self.facts()
            except OSError as error:
                raise NotYet(str(error)) from error
            if facts.instance_id is None:
                raise NotYet("it has not read its metadata")
            return facts

        return wait_until(answers, what=f"{self.name} at {self.address}", timeout=timeout,
                          interval=0.3, node=self.node)  # fmt: skip

    def _connect(self, port: int) -> socket.socket:
        return socket.create_connection((self.address, port), timeout=20)

    # -- through nova ------------------------------------------------------------------

    @property
    def status(self) -> str:
        """Nova's word for the server; ``DELETED`` when nova has none any more."""
        server = _server(self.cloud, self.id)
        return str(server.status) if server else "DELETED"

    def console(self) -> console.Console:
        """Its console, read through nova, nova-compute and libvirt."""
        answer = self.cloud.compute.get_server_console_output(self.id)
        return console.parse(str(answer["output"]))

    def stop(self, timeout: float = 90) -> float:
        """``server stop``, until nova says SHUTOFF; the seconds that it took."""
        return self._change(self.cloud.compute.stop_server, "SHUTOFF", timeout)

    def start(self, timeout: float = ACTIVE) -> float:
        """``server start``, until nova says ACTIVE; the seconds that it took."""
        return self._change(self.cloud.compute.start_server, "ACTIVE", timeout)

    def wait_status(self, wanted: str, timeout: float) -> None:
        """Wait for nova's word. ERROR ends the wait unless it was waited for."""

        def reached() -> None:
            server = _server(self.cloud, self.id)
            now = str(server.status) if server else "DELETED"
            if now == "ERROR" != wanted:
                raise BootFailed(f"{self.name} is in ERROR", detail=_fault(server))
            if now != wanted:
                raise NotYet(f"{now}, task {server.task_state if server else None}")

        wait_until(reached, what=f"{self.name} to be {wanted}", timeout=timeout, node=self.node)

    def delete(self, timeout: float = 90) -> None:
        """Remove the server and its floating IP. Safe to call twice."""
        _remove(self.cloud, self.id, self.address, timeout)

    def _change(self, verb: Callable[[str], object], wanted: str, timeout: float) -> float:
        begin = time.monotonic()
        verb(self.id)
        self.wait_status(wanted, timeout)
        return time.monotonic() - begin

    # -- on its node -------------------------------------------------------------------

    def qemu(self) -> Process | None:
        """Its qemu on the compute node, or None if there is none."""
        return processes.qemu(self.connection, self.id)

    def wait_qemu_gone(self, timeout: float = 30) -> None:
        """Wait until there is no qemu; one that is dead and not reaped is gone."""

        def gone() -> None:
            found = self.qemu()
            if found:
                raise NotYet(f"process {found.pid} is in state {found.state}")

        wait_until(gone, what=f"qemu of {self.name} to go", timeout=timeout, node=self.node)


class Guests:
    """Boots guests, and removes all of them in the end.

    :param connections: by node name, to find the qemu of each.
    """

    def __init__(self, cloud: Any, connections: Mapping[str, Connection]) -> None:
        self._cloud = cloud
        self._connections = connections
        self._made: list[Guest] = []
        #: Servers whose boot is not finished, with the floating IP if they have one.
        self._begun: dict[str, str] = {}

    def __call__(self, *, name: str = "guest", retry: float = 0.0) -> Guest:
        """Boot a guest on the network ``internal`` and wait until it answers.

        :param name: the server's name starts with it.
        :param retry: seconds in which NoValidHost counts as "not yet" and not as a failure.
        :raises BootFailed: with nova's fault.
        """
        begin, refused = time.monotonic(), 0
        name = f"{name}-{secrets.token_hex(3)}"
        while True:
            try:
                guest = self._boot(name)
                break
            except BootFailed as error:
                self._discard()
                if "No valid host" not in str(error) or time.monotonic() - begin > retry:
                    raise
                refused += 1
        guest.refused = refused
        guest.seconds["active"] = time.monotonic() - begin
        guest.wait_answers()
        guest.seconds["answers"] = time.monotonic() - begin
        return guest

    def close(self) -> None:
        """Remove all guests; one that resists does not keep the others."""
        self._begun |= {guest.id: guest.address for guest in self._made}
        self._made.clear()
        self._discard()

    def _boot(self, name: str) -> Guest:
        compute, network = self._cloud.compute, self._cloud.network
        server = compute.create_server(
            name=name,
            image_id=self._cloud.image.find_image("guest", ignore_missing=False).id,
            flavor_id=compute.find_flavor("tiny", ignore_missing=False).id,
            networks=[{"uuid": network.find_network("internal", ignore_missing=False).id}],
        )
        self._begun[server.id] = ""

        def has_port() -> Any:
            port = next(iter(network.ports(device_id=server.id)), None)
            return port or self._not_yet(server.id, "no port")

        def active() -> Any:
            now = compute.get_server(server.id)
            return now if now.status == "ACTIVE" else self._not_yet(server.id, "not active")

        # The floating IP comes while the guest boots, as it would for anybody who is in a hurry.
        port = wait_until(has_port, what=f"a port of {name}", timeout=ACTIVE, interval=0.3)
        outside = network.find_network("external", ignore_missing=False)
        floating = network.create_ip(floating_network_id=outside.id, port_id=port.id)
        address = self._begun[server.id] = str(floating.floating_ip_address)
        now = wait_until(active, what=f"{name} to be ACTIVE", timeout=ACTIVE, interval=0.3)
        node = str(now.compute_host or now.hypervisor_hostname)
        guest = Guest(name, server.id, address, node, self._cloud, self._connections[node])
        self._made.append(guest)
        del self._begun[server.id]
        return guest

    def _not_yet(self, server: str, what: str) -> NoReturn:
        now = self._cloud.compute.get_server(server)
        if now.status == "ERROR":
            raise BootFailed(f"{now.name} is in ERROR", detail=_fault(now))
        raise NotYet(f"{what}: {now.status}, task {now.task_state}")

    def _discard(self) -> None:
        errors = []
        for server, address in list(self._begun.items()):
            try:
                _remove(self._cloud, server, address, 90)
                del self._begun[server]
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]


def _server(cloud: Any, server: str) -> Any | None:
    import openstack.exceptions

    try:
        return cloud.compute.get_server(server)
    except openstack.exceptions.NotFoundException:
        return None


def _remove(cloud: Any, server: str, address: str, timeout: float) -> None:
    if _server(cloud, server):
        cloud.compute.delete_server(server, ignore_missing=True)
    for floating in cloud.network.ips(floating_ip_address=address) if address else ():
        cloud.network.delete_ip(floating, ignore_missing=True)

    def gone() -> None:
        found = _server(cloud, server)
        if found:
            raise NotYet(f"{found.status}, task {found.task_state}")

    wait_until(gone, what=f"server {server} to be deleted", timeout=timeout)


def _fault(server: Any) -> str:
    fault = getattr(server, "fault", None) or {}
    return str(fault.get("message") or "nova gives no reason")


def _read_all(tcp: socket.socket) -> bytes:
    parts = []
    while part := tcp.recv(MIB):
        parts.append(part)
    return b"".join(parts)
