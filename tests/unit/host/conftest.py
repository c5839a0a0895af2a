"""A fake Docker Engine behind a real Unix socket, so that the real SDK talks to it."""

from __future__ import annotations

import json
import re
import socketserver
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from devenv.host import engine
from devenv.host.capabilities import CAPABILITIES

ALL_BITS = (1 << len(CAPABILITIES)) - 1


@dataclass
class FakeEngine:
    """What it is and has; what it was asked is in `created`, what is left in `containers`."""

    path: str
    version: dict[str, Any] = field(
        default_factory=lambda: {"Version": "20.10.24+dfsg1", "ApiVersion": "1.41"}
    )
    bounding: int = ALL_BITS
    known: tuple[str, ...] = CAPABILITIES  # the names that this engine can spell
    refuses_absent: bool = False  # as engines after 20.10: leaves out, refuses to have named
    images: tuple[str, ...] = ("base",)
    device_error: str = ""
    exit_code: int = 0
    distribution: tuple[int, float] = (200, 0.0)  # status, seconds to answer
    created: list[dict[str, Any]] = field(default_factory=list)
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def create(self, name: str, config: dict[str, Any]) -> tuple[int, Any]:
        if config["Image"] not in self.images:
            return 404, {"message": f"No such image: {config['Image']}"}
        for option in config["HostConfig"].get("SecurityOpt", []):
            if option.split("=")[0] not in ("seccomp", "apparmor"):
                return 400, {"message": f'invalid --security-opt 2: "{option}"'}
        for cap in config["HostConfig"].get("CapDrop", []):
            if cap not in self.known:
                return 400, {"message": f'invalid CapDrop: unknown capability: "CAP_{cap}"'}
            if self.refuses_absent and not self.bounding >> CAPABILITIES.index(cap) & 1:
                return 400, {"message": f'capability not available: "CAP_{cap}"'}
        self.created.append(config)
        self.containers[name] = config
        return 201, {"Id": name, "Warnings": []}

    def start(self, name: str) -> tuple[int, Any]:
        host = self.containers[name]["HostConfig"]
        if self.device_error and host.get("Devices"):
            return 400, {"message": self.device_error}
        if host.get("CapAdd") == ["ALL"] and not self.refuses_absent:
            asked = set(self.known) - set(host["CapDrop"])
            if any(not self.bounding >> CAPABILITIES.index(cap) & 1 for cap in asked):
                return 400, {"message": "unable to apply caps: operation not permitted"}
        return 204, None

    def logs(self) -> bytes:
        text = f"Name:\tshim\nCapEff:\t00\nCapBnd:\t{self.bounding:016x}\n40\n".encode()
        return struct.pack(">BxxxL", 1, len(text)) + text


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    engine: FakeEngine


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, status: int, body: Any) -> None:
        data = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except BrokenPipeError:  # a client that did not wait
            pass

    def _route(self) -> None:
        fake = self.server.engine
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = re.sub(r"^/v1\.\d+", "", self.path)
        word = re.match(r"/containers/([^/?]+)", path)
        name = word[1] if word else ""
        if path == "/version":
            self._answer(200, fake.version)
        elif path.startswith("/distribution/"):
            time.sleep(fake.distribution[1])
            self._answer(fake.distribution[0], {"message": "no such host"})
        elif name == "create":
            self._answer(*fake.create(path.partition("name=")[2], json.loads(body)))
        elif name not in fake.containers:
            self._answer(404, {"message": f"No such container: {name}"})
        elif self.command == "DELETE":
            del fake.containers[name]
            self._answer(204, None)
        elif path.endswith("/start"):
            self._answer(*fake.start(name))
        elif "/wait" in path:
            self._answer(200, {"StatusCode": fake.exit_code})
        elif "/logs" in path:
            self._answer(200, fake.logs())
        else:
            self._answer(200, {"Config": {"Tty": False}})

    do_GET = do_POST = do_DELETE = _route


@pytest.fixture
def socket_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where this machine's engine would be; nothing is there. Short: sun_path has 108 bytes."""
    for name in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "docker.sock")
        monkeypatch.setattr(engine, "SOCKET", path)
        yield path


@pytest.fixture
def fake_engine(socket_path: str) -> Iterator[FakeEngine]:
    """An engine that answers on this machine's socket."""
    with _Server(socket_path, _Handler) as server:
        server.engine = FakeEngine(socket_path)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server.engine
        server.shutdown()
        thread.join()


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put a shell script on a PATH that holds nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for module in ("system", "packages", "resources", "start"):
        monkeypatch.setattr(f"devenv.host.{module}.search_path", lambda: str(folder))

    def add(name: str, script: str) -> Path:
        file = folder / name
        file.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        file.chmod(0o755)
        return file

    return add


@pytest.fixture
def debian_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is a Debian and the user is root."""
    release = {"ID": "debian", "PRETTY_NAME": "Debian 13"}
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: release)
    monkeypatch.setattr("os.geteuid", lambda: 0)
