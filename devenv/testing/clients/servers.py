"""Lists nova's servers."""

from __future__ import annotations

import http.client

from devenv.access.clouds import Cloud
from devenv.testing.clients import web
from devenv.testing.clients.base import Client
from devenv.testing.history import Failed, History


class Servers(Client):
    """Lists the servers with a token that it keeps until nova refuses it (401).

    The result is how many there are; all but 200 is ``failed``, since a list changes nothing.

    :param interval: seconds between two lists.
    """

    name = "servers"
    kinds = ("list",)

    def __init__(self, cloud: Cloud, *, interval: float = 1.0) -> None:
        self.interval = interval
        self._cloud = cloud
        self._token: web.Token | None = None

    def open(self) -> None:
        self._token = web.login(self._cloud)

    def step(self, history: History) -> None:
        with history.operation(self.name, "list") as answer:
            answer.result = self._list()

    def _list(self) -> int:
        reply = self._ask(self._token or self._renew())
        if reply.status == http.client.UNAUTHORIZED:
            reply = self._ask(self._renew())
        if reply.status != http.client.OK:
            raise Failed(f"HTTP {reply.status} from nova")
        servers = reply.json().get("servers")
        if not isinstance(servers, list):
            raise Failed("nova's answer has no list of servers")
        return len(servers)

    def _renew(self) -> web.Token:
        self._token = None
        self._token = web.login(self._cloud)
        return self._token

    def _ask(self, token: web.Token) -> web.Reply:
        url = token.endpoints.get("compute")
        if url is None:
            raise Failed("the catalog has no compute service")
        return web.request("GET", f"{url}/servers", headers={"X-Auth-Token": token.id})
