"""Machines behind a Redfish service: sushy-tools' emulator before libvirt, or before containers.

On Debian: libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 seabios
python3-libvirt; no KVM, no systemd, and no network of libvirt's.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from devenv.core.errors import HostError
from devenv.core.wait import NotYet, wait_until

sys.path.append(str(Path(__file__).parents[1] / "unit/providers"))
from redfish_service import auth_file, certificate, redfish_service

if TYPE_CHECKING:
    from docker.models.containers import Container

PACKAGES = (
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "libvirt-clients",
    "qemu-system-x86",
    "seabios",
    "python3-libvirt",
)
URI = "qemu:///system"
#: What the system below writes to its first serial port at each boot.
GREETING = "up\n"
#: x86 real mode, at 0x7c00: write the greeting to port 0x3f8, then halt for ever.
_BOOT_SECTOR = (
    bytes.fromhex(
        "fa 31c0 8ed8"  # cli; ds = 0
        "fc be 177c ba f803"  # si = the text, dx = COM1
        "ac 84c0 7403 ee ebf8"  # each byte of it
        "f4 ebfd"  # hlt
    )
    + GREETING.encode()
    + b"\0"
)
DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>16</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{folder}/disk.raw'/>
      <target dev='hda' bus='ide'/>
    </disk>
    <serial type='file'><source path='{folder}/console' append='on'/></serial>
  </devices>
  <!-- As root, since the folders of tests are nobody else's. -->
  <seclabel type='static' model='dac' relabel='no'><label>+0:+0</label></seclabel>
</domain>
"""


@dataclass(frozen=True)
class Machine:
    """A virtual machine with a system of a few bytes, and its Redfish service."""

    name: str
    address: str
    system: str
    certificate: Path
    _folder: Path

    def domain_state(self) -> str:
        """As libvirt has it: `running`, `shut off`."""
        return virsh("domstate", self.name)

    def domain_id(self) -> str:
        """Another after each start; `-` while it is off."""
        return virsh("domid", self.name)

    def boots(self) -> int:
        """How often the system in it has started."""
        console = self._folder / "console"
        return console.read_text().count(GREETING) if console.exists() else 0


@contextmanager
def redfish_lab(folder: Path) -> Iterator[Machine]:
    """One machine, off, that is gone at the end.

    :raises HostError: a package is missing.
    """
    with ExitStack() as stack:
        stack.enter_context(libvirt(folder))
        name, ident = f"devenv-lab-{uuid.uuid4().hex[:8]}", str(uuid.uuid4())
        sector = _BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa"
        (folder / "disk.raw").write_bytes(sector.ljust(1 << 20, b"\0"))
        (folder / "domain.xml").write_text(DOMAIN.format(name=name, uuid=ident, folder=folder))
        virsh("define", str(folder / "domain.xml"))
        stack.callback(_remove, name)
        certificate_, key = certificate(folder)
        address = stack.enter_context(emulator(folder, certificate_, key))
        yield Machine(name, address, f"/redfish/v1/Systems/{ident}", certificate_, folder)


@contextmanager
def libvirt(folder: Path) -> Iterator[None]:
    """A libvirtd: the one that runs, or one started here that ends with the context."""
    missing = [name for name in ("libvirtd", "virtlogd", "virsh") if not shutil.which(name)]
    if missing:
        raise HostError(
            f"the Redfish lab needs {', '.join(missing)}",
            remedy=f"apt-get install --no-install-recommends {' '.join(PACKAGES)}",
        )
    with ExitStack() as stack:
        if _libvirt_answers():
            yield
            return
        log = stack.enter_context((folder / "libvirt.log").open("wb"))
        for daemon in ("virtlogd", "libvirtd"):
            process = stack.enter_context(subprocess.Popen([daemon], stdout=log, stderr=log))
            stack.callback(process.terminate)

        def answers() -> None:
            if not _libvirt_answers():
                raise NotYet((folder / "libvirt.log").read_text()[-500:])

        wait_until(answers, what="libvirtd", timeout=60)
        yield


@contextmanager
def emulator(folder: Path, certificate: Path, key: Path, uri: str = URI) -> Iterator[str]:
    """The address of sushy-emulator for all domains at `uri`.

    In an environment of its own, which has Debian's binding of libvirt: to build one from PyPI
    takes a compiler.
    """
    uv = [found] if (found := shutil.which("uv")) else [sys.executable, "-m", "uv"]
    venv = folder / "emulator"
    create = ["venv", "-q", "--system-site-packages", "--python", "/usr/bin/python3", venv]
    subprocess.run([*uv, *create], check=True)
    subprocess.run(
        [*uv, "pip", "install", "-q", "-p", venv / "bin/python", "sushy-tools"], check=True
    )
    config = folder / "emulator.conf"
    config.write_text(
        f"SUSHY_EMULATOR_AUTH_FILE = {str(auth_file(folder))!r}\n"
        f"SUSHY_EMULATOR_STATE_DIR = {str(folder)!r}\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [venv / "bin/sushy-emulator", "--config", config, "--libvirt-uri", uri]
    command += ["--interface", "127.0.0.1", "--port", str(port)]
    command += ["--ssl-certificate", certificate, "--ssl-key", key]
    with (
        (folder / "emulator.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            wait_until(partial(_listens, port, process), what="the emulator", timeout=60)
            yield f"https://127.0.0.1:{port}"
        finally:
            process.terminate()


@contextmanager
def redfish_of_containers(folder: Path, containers: Mapping[str, Container]) -> Iterator[str]:
    """The address of a Redfish service with a system for each container, by its name.

    A system's path is redfish_service.path_of(NAME); the service has :func:`certificate`'s in
    `folder`, bmc.crt. Power off is SIGKILL.
    """

    def reported(name: str) -> str:
        containers[name].reload()
        return "On" if containers[name].status == "running" else "Off"

    def changed(name: str, reset_type: str) -> None:
        if reset_type in ("ForceOff", "ForceRestart") and reported(name) == "On":
            containers[name].kill()
        if reset_type in ("On", "ForceOn", "ForceRestart"):
            containers[name].start()

    systems = dict.fromkeys(containers, "On")
    tls = certificate(folder)
    with redfish_service(folder, systems, tls=tls, changed=changed, reported=reported) as address:
        yield address


def virsh(*arguments: str) -> str:
    """The output of a virsh command.

    :raises subprocess.CalledProcessError: when it fails.
    """
    done = subprocess.run(
        ["virsh", "-q", "-c", URI, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _remove(name: str) -> None:
    if virsh("domstate", name) != "shut off":
        virsh("destroy", name)
    virsh("undefine", name)


def _libvirt_answers() -> bool:
    return subprocess.run(["virsh", "-c", URI, "version"], capture_output=True).returncode == 0


def _listens(port: int, process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise RuntimeError(f"sushy-emulator ended with {process.returncode}, see its log")
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError as error:
        raise NotYet(str(error)) from error
