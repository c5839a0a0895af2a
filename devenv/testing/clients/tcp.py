"""Talks to a guest's echo port: on new connections, and on one that has to stay."""

from __future__ import annotations

import itertools
import socket

from devenv.testing.clients.base import Client, words
from devenv.testing.guest import ECHO
from devenv.testing.history import Failed, History

CONNECT, ANSWER = 1.0, 3.0  # seconds
#: Seconds that the long connection may stand still. TCP itself goes on for minutes, and whether
#: it does is the question; the silence shows as the time of one operation.
STILL = 30.0


class Tcp(Client):
    """Connects, sends some bytes and wants them back. All else is ``failed``.

    :param interval: seconds between two connections.
    """

    name = "tcp"
    kinds = ("tcp",)

    def __init__(self, address: str, *, port: int = ECHO, interval: float = 0.5) -> None:
        self.interval = interval
        self._peer = (address, port)
        self._numbers = itertools.count(1)

    def step(self, history: History) -> None:
        number = next(self._numbers)
        with history.operation(self.name, "tcp", number):
            try:
                with socket.create_connection(self._peer, timeout=CONNECT) as tcp:
                    tcp.settimeout(ANSWER)
                    _echo(tcp, number)
            except OSError as error:
                raise Failed(words(error)) from error


class Stream(Client):
    """Keeps one TCP connection and sends some bytes on it every second.

    The result is the connection's number: 1 for as long as the first one stays. After it broke
    the next step makes another.

    :param interval: seconds between two exchanges.
    :param still: seconds after which a silent connection counts as broken.
    """

    name = "stream"
    kinds = ("stream",)

    def __init__(
        self, address: str, *, port: int = ECHO, interval: float = 1.0, still: float = STILL
    ) -> None:
        self.interval = interval
        self.patience = still + 5
        self._peer = (address, port)
        self._still = still
        self._numbers = itertools.count(1)
        self._tcp: socket.socket | None = None
        self._connections = 0

    def open(self) -> None:
        self._ready()

    def step(self, history: History) -> None:
        number = next(self._numbers)
        with history.operation(self.name, "stream", number) as answer:
            try:
                _echo(self._ready(), number)
            except OSError as error:
                self.close()
                raise Failed(words(error)) from error
            answer.result = self._connections

    def close(self) -> None:
        tcp, self._tcp = self._tcp, None
        if tcp is not None:
            tcp.close()

    def _ready(self) -> socket.socket:
        if self._tcp is None:
            self._tcp = socket.create_connection(self._peer, timeout=CONNECT)
            self._tcp.settimeout(self._still)
            self._connections += 1
        return self._tcp


def _echo(tcp: socket.socket, number: int) -> None:
    """Send a line and read it back.

    :raises OSError: when something else comes, or nothing.
    """
    line = f"{number}\n".encode()
    tcp.sendall(line)
    got = b""
    while len(got) < len(line):
        part = tcp.recv(len(line) - len(got))
        if not part:
            raise ConnectionError(f"closed after {len(got)} of {len(line)} bytes")
        got += part
    if got != line:
        raise ConnectionError(f"sent {line!r}, got {got!r}")
