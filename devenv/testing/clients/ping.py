"""Pings an address at a steady pace."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import time
from collections.abc import Callable

from devenv.testing import ping
from devenv.testing.clients.base import Client
from devenv.testing.history import History, Operation


class Ping(Client):
    """Sends one echo request a step; it is ``failed`` if no answer came within a second.

    :param interval: seconds between two requests. They keep that pace during an outage, so a gap
        is measured to within one interval.
    """

    name = "ping"
    kinds = ("ping",)

    def __init__(
        self,
        address: str,
        *,
        interval: float = 0.2,
        connect: Callable[[], tuple[socket.socket, bool]] | None = None,
    ) -> None:
        self.interval = interval
        self._address = address
        self._connect = connect or ping._open
        self._socket: socket.socket | None = None
        self._raw = False
        self._token = os.urandom(8)
        self._counts = itertools.count(1)
        self._waiting: dict[int, float] = {}

    def open(self) -> None:
        """Open the socket.

        :raises HostError: when this user may not send ICMP.
        """
        self._socket, self._raw = self._connect()

    def step(self, history: History) -> None:
        assert self._socket is not None, "step before open"
        count, now = next(self._counts), time.monotonic()
        self._waiting[count] = now
        # What the kernel refuses (no route, no buffers) is a lost packet like any other.
        with contextlib.suppress(OSError):
            request = ping.echo_request(os.getpid() & 0xFFFF, count, self._token)
            self._socket.sendto(request, (self._address, 0))
        until = now + 0.8 * self.interval
        while count in self._waiting and (left := until - time.monotonic()) > 0:
            if select.select([self._socket], [], [], left)[0]:
                self._receive(self._socket, history)
        self._expire(history)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _receive(self, opened: socket.socket, history: History) -> None:
        try:
            packet = opened.recv(2048)
        except OSError:  # An ICMP error came back instead, such as host unreachable.
            return
        count = ping.echo_reply(packet, self._token, raw=self._raw)
        sent = self._waiting.pop(count, None) if count is not None else None
        if sent is not None:
            now = time.monotonic()
            history.add(Operation(self.name, "ping", count, sent, now, "ok"))

    def _expire(self, history: History) -> None:
        now = time.monotonic()
        late = [count for count, sent in self._waiting.items() if now - sent > ping.PATIENCE]
        for count in late:
            sent = self._waiting.pop(count)
            error = f"no answer within {ping.PATIENCE:g} s"
            history.add(Operation(self.name, "ping", count, sent, now, "failed", error=error))
