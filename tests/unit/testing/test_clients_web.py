from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from devenv.access.clouds import Cloud
from devenv.testing.clients import web
from devenv.testing.clients.servers import Servers
from devenv.testing.clients.tokens import Tokens
from devenv.testing.history import Failed, History, Operation


class Services(ThreadingHTTPServer):
    """Keystone and nova: tokens are secret-1, secret-2, ...; only the last one is good."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses: list[int] = []
        self.logins: list[Any] = []
        self.valid = True
        self.silent = False
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def cloud(self) -> Cloud:
        return Cloud("default", f"{self.url}/v3", "hunter2")


class Handler(BaseHTTPRequestHandler):
    server: Services
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v3/auth/tokens"
        self.server.logins.append(asked)
        self.server.valid = True
        endpoints = [
            {"interface": "internal", "url": "http://192.0.2.1"},
            {"interface": "public", "url": f"{self.server.url}/v2.1"},
        ]
        catalog = [{"type": "compute", "endpoints": endpoints}]
        self.answer(
            self.server.statuses.pop(0) if self.server.statuses else 201,
            {"token": {"catalog": catalog}},
            f"secret-{len(self.server.logins)}",
        )

    def do_GET(self) -> None:
        assert self.path == "/v2.1/servers"
        good = f"secret-{len(self.server.logins)}"
        if not self.server.valid or self.headers["X-Auth-Token"] != good:
            return self.answer(401, {})
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        return self.answer(status, {"servers": [{"name": "guest"}]})

    def answer(self, status: int, body: object, token: str = "") -> None:
        if self.server.silent:
            self.close_connection = True
            return
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if token:
            self.send_header("X-Subject-Token", token)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def services() -> Iterator[Services]:
    with Services() as opened:
        thread = threading.Thread(target=opened.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


def steps(client: Tokens | Servers, count: int) -> list[Operation]:
    history = History()
    for _ in range(count):
        client.step(history)
    return history.operations


def test_a_token_is_ok_when_it_was_created(services: Services) -> None:
    services.statuses = [201, 503, 500, 200, 401, 201]
    found = steps(Tokens(services.cloud), 6)
    assert [one.outcome for one in found] == ["ok", *["failed"] * 4, "ok"]
    assert found[1].error == "HTTP 503 from keystone"
    assert {(one.client, one.kind) for one in found} == {("tokens", "token")}
    assert services.connections == 6  # A new one each time.
    identity = services.logins[0]["auth"]["identity"]["password"]["user"]
    assert (identity["name"], identity["password"]) == ("admin", "hunter2")


def test_secrets_do_not_get_into_the_history(services: Services) -> None:
    services.statuses = [201, 503]
    told = repr(steps(Tokens(services.cloud), 2)) + repr(web.login(services.cloud))
    assert "secret" not in told
    assert "hunter2" not in told


def test_an_answer_that_breaks_off_is_none(services: Services) -> None:
    services.silent = True
    (found,) = steps(Tokens(services.cloud), 1)
    assert found.outcome == "failed"
    assert found.error.startswith("RemoteDisconnected")


def test_nobody_listens(services: Services) -> None:
    cloud = services.cloud
    services.shutdown()
    services.server_close()
    (found,) = steps(Tokens(cloud), 1)
    assert found.outcome == "failed"
    assert found.error.startswith("ConnectionRefusedError")


def test_an_answer_that_takes_too_long_is_none() -> None:
    # It listens, and nobody accepts.
    with Services() as deaf, pytest.raises(Failed, match="timed out"):
        web.request("GET", deaf.url, timeout=0.05)


def test_servers_are_listed_with_one_token(services: Services) -> None:
    client = Servers(services.cloud)
    client.open()
    found = steps(client, 3)
    assert [(one.outcome, one.result) for one in found] == [("ok", 1)] * 3
    assert len(services.logins) == 1


def test_a_token_that_is_refused_is_renewed(services: Services) -> None:
    client = Servers(services.cloud)
    client.open()
    services.valid = False
    found = steps(client, 2)
    assert [one.outcome for one in found] == ["ok", "ok"]
    assert len(services.logins) == 2


def test_a_list_that_nova_does_not_give_failed(services: Services) -> None:
    client = Servers(services.cloud)
    client.open()
    services.statuses = [504, 200]
    found = steps(client, 2)
    assert [one.outcome for one in found] == ["failed", "ok"]
    assert found[0].error == "HTTP 504 from nova"


def test_no_new_token_no_list_and_another_try_at_the_next_step(services: Services) -> None:
    client = Servers(services.cloud)
    client.open()
    services.valid, services.statuses = False, [503]
    found = steps(client, 2)
    assert [one.outcome for one in found] == ["failed", "ok"]
    assert found[0].error == "HTTP 503 from keystone"
