"""A keystone and three glances that are one HTTP server, for glance's replicate.py."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Cloud:
    """What the servers know and what they were asked for.

    :param images: the metadata that every glance lists.
    :param data: node to image id to what its glance gives as the image's data.
    :param page: most images in an answer.
    :param failures: statuses that the next requests for a node's listing get.
    :param withheld: the second half of an image's data is given once this is set.
    """

    url: str = ""
    images: list[dict[str, Any]] = field(default_factory=list)
    data: dict[str, dict[str, bytes]] = field(
        default_factory=lambda: {"ctl1": {}, "ctl2": {}, "ctl3": {}}
    )
    page: int = 1000
    failures: list[int] = field(default_factory=list)
    withheld: threading.Event | None = None
    token: str = "token-1"
    tokens_given: int = 0
    asked: list[str] = field(default_factory=list)

    def image(self, data: bytes, *nodes: str, **fields: Any) -> str:
        """An image whose data lies on these nodes."""
        image = {
            "id": str(uuid.uuid4()),
            "status": "active",
            "size": len(data),
            "os_hidden": False,
            "os_hash_algo": "sha512",
            "os_hash_value": hashlib.sha512(data).hexdigest(),
            **fields,
        }
        self.images.append(image)
        for node in nodes:
            self.data[node][image["id"]] = data
        return str(image["id"])


class Answers(BaseHTTPRequestHandler):
    """/keystone/v3/auth/tokens, and /NODE/v2/images as that node's glance gives it."""

    cloud: Cloud

    def log_message(self, format: str, *args: Any) -> None:
        """Not to stderr."""

    def _answer(self, status: int, body: bytes = b"", token: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if token:
            self.send_header("X-Subject-Token", token)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        cloud = self.cloud
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        user = asked["auth"]["identity"]["password"]["user"]
        if self.path != "/keystone/v3/auth/tokens" or user["password"] != "secret":
            return self._answer(401)
        cloud.tokens_given += 1
        return self._answer(201, token=cloud.token)

    def do_GET(self) -> None:
        cloud, url = self.cloud, urlsplit(self.path)
        cloud.asked.append(self.path)
        if self.headers["X-Auth-Token"] != cloud.token:
            return self._answer(401)
        node, _, _, *rest = url.path.strip("/").split("/")
        if not rest:
            if cloud.failures:
                return self._answer(cloud.failures.pop(0))
            return self._answer(200, json.dumps(self._listing(parse_qs(url.query))).encode())
        if rest[1:] == ["file"]:
            return self._file(cloud.data[node].get(rest[0]))
        return self._answer(200 if any(i["id"] == rest[0] for i in cloud.images) else 404)

    def _listing(self, query: dict[str, list[str]]) -> dict[str, Any]:
        hidden = query["os_hidden"] == ["true"]
        images = [image for image in self.cloud.images if image["os_hidden"] == hidden]
        start = int(query.get("marker", ["0"])[0])
        end = start + self.cloud.page
        listing: dict[str, Any] = {"images": images[start:end]}
        if end < len(images):
            # As glance does: a path without the host.
            listing["next"] = f"/v2/images?os_hidden={str(hidden).lower()}&marker={end}"
        return listing

    def _file(self, data: bytes | None) -> None:
        if data is None:
            return self._answer(204)  # Glance 32 when the file is not in its store.
        if self.cloud.withheld is None:
            return self._answer(200, data)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        half = len(data) // 2
        self.wfile.write(data[:half])
        self.wfile.flush()
        if self.cloud.withheld.wait(30):
            self.wfile.write(data[half:])
        return None


@contextmanager
def serve() -> Iterator[Cloud]:
    """A cloud that answers on a port of this machine."""
    cloud = Cloud()
    handler = type("Handler", (Answers,), {"cloud": cloud})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    cloud.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield cloud
    if cloud.withheld:
        cloud.withheld.set()
    server.shutdown()
    thread.join()
    server.server_close()
