"""A Redfish service: sushy-tools' emulator with its fake driver, in this process."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sushy_tools.emulator import main as emulator
from sushy_tools.emulator.resources.systems import fakedriver
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

USER, PASSWORD = "admin", "s3cret-of-the-bmc"


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bmc")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "bmc.crt", folder / "bmc.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def auth_file(folder: Path) -> Path:
    """The emulator's file of users: :data:`USER` with :data:`PASSWORD`."""
    file = folder / "htpasswd"
    digest = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    file.write_text(f"{USER}:{digest}\n")
    return file


@contextmanager
def redfish_service(
    folder: Path,
    systems: Mapping[str, str],
    *,
    tls: tuple[Path, Path] | None = None,
    delay: int = 0,
    rewrite: Callable[[str], str] = str,
    changed: Callable[[str, str], None] = lambda name, state: None,
    reported: Callable[[str], str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """Its address.

    :param systems: On or Off by the system's name; its path ends in the name's UUID.
    :param delay: seconds from a request to its effect, rounded to the clock's full seconds.
    :param rewrite: what becomes of each body that it sends.
    :param changed: called with a system's name and ResetType for each request.
    :param reported: On or Off by a system's name, where there is something behind the name that
        `changed` changes; without it the emulator's own fake.
    """

    class Driver(fakedriver.FakeDriver):
        def set_power_state(self, identity: str, state: str) -> None:
            changed(self.name(identity), state)
            if reported is None:
                super().set_power_state(identity, state)

        def get_power_state(self, identity: str) -> str:
            found = super().get_power_state(identity)
            return reported(self.name(identity)) if reported else found

    app = emulator.app
    app.__dict__.pop("_cache", None)
    app.config.update(
        {
            "SUSHY_EMULATOR_FAKE_DRIVER": True,
            "SUSHY_EMULATOR_STATE_DIR": str(folder),
            "SUSHY_EMULATOR_DISABLE_POWER_OFF": False,
            "SUSHY_EMULATOR_FAKE_SYSTEMS": [
                {"uuid": uuid_of(name), "name": name, "power_state": state, "nics": []}
                for name, state in systems.items()
            ],
            **(options or {}),
        }
    )
    guarded = emulator.RedfishAuthMiddleware(app.wsgi_app, str(auth_file(folder)))

    def wsgi(environ: dict[str, Any], start: Any) -> Any:
        response = Response.from_app(guarded, environ)
        response.data = rewrite(response.get_data(as_text=True))
        return response(environ, start)

    before = fakedriver.random, fakedriver.FakeDriver
    fakedriver.random = SimpleNamespace(randint=lambda low, high: delay)
    fakedriver.FakeDriver = Driver
    server = make_server("127.0.0.1", 0, wsgi, threaded=True, ssl_context=tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        fakedriver.random, fakedriver.FakeDriver = before


def uuid_of(name: str) -> str:
    """The UUID of the system called `name`."""
    return f"00000000-0000-4000-8000-{name.encode().hex():0>12}"


def path_of(name: str) -> str:
    """The Redfish path of the system called `name`."""
    return f"/redfish/v1/Systems/{uuid_of(name)}"
