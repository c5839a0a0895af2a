from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from devenv.testing import ping as icmp
from devenv.testing.clients.base import Client
from devenv.testing.clients.ping import Ping
from devenv.testing.clients.tcp import Stream, Tcp
from devenv.testing.history import History, Operation


def steps(client: Client, count: int, history: History | None = None) -> list[Operation]:
    history = history or History()
    for _ in range(count):
        client.step(history)
    return history.operations


# -- ping ----------------------------------------------------------------------------------


class Guest(socket.socket):
    """Answers echo requests unless their number is among the lost."""

    lost: frozenset[int] = frozenset()
    unreachable = False

    def sendto(self, packet: bytes, address: object) -> int:  # type: ignore[override]
        if self.unreachable:
            raise OSError("no route")
        (count,) = struct.unpack("!I", packet[-4:])
        if count not in self.lost:
            self.send(b"\x08" + bytes(3))  # Somebody else's packet.
            self.send(b"\0" + packet[1:])
        return len(packet)


@pytest.fixture
def guest() -> Iterator[Guest]:
    with Guest(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.connect(opened.getsockname())
        opened.setblocking(False)
        yield opened


@pytest.fixture
def ping(guest: Guest) -> Ping:
    client = Ping("192.0.2.9", interval=0.05, connect=lambda: (guest, False))
    client.open()
    return client


def test_pings_are_answered(ping: Ping) -> None:
    found = steps(ping, 3)
    assert [(one.client, one.kind, one.value, one.outcome) for one in found] == [
        ("ping", "ping", number, "ok") for number in (1, 2, 3)
    ]


def test_a_ping_is_lost_after_its_time(
    ping: Ping, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History()
    guest.lost = frozenset({2})
    steps(ping, 3, history)
    assert [one.value for one in history.operations] == [1, 3]  # The second may still come.
    monkeypatch.setattr(icmp, "PATIENCE", 0.0)
    steps(ping, 1, history)
    (lost,) = [one for one in history.operations if one.outcome == "failed"]
    assert lost.value == 2
    assert "no answer" in lost.error
    assert [one.value for one in history.operations if one.outcome == "ok"] == [1, 3, 4]


def test_what_the_kernel_does_not_send_is_lost(
    ping: Ping, guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.unreachable = True
    monkeypatch.setattr(icmp, "PATIENCE", 0.0)
    assert [one.outcome for one in steps(ping, 2)] == ["failed", "failed"]


# -- tcp -----------------------------------------------------------------------------------


class Echo:
    """Echoes on a port; `answer` changes what comes back."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.answer: Callable[[bytes], bytes] = bytes
        self.peers: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server.getsockname()[1])

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self.server.accept()
            except OSError:
                return
            self.peers.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            while data := peer.recv(100):
                if not (back := self.answer(data)):
                    return
                peer.sendall(back)

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    opened = Echo()
    yield opened
    opened.close()


def test_each_tcp_step_is_a_connection_of_its_own(echo: Echo) -> None:
    found = steps(Tcp("127.0.0.1", port=echo.port), 2)
    assert [(one.kind, one.outcome) for one in found] == [("tcp", "ok")] * 2
    assert len(echo.peers) == 2


@pytest.mark.parametrize("answer", [lambda data: b"", lambda data: b"x" * len(data)])
def test_an_echo_that_is_none_failed(echo: Echo, answer: Callable[[bytes], bytes]) -> None:
    echo.answer = answer
    (found,) = steps(Tcp("127.0.0.1", port=echo.port), 1)
    assert found.outcome == "failed"
    assert found.error.startswith("ConnectionError")


def test_a_port_that_refuses_failed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    (found,) = steps(Tcp("127.0.0.1", port=port), 1)
    assert (found.outcome, found.error[:22]) == ("failed", "ConnectionRefusedError")


def test_a_stream_stays_on_its_connection(echo: Echo) -> None:
    client = Stream("127.0.0.1", port=echo.port)
    client.open()
    found = steps(client, 3)
    assert [(one.outcome, one.result) for one in found] == [("ok", 1)] * 3
    assert len(echo.peers) == 1


def test_a_stream_that_broke_is_told_and_made_again(echo: Echo) -> None:
    client, history = Stream("127.0.0.1", port=echo.port), History()
    steps(client, 1, history)
    echo.answer = lambda data: b""
    steps(client, 1, history)
    echo.answer = bytes
    steps(client, 1, history)
    assert [(one.outcome, one.result) for one in history.operations] == [
        ("ok", 1), ("failed", None), ("ok", 2),
    ]  # fmt: skip


def test_a_stream_that_stands_still_for_too_long_is_broken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        client = Stream("127.0.0.1", port=deaf.getsockname()[1], still=0.05)
        (found,) = steps(client, 1)
    assert (found.outcome, "timed out" in found.error) == ("failed", True)
