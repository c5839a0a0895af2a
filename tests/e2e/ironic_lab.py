"""A real Ironic with machines that are none: one process, SQLite, its fake hardware type.

The hardware type `fake-hardware` takes any interface, so that a machine with the deploy interface
`direct` looks for its image for real, and then waits for an agent that never comes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import openstack
from keystoneauth1.exceptions import ClientException
from openstack.exceptions import SDKException

from devenv.core.wait import NotYet, wait_until

REQUIREMENTS = ("ironic==39.0.0", "SQLAlchemy<2.1")
CONFIG = """\
[DEFAULT]
auth_strategy = noauth
rpc_transport = none
host = lab
state_path = {folder}
enabled_hardware_types = fake-hardware
enabled_bios_interfaces = no-bios
enabled_boot_interfaces = fake
enabled_console_interfaces = no-console
enabled_deploy_interfaces = fake,direct
enabled_firmware_interfaces = no-firmware
enabled_inspect_interfaces = fake,no-inspect
enabled_management_interfaces = fake
enabled_network_interfaces = noop
enabled_power_interfaces = fake
enabled_raid_interfaces = no-raid
enabled_rescue_interfaces = no-rescue
enabled_storage_interfaces = noop
enabled_vendor_interfaces = no-vendor
default_deploy_interface = fake
default_network_interface = noop
[api]
host_ip = 127.0.0.1
port = {port}
api_workers = 1
[conductor]
automated_clean = false
deploy_callback_timeout = 2
check_provision_state_interval = 1
sync_power_state_interval = 0
[database]
connection = sqlite:///{folder}/ironic.sqlite
[oslo_concurrency]
lock_path = {folder}/locks
[dhcp]
dhcp_provider = none
[service_catalog]
auth_type = none
endpoint_override = http://127.0.0.1:{port}
"""


class RealIronic:
    """See ironic_cases.Lab."""

    def __init__(self, image: str, checksum: str) -> None:
        self.cloud = "lab"
        self.image, self.checksum = image, checksum

    def enroll(self, name: str, resource_class: str, deploy_interface: str) -> None:
        """See ironic_cases.Lab."""
        bare = openstack.connect(cloud=self.cloud).baremetal
        ident = bare.create_node(
            name=name,
            driver="fake-hardware",
            resource_class=resource_class,
            deploy_interface=deploy_interface,
        ).id

        def reached(field: str, value: str) -> None:
            if (now := getattr(bare.get_node(ident), field)) != value:
                raise NotYet(str(now))

        for target, state in (("manage", "manageable"), ("provide", "available")):
            bare.set_node_provision_state(ident, target)
            wait_until(partial(reached, "provision_state", state), what=state, timeout=30)
        # Only machines whose power is known are given to anybody.
        bare.set_node_power_state(ident, "power off")
        wait_until(partial(reached, "power_state", "power off"), what="power", timeout=30)


@contextmanager
def real_ironic(folder: Path) -> Iterator[RealIronic]:
    """Install it below `folder` and run it; clouds.yaml is there, too.

    Its log stays in `folder`/ironic.log.
    """
    programs = _install(folder / "venv")
    port = _free_port()
    config = folder / "ironic.conf"
    config.write_text(CONFIG.format(folder=folder, port=port))
    arguments = ["--config-file", str(config)]
    with (folder / "ironic.log").open("wb") as log, _files(folder) as (image, checksum):
        subprocess.run(
            [programs / "ironic-dbsync", *arguments, "create_schema"],
            check=True,
            stdout=log,
            stderr=log,
        )
        with subprocess.Popen([programs / "ironic", *arguments], stdout=log, stderr=log) as process:
            try:
                clouds(folder, f"http://127.0.0.1:{port}")
                wait_until(partial(_answers, port, process), what="Ironic", timeout=120)
                yield RealIronic(image, checksum)
            finally:
                process.terminate()


def clouds(folder: Path, ironic: str, **endpoints: str) -> Path:
    """A clouds.yaml with `lab`, the Ironic, and `silent`, where nobody answers."""
    file = folder / "clouds.yaml"
    silent = f"http://127.0.0.1:{_free_port()}"
    found = {
        name: {"auth_type": "none", "baremetal_endpoint_override": url, **more}
        for name, url, more in (("lab", ironic, endpoints), ("silent", silent, {}))
    }
    file.write_text(json.dumps({"clouds": found}))
    return file


def _install(venv: Path) -> Path:
    uv = [found] if (found := shutil.which("uv")) else [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, venv], check=True)
    python = venv / "bin/python"
    subprocess.run([*uv, "pip", "install", "-q", "-p", python, *REQUIREMENTS], check=True)
    return venv / "bin"


def _answers(port: int, process: subprocess.Popen[bytes]) -> None:
    """Its conductor is there once a driver is."""
    if process.poll() is not None:
        raise RuntimeError(f"Ironic ended with {process.returncode}, see its log")
    connection = openstack.connect(
        auth_type="none", baremetal_endpoint_override=f"http://127.0.0.1:{port}"
    )
    try:
        if not list(connection.baremetal.drivers()):
            raise NotYet("no conductor yet")
    except (SDKException, ClientException) as error:
        raise NotYet(str(error)) from error


@contextmanager
def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """A web server with one image; its URL and SHA-256."""
    root = folder / "images"
    root.mkdir()
    (root / "image.raw").write_bytes(b"an image")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/image.raw"
        yield url, hashlib.sha256(b"an image").hexdigest()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
