"""One HTTP request on a connection of its own, and a login at keystone."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from devenv.access.clouds import Cloud
from devenv.testing.clients.base import words
from devenv.testing.history import Failed

#: Seconds for the connection, and for each part of the answer.
TIMEOUT = 3.0


@dataclass(frozen=True)
class Reply:
    """A whole answer. Headers are by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's value.

        :raises Failed: when it is not JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Failed(f"HTTP {self.status} with a body that is not JSON") from error


@dataclass(frozen=True)
class Token:
    """A token of keystone's. Its id is a secret and must not get into a history.

    :param endpoints: public URLs by service type, such as ``compute``.
    """

    id: str = field(repr=False)
    endpoints: Mapping[str, str]


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: object = None,
    timeout: float = TIMEOUT,
) -> Reply:
    """Ask once, on a new connection.

    A service in trouble has new clients; one that keeps its connection would not see that a new
    one is refused.

    :param body: sent as JSON.
    :raises Failed: when no whole answer came. That it surely had no effect is true for what only
        reads; use it for nothing else.
    """
    parts = urlsplit(url)
    sent = {"Connection": "close", "Accept": "application/json", **(headers or {})}
    data = None
    if body is not None:
        data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request(method, path, data, sent)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, found, answer.read())
    except (OSError, http.client.HTTPException) as error:
        raise Failed(words(error)) from error
    finally:
        connection.close()


def login(cloud: Cloud) -> Token:
    """A new token of the administrator.

    A token that was made and not received harms nobody, so asking for one counts as reading.

    :raises Failed: on any answer but 201 (docs.openstack.org/api-ref/identity/v3).
    """
    auth: Any = cloud.entry()["auth"]
    user = {
        "name": auth["username"],
        "password": auth["password"],
        "domain": {"name": auth["user_domain_name"]},
    }
    scope = {
        "name": auth["project_name"],
        "domain": {"name": auth["project_domain_name"]},
    }
    body = {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": scope},
        }
    }
    reply = request("POST", f"{cloud.auth_url}/auth/tokens", body=body)
    if reply.status != http.client.CREATED:
        raise Failed(f"HTTP {reply.status} from keystone")
    try:
        endpoints = {
            service["type"]: endpoint["url"]
            for service in reply.json()["token"]["catalog"]
            for endpoint in service["endpoints"]
            if endpoint["interface"] == "public"
        }
        return Token(reply.headers["x-subject-token"], endpoints)
    except (KeyError, TypeError) as error:
        raise Failed(f"keystone's answer lacks {error}") from error
