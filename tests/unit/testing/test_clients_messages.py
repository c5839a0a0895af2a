from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import amqp
import pytest
from amqp.exceptions import AMQPError, ChannelError, MessageNacked, NotFound
from amqp.serialization import dumps

from devenv.core.errors import DevenvError
from devenv.testing.clients import messages
from devenv.testing.clients.base import Client
from devenv.testing.clients.messages import Consumer, Publisher, Queue, connection_class
from devenv.testing.history import History, Operation

HOSTS = ("192.0.2.11", "192.0.2.12", "192.0.2.13")
QUEUE = Queue(HOSTS, "openstack", "secret")


class Brokers:
    """A queue, and what the next calls come to; :meth:`connect` stands in for amqp."""

    def __init__(self) -> None:
        self.ready: deque[str] = deque()
        self.unacknowledged: dict[int, str] = {}
        self.script: dict[str, list[Exception | None]] = {}
        self.connected: list[str] = []
        self.calls: list[tuple[str, Any]] = []
        self.tag = 0

    def connect(self, queue: Queue, host: str) -> Connection:
        self.connected.append(host)
        self.trouble("connect")
        return Connection(self)

    def trouble(self, call: str) -> None:
        script = self.script.get(call)
        if script and (trouble := script.pop(0)):
            raise trouble


class Connection:
    """Both the connection and its only channel."""

    def __init__(self, brokers: Brokers) -> None:
        self.brokers = brokers
        self.closed = False
        self.callback: Callable[[Any], None] | None = None
        self.delivered: set[int] = set()

    def channel(self) -> Connection:
        self.brokers.trouble("channel")
        return self

    def collect(self) -> None:
        self.closed = True
        for tag in self.delivered & self.brokers.unacknowledged.keys():
            self.brokers.ready.appendleft(self.brokers.unacknowledged.pop(tag))

    def heartbeat_tick(self) -> None:
        assert not self.closed
        self.brokers.trouble("heartbeat")

    def queue_delete(self, queue: str) -> None:
        self.brokers.calls.append(("delete", queue))
        self.brokers.trouble("queue_delete")

    def queue_declare(self, queue: str, **arguments: Any) -> None:
        self.brokers.calls.append((queue, arguments))

    def basic_publish(self, message: Any, **arguments: Any) -> None:
        assert not self.closed, "used after an error"
        self.brokers.calls.append((message.body, arguments | message.properties))
        self.brokers.trouble("publish")
        self.brokers.ready.append(message.body)

    def basic_qos(self, size: int, count: int, everywhere: bool) -> None:
        pass

    def basic_consume(self, queue: str, callback: Callable[[Any], None]) -> None:
        self.callback = callback

    def drain_events(self, timeout: float) -> None:
        self.brokers.trouble("drain")
        if not self.brokers.ready:
            raise TimeoutError
        assert self.callback
        self.brokers.tag += 1
        tag, body = self.brokers.tag, self.brokers.ready.popleft()
        self.brokers.unacknowledged[tag] = body
        self.delivered.add(tag)
        info = {"redelivered": False}
        self.callback(
            SimpleNamespace(body=body, channel=self, delivery_tag=tag, delivery_info=info)
        )

    def basic_ack(self, tag: int) -> None:
        assert not self.closed, "used after an error"
        self.brokers.trouble("ack")
        del self.brokers.unacknowledged[tag]


@pytest.fixture
def brokers() -> Brokers:
    return Brokers()


@pytest.fixture
def publisher(brokers: Brokers) -> Publisher:
    return Publisher(QUEUE, connect=brokers.connect)


@pytest.fixture
def consumer(brokers: Brokers) -> Consumer:
    return Consumer(QUEUE, connect=brokers.connect)


def steps(client: Client, count: int, history: History | None = None) -> list[Operation]:
    history = history or History()
    for _ in range(count):
        client.step(history)
    return history.operations


@pytest.mark.parametrize(
    ("call", "trouble", "outcome"),
    [
        ("connect", ConnectionRefusedError("refused"), "failed"),
        ("connect", TimeoutError("timed out"), "failed"),
        ("connect", AMQPError("not allowed"), "failed"),
        ("channel", OSError("Server unexpectedly closed connection"), "failed"),
        ("heartbeat", AMQPError("Too many heartbeats missed"), "failed"),
        ("publish", MessageNacked(), "failed"),
        ("publish", ChannelError("NO_ROUTE", (60, 50), reply_code=312), "failed"),
        ("publish", TimeoutError("timed out"), "info"),
        ("publish", OSError("Server unexpectedly closed connection"), "info"),
        ("publish", NotFound("queue is gone", (60, 40)), "info"),
    ],
)
def test_what_is_known_of_a_message_after_an_error(
    publisher: Publisher, brokers: Brokers, call: str, trouble: Exception, outcome: str
) -> None:
    brokers.script[call] = [trouble]
    first, second = steps(publisher, 2)
    assert (first.client, first.kind, first.value) == ("messages", "publish", 1)
    assert first.outcome == outcome
    assert type(trouble).__name__ in first.error
    assert (second.value, second.outcome) == (2, "ok")
    assert list(brokers.ready) == ["2"]
    assert brokers.connected == ["192.0.2.11", "192.0.2.12"]  # The next in the list.


def test_hosts_are_tried_in_turn(publisher: Publisher, brokers: Brokers) -> None:
    brokers.script["connect"] = [OSError("no")] * 4
    assert [one.outcome for one in steps(publisher, 5)] == ["failed"] * 4 + ["ok"]
    assert brokers.connected == [*HOSTS, *HOSTS[:2]]


def test_a_message_is_persistent_and_not_dropped_in_silence(
    publisher: Publisher, brokers: Brokers
) -> None:
    steps(publisher, 1)
    ((body, arguments),) = brokers.calls
    assert body == "1"
    assert arguments["delivery_mode"] == 2
    assert arguments["mandatory"] is True
    assert arguments["routing_key"] == QUEUE.name
    assert arguments["confirm_timeout"] == 3


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_the_queue_is_durable_and_of_the_kind_that_was_asked_for(
    brokers: Brokers, kind: Any
) -> None:
    brokers.script["connect"] = [OSError("no")]
    Publisher(Queue(HOSTS, "openstack", "secret", type=kind), connect=brokers.connect).open()
    deleted, (name, arguments) = brokers.calls
    assert deleted == ("delete", name)  # What an earlier run left is not this run's.
    assert arguments["durable"] is True
    assert arguments["auto_delete"] is False
    assert arguments["arguments"] == {"x-queue-type": kind}


def test_brokers_that_all_refuse_are_named(publisher: Publisher, brokers: Brokers) -> None:
    brokers.script["connect"] = [OSError("no")] * 3
    with pytest.raises(DevenvError) as caught:
        publisher.open()
    assert all(host in str(caught.value) for host in HOSTS)
    assert "secret" not in str(caught.value)


def test_messages_are_consumed_in_order(
    publisher: Publisher, consumer: Consumer, brokers: Brokers
) -> None:
    steps(publisher, 3)
    found = steps(consumer, 1)
    assert [(one.kind, one.value, one.outcome) for one in found] == [
        ("consume", number, "ok") for number in (1, 2, 3)
    ]
    assert brokers.unacknowledged == {}


def test_an_empty_queue_is_no_trouble(consumer: Consumer, brokers: Brokers) -> None:
    assert steps(consumer, 2) == []
    assert len(brokers.connected) == 1


def test_a_lost_acknowledgement_is_unknown_and_the_message_comes_again(
    publisher: Publisher, consumer: Consumer, brokers: Brokers
) -> None:
    steps(publisher, 3)
    brokers.script["ack"] = [None, OSError("broken pipe")]
    found = steps(consumer, 2)
    assert [(one.value, one.outcome) for one in found] == [
        (1, "ok"), (2, "info"), (3, "ok"), (2, "ok"),
    ]  # fmt: skip
    assert brokers.unacknowledged == {}


@pytest.mark.parametrize(
    ("call", "trouble"),
    [
        ("connect", TimeoutError("timed out")),
        ("drain", ConnectionResetError("reset")),
        ("drain", TimeoutError(110, "Connection timed out")),  # ETIMEDOUT, from the kernel
        ("heartbeat", AMQPError("Too many heartbeats missed")),
    ],
)
def test_a_consumer_without_a_connection_says_so_and_makes_another(
    publisher: Publisher, consumer: Consumer, brokers: Brokers, call: str, trouble: Exception
) -> None:
    brokers.script[call] = [trouble]
    first, *rest = steps(consumer, 1)
    assert (first.kind, first.value, first.outcome) == ("consume", None, "failed")
    assert type(trouble).__name__ in first.error
    assert rest == []
    steps(publisher, 1)
    assert [one.value for one in steps(consumer, 1)] == [1]
    assert [host for host in brokers.connected if host != "192.0.2.11"] == [
        "192.0.2.12", "192.0.2.13",
    ]  # fmt: skip


def test_the_rest_is_drained_in_the_end(
    publisher: Publisher, consumer: Consumer, brokers: Brokers
) -> None:
    history = History()
    steps(publisher, 60, history)
    brokers.script["drain"] = [OSError("reset")]
    assert consumer.drain(history, timeout=20) == []
    seen = {one.value for one in history.of("messages", "consume") if one.outcome == "ok"}
    assert seen == set(range(1, 61))


def test_what_never_comes_is_named(
    publisher: Publisher, consumer: Consumer, brokers: Brokers
) -> None:
    history = History()
    brokers.script["publish"] = [None, TimeoutError("timed out")]
    steps(publisher, 4, history)
    brokers.ready.remove("3")
    brokers.ready.remove("4")
    assert consumer.drain(history, timeout=0.05) == [3, 4]


# -- with the real driver ------------------------------------------------------------------


#: What the broker does when a message has come.
Reaction = Callable[[socket.socket], None]


def frame(tcp: socket.socket, kind: int, channel: int, payload: bytes) -> None:
    tcp.sendall(struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce")


def method(tcp: socket.socket, channel: int, ids: tuple[int, int], form: str, *values: Any) -> None:
    frame(tcp, 1, channel, struct.pack(">HH", *ids) + (dumps(form, values) if form else b""))


def receive(tcp: socket.socket) -> tuple[int, bytes]:
    kind, _, size = struct.unpack(">BHI", tcp.recv(7, socket.MSG_WAITALL))
    return kind, tcp.recv(size + 1, socket.MSG_WAITALL)


def ack(tcp: socket.socket) -> None:
    method(tcp, 1, (60, 80), "Lb", 1, False)


def nack(tcp: socket.socket) -> None:
    method(tcp, 1, (60, 120), "Lb", 1, False)


def give_back(tcp: socket.socket) -> None:
    method(tcp, 1, (60, 50), "Bsss", 312, "NO_ROUTE", "", "devenv_evidence")
    frame(tcp, 2, 1, struct.pack(">HHQH", 60, 0, 0, 0))
    ack(tcp)


def hang_up(tcp: socket.socket) -> None:
    tcp.close()


def only_heartbeats(tcp: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            frame(tcp, 8, 0, b"")


def serve(server: socket.socket, reaction: Reaction) -> None:
    tcp, _ = server.accept()
    with closing(tcp):
        tcp.recv(8, socket.MSG_WAITALL)
        offers = {"capabilities": {"connection.blocked": True, "publisher_confirms": True}}
        method(tcp, 0, (10, 10), "ooFSS", 0, 9, offers, "PLAIN", "en_US")
        receive(tcp)
        method(tcp, 0, (10, 30), "BlB", 0, 131072, 60)
        receive(tcp), receive(tcp)
        method(tcp, 0, (10, 41), "s", "")
        receive(tcp)
        method(tcp, 1, (20, 11), "S", "")
        receive(tcp)
        method(tcp, 1, (85, 11), "")
        while receive(tcp) != (3, b"1\xce"):  # The body of the message.
            pass
        reaction(tcp)


def publisher_of(port: int) -> Publisher:
    def connect(queue: Queue, host: str) -> Any:
        opened = connection_class()(host=f"{host}:{port}", connect_timeout=1, confirm_publish=True,
                                    heartbeat=2, login_method="PLAIN")  # fmt: skip
        opened.connect()
        return opened

    return Publisher(Queue(("127.0.0.1",), "u", "p"), connect=connect)


@pytest.mark.parametrize(
    ("reaction", "outcome", "error"),
    [
        (ack, "ok", ""),
        (nack, "failed", "MessageNacked"),
        (give_back, "failed", "NO_ROUTE"),
        (hang_up, "info", "OSError: Server unexpectedly closed connection"),
        (only_heartbeats, "info", "TimeoutError"),
    ],
)
def test_the_driver_tells_these_apart(
    reaction: Reaction, outcome: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "ANSWER", 0.1 if reaction is only_heartbeats else 10.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server, reaction), daemon=True)
        thread.start()
        publisher = publisher_of(server.getsockname()[1])
        (found,) = steps(publisher, 1)
        publisher.close()
        thread.join(10)
    assert (found.outcome, error in found.error) == (outcome, True), found


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (found,) = steps(publisher_of(port), 1)
    assert found.outcome == "failed"
    assert "ConnectionRefusedError" in found.error


def test_a_wait_ends_though_heartbeats_come(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def heartbeat(self: amqp.Connection, timeout: float) -> bool:
        asked.append(timeout)
        return False

    monkeypatch.setattr(amqp.Connection, "blocking_read", heartbeat)
    with pytest.raises(TimeoutError, match="heartbeats"):
        connection_class()().drain_events(timeout=0.01)
    assert asked == sorted(asked, reverse=True)
    assert asked[0] <= 0.01
