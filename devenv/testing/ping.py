"""ICMP echo requests at a steady rate in the background, and what became of them."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType

from devenv.core.errors import HostError

_ECHO_REPLY, _ECHO_REQUEST = 0, 8  # RFC 792
_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence number
_COUNTER = struct.Struct("!I")
#: Seconds that an answer may take.
PATIENCE = 1.0


@dataclass(frozen=True)
class Probe:
    """One echo request. Times are monotonic, in seconds.

    :param answered: None if no answer came within :data:`PATIENCE`.
    """

    sent: float
    answered: float | None = None


@dataclass(frozen=True)
class PingReport:
    """What became of the probes.

    :param longest_gap: seconds from the last answered probe before a lost one to the next that
        was answered (or to the first or last probe of all); 0 if none was lost.
    :param slowest: seconds that the slowest answer took.
    """

    sent: int
    lost: int
    longest_gap: float
    slowest: float

    def __str__(self) -> str:
        return f"{self.lost} of {self.sent} lost, longest gap {self.longest_gap:.2f} s"


def report(probes: Sequence[Probe]) -> PingReport:
    """Count `probes`, which are in the order of sending."""
    longest, edge, losing = 0.0, probes[0].sent if probes else 0.0, False
    for probe in probes:
        losing = losing or probe.answered is None
        if losing:
            longest = max(longest, probe.sent - edge)
        if probe.answered is not None:
            edge, losing = probe.sent, False
    answered = [probe.answered - probe.sent for probe in probes if probe.answered is not None]
    return PingReport(
        sent=len(probes),
        lost=len(probes) - len(answered),
        longest_gap=longest,
        slowest=max(answered, default=0.0),
    )


class Ping:
    """Pings `address` until it is closed; a context manager.

    An own implementation, because not every host has ``ping`` and none of them tells when each
    packet was lost.

    :param interval: seconds between two probes.
    :raises HostError: when this user may not send ICMP (raw(7), net.ipv4.ping_group_range).
    """

    def __init__(self, address: str, interval: float = 0.1) -> None:
        self._address = address
        self._interval = interval
        self._socket, self._raw = _open()
        self._token = os.urandom(8)
        self._probes: list[Probe] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"ping-{address}", daemon=True)

    def __enter__(self) -> Ping:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop sending, wait for the answers that are under way. Safe to call twice."""
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def report(self, since: float = 0.0) -> PingReport:
        """What is known now; probes that may still be answered are left out.

        :param since: leave out what was sent before this monotonic time.
        """
        now = time.monotonic()
        with self._lock:
            probes = [probe for probe in self._probes if probe.sent >= since]
        return report([p for p in probes if p.answered is not None or now - p.sent > PATIENCE])

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            due = time.monotonic()
            while not self._stop.is_set():
                due = max(due + self._interval, self._send())
                while (left := due - time.monotonic()) > 0:
                    self._receive(selector, left)
            end = time.monotonic() + PATIENCE
            while (left := end - time.monotonic()) > 0 and not self._complete():
                self._receive(selector, left)

    def _send(self) -> float:
        now = time.monotonic()
        with self._lock:
            count = len(self._probes)
            self._probes.append(Probe(now))
        packet = echo_request(os.getpid() & 0xFFFF, count, self._token)
        # What the kernel refuses (no route, no buffers) is a lost packet like any other.
        with contextlib.suppress(OSError):
            self._socket.sendto(packet, (self._address, 0))
        return now

    def _receive(self, selector: selectors.BaseSelector, timeout: float) -> None:
        if not selector.select(timeout):
            return
        try:
            packet = self._socket.recv(2048)
        except OSError:  # An ICMP error came back instead, such as host unreachable.
            return
        count = echo_reply(packet, self._token, raw=self._raw)
        now = time.monotonic()
        with self._lock:
            if count is None or count >= len(self._probes):
                return
            probe = self._probes[count]
            if probe.answered is None and now - probe.sent <= PATIENCE:
                self._probes[count] = replace(probe, answered=now)

    def _complete(self) -> bool:
        with self._lock:
            return all(probe.answered is not None for probe in self._probes[-100:])


def _open() -> tuple[socket.socket, bool]:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        with contextlib.suppress(PermissionError):
            opened = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
            opened.setblocking(False)
            return opened, kind == socket.SOCK_RAW
    raise HostError(
        "this user may not send ICMP echo requests",
        remedy="sysctl -w net.ipv4.ping_group_range='0 2147483647', or run as root",
    )


def echo_request(identifier: int, count: int, token: bytes) -> bytes:
    """An echo request that carries `token` and `count`."""
    payload = token + _COUNTER.pack(count)
    blank = _HEADER.pack(_ECHO_REQUEST, 0, 0, identifier, count & 0xFFFF)
    total = _checksum(blank + payload)
    return _HEADER.pack(_ECHO_REQUEST, 0, total, identifier, count & 0xFFFF) + payload


def echo_reply(packet: bytes, token: bytes, *, raw: bool) -> int | None:
    """The count out of an echo reply with our token; None for any other packet.

    :param raw: whether the IP header comes first, as a raw socket delivers it.
    """
    if raw and packet:
        packet = packet[(packet[0] & 0x0F) * 4 :]
    payload = packet[_HEADER.size :]
    if len(payload) < len(token) + _COUNTER.size or packet[0] != _ECHO_REPLY:
        return None
    if not payload.startswith(token):
        return None
    (count,) = _COUNTER.unpack_from(payload, len(token))
    return int(count)


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
