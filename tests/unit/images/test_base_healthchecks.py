"""The health checks of the base image, against real processes and sockets."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from kolla_container import BASE

needs_ss = pytest.mark.skipif(
    not (shutil.which("ss") and shutil.which("pgrep")), reason="needs iproute2 and procps"
)


def check(
    name: str, *arguments: str | int | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a health check."""
    return subprocess.run(
        [BASE / name, *map(str, arguments)],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


@contextmanager
def process(code: str, *arguments: str | int | Path) -> Iterator[str]:
    """A process that runs Python `code`, says a line and waits; the line."""
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import socket, sys\n{code}\nsys.stdin.read()",
            *map(str, arguments),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        try:
            yield running.stdout.readline().strip()
        finally:
            running.kill()


CONNECT = "s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(flush=True)"
LISTEN = "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
UDP = """
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))
print(s.getsockname()[1], flush=True)"""
UNIX = """
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print(flush=True)"""


def wait_until_refused(port: int) -> None:
    """Wait until nobody listens on the port."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue  # taken by the listener in its last moment
    pytest.fail(f"port {port} is still open")


@pytest.fixture
def port() -> Iterator[int]:
    """A TCP port that takes connections, of this process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Answers(BaseHTTPRequestHandler):
    """Answers with the code that the path says."""

    def do_GET(self) -> None:
        self.send_response(int(self.path[1:]))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class TestCurl:
    """healthcheck_curl"""

    @pytest.fixture
    def url(self) -> Iterator[str]:
        server = HTTPServer(("127.0.0.1", 0), Answers)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
        server.server_close()

    @pytest.mark.parametrize(
        ("code", "exit_code"), [(200, 0), (300, 0), (401, 1), (404, 1), (503, 1)]
    )
    def test_an_answer_below_400_is_healthy_and_its_code_is_told(
        self, url: str, code: int, exit_code: int
    ) -> None:
        # A proxy of the environment is not asked.
        done = check("healthcheck_curl", f"{url}/{code}", http_proxy="http://127.0.0.1:1")
        assert done.returncode == exit_code
        assert done.stdout.startswith(f"{code} 127.0.0.1:")

    def test_nobody_listening_is_unhealthy_with_exit_code_1(self, closed_port: int) -> None:
        done = check("healthcheck_curl", f"http://127.0.0.1:{closed_port}")
        assert done.returncode == 1
        assert "Failed to connect" in done.stderr

    def test_no_answer_in_time_is_unhealthy(self, port: int) -> None:
        started = time.monotonic()
        done = check(
            "healthcheck_curl", f"http://127.0.0.1:{port}", HEALTHCHECK_CURL_MAX_TIME="0.2"
        )
        assert time.monotonic() - started < 5
        assert done.returncode == 1
        assert "timed out" in done.stderr


@needs_ss
class TestPort:
    """healthcheck_port"""

    def test_a_connection_of_the_process_to_the_port_is_healthy(
        self, port: int, closed_port: int
    ) -> None:
        with process(CONNECT, port, "probe-one"):
            assert check("healthcheck_port", "probe-one", port).returncode == 0
            assert check("healthcheck_port", "probe-one", closed_port, port).returncode == 0

    def test_a_connection_to_another_port_is_not(self, port: int) -> None:
        with process(CONNECT, port, "probe-two"):
            # Also when the port asked for is the beginning of the other one.
            done = check("healthcheck_port", "probe-two", port // 10)
        assert done.returncode == 1
        assert f"probe-two has no connection to port {port // 10}" in done.stderr

    def test_a_connection_of_another_process_is_not(self, port: int) -> None:
        with process(CONNECT, port, "probe-three"), process(LISTEN, "probe-four"):
            assert check("healthcheck_port", "probe-four", port).returncode == 1
            assert check("healthcheck_port", "probe-none", port).returncode == 1

    def test_a_connection_that_the_other_side_closed_is_not(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with process(CONNECT, port, "probe-eleven"):
                server.accept()[0].close()
                assert check("healthcheck_port", "probe-eleven", port).returncode == 1

    def test_listening_on_the_port_is_not(self) -> None:
        with process(LISTEN, "probe-five") as listening:
            assert check("healthcheck_port", "probe-five", listening).returncode == 1


@needs_ss
class TestListen:
    """healthcheck_listen"""

    @pytest.mark.parametrize("code", [LISTEN, UDP])
    def test_a_process_that_listens_is_healthy_and_no_other(self, code: str) -> None:
        with process(code, "probe-six") as listening, process("print(flush=True)", "probe-seven"):
            assert check("healthcheck_listen", "probe-six", listening).returncode == 0
            done = check("healthcheck_listen", "probe-seven", listening)
            assert done.returncode == 1
            assert f"probe-seven does not listen on port {listening}" in done.stderr
            assert check("healthcheck_listen", "probe-six", int(listening) // 10).returncode == 1

    def test_a_connection_to_the_port_is_not_listening(self, port: int) -> None:
        with process(CONNECT, port, "probe-eight"):
            assert check("healthcheck_listen", "probe-eight", port).returncode == 1

    def test_a_connection_that_is_left_of_a_listener_is_not_listening(self) -> None:
        code = f"{LISTEN}; c = s.accept(); s.close(); print(flush=True)"
        with (
            process(code, "probe-twelve") as listening,
            socket.create_connection(("127.0.0.1", int(listening))),
        ):
            wait_until_refused(int(listening))
            assert check("healthcheck_listen", "probe-twelve", listening).returncode == 1


class TestSocket:
    """healthcheck_socket"""

    def test_a_socket_that_takes_connections_is_healthy(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with process(UNIX, path):
            assert check("healthcheck_socket", path).returncode == 0

    def test_a_socket_left_behind_and_a_missing_one_are_not(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with process(UNIX, path):
            pass
        assert path.is_socket()
        for gone, reason in ((path, "Connection refused"), (tmp_path / "none", "No such file")):
            done = check("healthcheck_socket", gone)
            assert done.returncode == 1
            assert f"{gone}: " in done.stderr
            assert reason in done.stderr

    @needs_ss
    def test_the_process_is_compared_when_it_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with process(UNIX, path, "probe-nine"), process("print(flush=True)", "probe-ten"):
            assert check("healthcheck_socket", "probe-nine", path).returncode == 0
            done = check("healthcheck_socket", "probe-ten", path)
        assert done.returncode == 1
        assert f"{path} is not a socket of probe-ten" in done.stderr


@pytest.mark.parametrize("name", ["healthcheck_port", "healthcheck_listen"])
def test_too_few_arguments_are_told(name: str) -> None:
    done = check(name, "only")
    assert done.returncode == 1
    assert f"usage: {name} PROCESS PORT..." in done.stderr
