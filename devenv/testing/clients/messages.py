"""Publishes numbered messages with confirms, and consumes them with acknowledgements.

The driver is py-amqp, the one under kombu and so under oslo.messaging.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from devenv.core.errors import DevenvError, WaitTimeout
from devenv.core.wait import NotYet, wait_until
from devenv.testing.clients.base import Client, words
from devenv.testing.history import Failed, History, Operation

PORT = 5672
CONNECT, ANSWER, HEARTBEAT = 2.0, 3.0, 2  # seconds
IDLE = 0.5  # seconds that the consumer waits for a message before it looks after heartbeats
PREFETCH = 50
#: The reply code of a message that was returned because no queue takes it (AMQP 0-9-1).
NO_ROUTE = 312


@dataclass(frozen=True)
class Queue:
    """A durable queue and how to get to it.

    :param hosts: brokers, tried in turn, as a service with a list of hosts does.
    :param type: a ``classic`` queue lives on one node and is lost with it; with it the check for
        lost messages can be seen to turn red.
    """

    hosts: tuple[str, ...]
    user: str
    password: str = field(repr=False)
    name: str = "devenv_evidence"
    type: Literal["quorum", "classic"] = "quorum"


#: Connects to one of the hosts; the result is an amqp.Connection with confirms.
Connect = Callable[[Queue, str], Any]


class _Link:
    """One connection at a time, after each failure to the next host.

    :param first: which host comes first.
    :param setup: given each new channel.
    """

    def __init__(
        self, queue: Queue, first: int, setup: Callable[[Any], None], connect: Connect | None
    ) -> None:
        self._queue = queue
        self._turn = itertools.count(first)
        self._setup = setup
        self._connect = connect or _amqp
        self.connection: Any = None
        self._channel: Any = None

    def channel(self) -> Any:
        """An open channel whose peer was heard of lately."""
        if self._channel is None:
            hosts = self._queue.hosts
            self.connection = self._connect(self._queue, hosts[next(self._turn) % len(hosts)])
            channel = self.connection.channel()
            self._setup(channel)
            self._channel = channel
        self.connection.heartbeat_tick()
        return self._channel

    def drop(self) -> None:
        """Forget the connection, without a word to a broker that may not listen."""
        connection, self.connection, self._channel = self.connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.collect()


class Publisher(Client):
    """Publishes 1, 2, 3, ..., each at most once, and waits for the broker's confirm.

    :param interval: seconds between two messages.
    """

    name = "messages"
    kinds = ("publish",)

    def __init__(
        self, queue: Queue, *, interval: float = 0.1, connect: Connect | None = None
    ) -> None:
        self.interval = interval
        self._queue = queue
        self._link = _Link(queue, 0, lambda channel: None, connect)
        self._values = itertools.count(1)

    def open(self) -> None:
        """Make the queue, empty. It is made here only: one that vanishes has to be noticed.

        :raises DevenvError: when no host lets it.
        """

        def declare(channel: Any) -> None:
            channel.queue_delete(self._queue.name)
            channel.queue_declare(
                self._queue.name,
                durable=True,
                auto_delete=False,
                arguments={"x-queue-type": self._queue.type},
            )

        self._manage("make", declare)

    def drop(self) -> None:
        """Remove the queue.

        :raises DevenvError: when no host lets it.
        """
        self._manage("remove", lambda channel: channel.queue_delete(self._queue.name))
        self.close()

    def step(self, history: History) -> None:
        value = next(self._values)
        with history.operation(self.name, "publish", value):
            self._publish(value)

    def close(self) -> None:
        self._link.drop()

    def _publish(self, value: int) -> None:
        from amqp.basic_message import Message
        from amqp.exceptions import MessageNacked

        try:
            channel = self._link.channel()
        except Exception as error:
            self._link.drop()
            raise Failed(words(error)) from error  # Nothing was sent yet.
        try:
            channel.basic_publish(
                Message(str(value), delivery_mode=2),  # persistent
                routing_key=self._queue.name,
                # A message that no queue takes would be confirmed otherwise.
                mandatory=True,
                timeout=ANSWER,
                confirm_timeout=ANSWER,
            )
        except Exception as error:
            self._link.drop()
            if isinstance(error, MessageNacked) or getattr(error, "reply_code", 0) == NO_ROUTE:
                raise Failed(words(error)) from error
            raise

    def _manage(self, verb: str, action: Callable[[Any], None]) -> None:
        errors = []
        for host in self._queue.hosts:
            try:
                return action(self._link.channel())
            except Exception as error:
                self._link.drop()
                errors.append(f"{host}: {words(error)}")
        raise DevenvError(
            f"no broker lets us {verb} the queue {self._queue.name}",
            detail="\n".join(errors),
            remedy="look at `devenv status`: do the rabbitmq containers answer?",
        )


class Consumer(Client):
    """Takes what is in the queue. ``consume`` is ``ok`` once the acknowledgement is sent.

    The result says whether the broker called it a redelivery: after a lost connection that is
    allowed, the acknowledgement may have been lost with it. A failed connection is recorded as a
    ``consume`` without a value.
    """

    name = "messages"
    kinds = ("consume",)
    interval = 0.05

    def __init__(self, queue: Queue, *, connect: Connect | None = None) -> None:
        self._queue = queue
        self._link = _Link(queue, 1, self._subscribe, connect)
        self._delivered: deque[Any] = deque()

    def step(self, history: History) -> None:
        begin = time.monotonic()
        try:
            self._link.channel()
            self._collect()
        except Exception as error:
            self._lost()
            now, said = time.monotonic(), words(error)
            history.add(Operation(self.name, "consume", None, begin, now, "failed", error=said))
        while self._delivered:
            message = self._delivered.popleft()
            with history.operation(self.name, "consume", int(message.body)) as answer:
                try:
                    message.channel.basic_ack(message.delivery_tag)
                except Exception:
                    self._lost()
                    raise
                answer.result = message.delivery_info["redelivered"]

    def close(self) -> None:
        self._link.drop()

    def drain(self, history: History, timeout: float = 60) -> list[int]:
        """Consume until every confirmed message was seen, after the load has stopped.

        :param timeout: seconds.
        :returns: the confirmed messages that never came.
        """

        def missing() -> list[int]:
            seen = {one.value for one in history.of(self.name, "consume") if one.outcome == "ok"}
            sent = {one.value for one in history.of(self.name, "publish") if one.outcome == "ok"}
            return sorted(sent - seen)

        def complete() -> None:
            if missing():
                self.step(history)
                raise NotYet("messages are missing")

        try:
            wait_until(complete, what="the queue", timeout=timeout, interval=0.01, longest=0.1)
        except WaitTimeout:
            return missing()
        finally:
            self.close()
        return []

    def _collect(self) -> None:
        """Wait for a message, then take those right behind it."""
        patience = IDLE
        try:
            while len(self._delivered) < PREFETCH:
                self._link.connection.drain_events(timeout=patience)
                patience = 0.01
        except TimeoutError as error:
            if error.errno:  # The kernel gave up on the peer; silence alone has no number.
                raise

    def _subscribe(self, channel: Any) -> None:
        channel.basic_qos(0, PREFETCH, False)
        channel.basic_consume(self._queue.name, callback=self._delivered.append)

    def _lost(self) -> None:
        """What was delivered and not acknowledged will be delivered again."""
        self._link.drop()
        self._delivered.clear()


def _amqp(queue: Queue, host: str) -> Any:
    connection = connection_class()(
        host=f"{host}:{PORT}",
        userid=queue.user,
        password=queue.password,
        login_method="PLAIN",
        connect_timeout=CONNECT,
        write_timeout=ANSWER,
        heartbeat=HEARTBEAT,
        confirm_publish=True,
    )
    connection.connect()
    return connection


def connection_class() -> Any:
    """amqp.Connection whose waits end.

    The library's own clock starts again with every frame, heartbeats too: a broker that lives
    while its queue has no leader would be waited for without end.
    """
    import amqp

    class Connection(amqp.Connection):  # type: ignore[misc]
        def drain_events(self, timeout: float | None = None) -> None:
            deadline = time.monotonic() + (ANSWER if timeout is None else timeout)
            while not self.blocking_read(max(0.0, deadline - time.monotonic())):
                if time.monotonic() >= deadline:
                    raise TimeoutError("nothing but heartbeats came")

    return Connection
