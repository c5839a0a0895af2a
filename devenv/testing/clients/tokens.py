"""Asks keystone for tokens."""

from __future__ import annotations

from devenv.access.clouds import Cloud
from devenv.testing.clients import web
from devenv.testing.clients.base import Client
from devenv.testing.history import History


class Tokens(Client):
    """Logs in, each time on a new connection. ``ok`` is 201; all else is ``failed``.

    :param interval: seconds between two logins.
    """

    name = "tokens"
    kinds = ("token",)

    def __init__(self, cloud: Cloud, *, interval: float = 0.5) -> None:
        self.interval = interval
        self._cloud = cloud

    def step(self, history: History) -> None:
        with history.operation(self.name, "token"):
            web.login(self._cloud)
