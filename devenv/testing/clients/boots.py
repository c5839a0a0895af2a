"""Boots servers and deletes them: work that crosses every service and the message queue."""

from __future__ import annotations

import itertools
import re
import secrets
from typing import Any, NoReturn

from devenv.core.wait import NotYet, wait_until
from devenv.testing.clients.base import Client, words
from devenv.testing.history import Failed, History

#: Begins the names of all servers of all runs: what one of them left is known by it.
PREFIX = "devenv-boots-"
#: How nova's fault tells of an RPC that got no answer: the class of oslo.messaging's error, which
#: is all that nova.compute.utils.exception_to_dict gives away, or its words inside of another.
_LOST = re.compile(
    r"Messaging(Timeout|Exception)|Message(DeliveryFailure|Undeliverable)"
    r"|Timed out waiting for a reply|No destination for message"
)


class Lost(Exception):
    """A server ended in ERROR because a message was lost."""


class Boots(Client):
    """Boots a tiny server, waits until nova says ACTIVE, deletes it, waits until it is gone.

    ``boot`` is ``failed`` when nova refused it or the server ended in ERROR. It is ``info`` when
    it never came to an end: an accepted server that stays in BUILD is what a lost cast looks like,
    and the error says so. It is ``info``, too, when the ERROR is that of a lost RPC: no refusal.
    ``delete`` is ``ok`` or ``info``. Their value is the server's name.

    :param cloud: an openstack.connection.Connection for it alone: sessions are not made for two
        threads. Give it a short ``api_timeout`` (10 s), or a dead connection holds it for long.
    :param limit: seconds for a boot, and for a delete.
    """

    name = "boots"
    kinds = ("boot", "delete")
    steady = False

    def __init__(
        self, cloud: Any, *, limit: float = 120.0, interval: float = 1.0, poll: float = 0.5
    ) -> None:
        self.interval = interval
        self.patience = 2 * limit + 30
        self._cloud = cloud
        self._limit = limit
        self._poll = poll
        self._prefix = f"{PREFIX}{secrets.token_hex(3)}"
        self._numbers = itertools.count(1)
        self._server: dict[str, Any] = {}
        self._refused = False

    def open(self) -> None:
        """Look up what servers are made of, and remove what a run left that was killed.

        :raises WaitTimeout: when a server resists.
        """
        self._delete(PREFIX)
        compute, network = self._cloud.compute, self._cloud.network
        self._server = {
            "image_id": self._cloud.image.find_image("guest", ignore_missing=False).id,
            "flavor_id": compute.find_flavor("tiny", ignore_missing=False).id,
            "networks": [{"uuid": network.find_network("internal", ignore_missing=False).id}],
        }

    def step(self, history: History) -> None:
        name = f"{self._prefix}-{next(self._numbers):04}"
        with history.operation(self.name, "boot", name):
            self._boot(name)
        if not self._refused:
            with history.operation(self.name, "delete", name):
                self._delete(name)

    def close(self) -> None:
        """Remove what is left, also what came of a request that gave no answer.

        :raises WaitTimeout: when a server resists.
        """
        if self._server:
            self._delete(self._prefix)

    def _boot(self, name: str) -> None:
        import openstack.exceptions

        self._refused = False
        try:
            server = self._cloud.compute.create_server(name=name, **self._server).id
        except openstack.exceptions.HttpException as error:
            if 400 <= (error.status_code or 0) < 500:
                self._refused = True
                raise Failed(words(error)) from error
            raise  # 5xx: nova may have begun.
        wait_until(
            lambda: self._active(server),
            what=f"{name} to be ACTIVE",
            timeout=self._limit,
            interval=self._poll,
        )

    def _active(self, server: str) -> None:
        try:
            now = self._cloud.compute.get_server(server)
        except Exception as error:  # An API that does not answer says nothing about the server.
            raise NotYet(words(error)) from error
        if now.status == "ERROR":
            fault = getattr(now, "fault", None) or {}
            said = f"ERROR: {fault.get('message') or 'nova gives no reason'}"
            raise Lost(said) if _LOST.search(said) else Failed(said)
        if now.status != "ACTIVE":
            _not_yet(now)

    def _delete(self, prefix: str) -> None:
        """Delete by name, because a create that gave no answer gave no id.

        One accepted request has to do: a second one would hide that the first got lost.
        """
        accepted: set[str] = set()

        def gone() -> None:
            try:
                found = list(self._cloud.compute.servers(name=f"^{prefix}"))
                for one in found:
                    if one.id not in accepted:
                        self._cloud.compute.delete_server(one.id, ignore_missing=True)
                        accepted.add(one.id)
            except Exception as error:
                raise NotYet(words(error)) from error
            if found:
                _not_yet(found[0])

        wait_until(gone, what=f"{prefix} to be gone", timeout=self._limit, interval=self._poll)


def _not_yet(server: Any) -> NoReturn:
    raise NotYet(f"{server.status}, task {server.task_state}")
