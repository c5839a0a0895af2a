"""What this machine needs to run virtual machines with Vagrant."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from ipaddress import IPv4Network
from pathlib import Path

from devenv.core import paths
from devenv.core.errors import HostError
from devenv.host import resources
from devenv.host.checks import Check, Fix, Probe
from devenv.host.engine import engine_check
from devenv.host.packages import install_fix, install_remedy, packages_check
from devenv.host.start import manager
from devenv.host.system import is_root, search_path, sudo, which
from devenv.providers import subnets, vagrant_libvirt, vagrant_tools
from devenv.providers.vagrant_hypervisor import API, EXTERNAL, Hypervisor
from devenv.topology.load import LoadedTopology

#: What a node takes on disk besides its box, bytes; and a box with its volume.
NODE_DISK, BOX_DISK = 2 * 2**30, 6 * 2**30

_PLUGIN = "vagrant-libvirt"
_LIBVIRT = {
    "virsh": "libvirt-clients",
    "libvirtd": "libvirt-daemon-system",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "dnsmasq": "dnsmasq-base",
    "iptables": "iptables",
}
_KVM = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

#: A boot sector that writes 42 to the port of QEMU's isa-debug-exit, which then ends with
#: (42 << 1) | 1, and halts: mov al, 42; out 0xf4, al; hlt.
_SECTOR = bytes([0xB0, 0x2A, 0xE6, 0xF4, 0xF4]).ljust(510, b"\0") + b"\x55\xaa"
_BOOTED = 85
#: An emulated guest is there in a fraction of a second.
_BOOT_TIMEOUT = 10.0


def boots(accelerator: str, timeout: float = _BOOT_TIMEOUT) -> bool:
    """Whether a guest with `accelerator` (kvm, tcg) gets as far as its boot sector.

    :param timeout: seconds.
    """
    qemu = which("qemu-system-x86_64")
    if qemu is None:
        return False
    with tempfile.NamedTemporaryFile(suffix=".img") as image:
        image.write(_SECTOR)
        image.flush()
        command = [
            qemu, "-accel", accelerator, "-machine", "pc", "-m", "16", "-nodefaults",
            "-display", "none", "-no-reboot", "-drive", f"file={image.name},format=raw,if=ide",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=0x01",
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                check=False,
                env={**os.environ, "PATH": search_path()},
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == _BOOTED


@functools.cache
def kvm_boots() -> bool:
    """Whether KVM boots a guest, and not many times slower than emulation does.

    Its device may be there where the processor grants nothing: guests hang, or crawl. Asked once
    in the life of this machine's kernel.
    """
    if not os.access(_KVM, os.R_OK | os.W_OK):
        return False
    known = paths.cache() / "kvm"
    boot = _BOOT_ID.read_text().strip()
    with contextlib.suppress(OSError, ValueError):
        of, found = known.read_text().split()
        if of == boot:
            return found == "boots"
    if which("qemu-system-x86_64") is None:
        return False
    start = time.monotonic()
    if not boots("tcg"):
        return False  # Nothing to compare with: this QEMU boots nothing at all.
    emulated = time.monotonic() - start
    found = "boots" if boots("kvm", 3 * emulated + 1) else "hangs"
    known.write_text(f"{boot} {found}\n")
    return found == "boots"


def plugins() -> str:
    """What `vagrant plugin list` says."""
    return vagrant_tools.run(["vagrant", "plugin", "list"]).out


def driver(wanted: LoadedTopology) -> str:
    """The driver that `wanted` means: libvirt, or virtualbox where only that is there."""
    asked = wanted.topology.vagrant.driver
    if asked != "auto":
        return asked
    if which("VBoxManage") is None or which("virsh") is not None:
        return "libvirt"
    return "libvirt" if which("vagrant") and _PLUGIN in plugins() else "virtualbox"


def probes(wanted: LoadedTopology, hypervisor: Hypervisor, running: int) -> list[Probe]:
    """What `wanted` needs; each may be asked again after a fix.

    :param running: bytes of memory that the environment's machines have already.
    """
    specs = wanted.topology.node_specs()
    needed = max(sum(spec.memory for spec in specs) - running, 0)
    disk = 0 if running else BOX_DISK + NODE_DISK * len(specs)
    commands = {"vagrant": "vagrant", "ssh": "openssh-client"}
    of_driver: list[Probe]
    if hypervisor.name == "libvirt":
        of_driver = [
            lambda: packages_check(_LIBVIRT, name="libvirt and qemu"),
            plugin_check,
            device_check,
            daemon_check,
            acceleration_check,
        ]
    else:
        of_driver = [virtualbox_check]
    return [
        engine_check,  # What is in the box, or brought to the nodes, is built there.
        lambda: packages_check(commands),
        *of_driver,
        lambda: resources.memory_check(needed),
        lambda: _disk_check(disk),
        lambda: _networks_check(wanted, hypervisor),
    ]


def plugin_check() -> Check:
    """Whether Vagrant loads its plugin for libvirt."""
    if which("vagrant") is None:
        return Check(_PLUGIN, False, "not looked for without vagrant", install_remedy([_PLUGIN]))
    done = vagrant_tools.run(["vagrant", "plugin", "list"])
    line = next((line for line in done.out.splitlines() if line.startswith(_PLUGIN)), "")
    if done.code == 0 and line:
        return Check(_PLUGIN, True, line)
    found = "not among Vagrant's plugins" if done.code == 0 else f"Vagrant fails: {done.said}"
    # `vagrant plugin install` is for a Vagrant that the distribution did not make.
    remedy = f"{install_remedy([_PLUGIN])}, or: vagrant plugin install {_PLUGIN}"
    return Check(_PLUGIN, False, found, remedy, install_fix([_PLUGIN]))


def daemon_check() -> Check:
    """Whether the system's libvirt answers this user."""
    name = "libvirtd"
    if which("virsh") is None:
        return Check(name, False, "not asked without virsh", "install what is named above first")
    done = vagrant_tools.run(["virsh", "-q", "-c", vagrant_libvirt.URI, "version"])
    if done.code == 0:
        return Check(name, True, f"{vagrant_libvirt.URI} answers")
    if "authentication" in done.said or "Permission denied" in done.said:
        who = "be in the group libvirt: " + sudo(["usermod", "-aG", "libvirt", "$USER"])
        return Check(name, False, done.said.splitlines()[-1], f"{who}, then log in again")
    start = "systemctl enable --now libvirtd" if manager() == "systemd" else _START
    fix = Fix(f"starting libvirt: {start}", _start_daemon) if is_root() else None
    return Check(name, False, f"{vagrant_libvirt.URI} does not answer", sudo([start]), fix)


#: Where no init runs services. virtlogd first: guests' consoles go through it.
_START = "virtlogd --daemon; libvirtd --daemon"


def _start_daemon() -> None:
    if manager() == "systemd":
        commands = [["systemctl", "enable", "--now", "libvirtd"]]
    else:
        commands = [["virtlogd", "--daemon"], ["libvirtd", "--daemon"]]
    for command in commands:
        done = vagrant_tools.run(command)
        # One that runs already is what was wanted.
        if done.code != 0 and "pid file" not in done.said:
            raise HostError(f"`{' '.join(command)}` failed", detail=done.said)


def acceleration_check() -> Check:
    """Report only: without KVM the machines are emulated, and twenty times slower."""
    if which("qemu-system-x86_64") is None:
        return Check("kvm", False, "not tried without qemu", fatal=False)
    if kvm_boots():
        return Check("kvm", True, "a guest boots on it", fatal=False)
    why = "no guest boots on it" if _KVM.exists() else f"there is no {_KVM}"
    return Check("kvm", False, f"{why}: nodes are emulated, 20 times slower", fatal=False)


def device_check() -> Check:
    """Whether the user that libvirt runs machines as may open KVM's device, if there is one.

    Otherwise libvirt finds that what it knows of QEMU is out of date, whenever it is asked, and
    asks QEMU again: a minute for each machine that is defined. udev gives the device to a group,
    so this is for machines without udev.
    """
    name = "kvm device"
    if not _KVM.exists():
        return Check(name, True, "there is none")
    status = _KVM.stat()
    for user in ("libvirt-qemu", "qemu"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(user)
            groups = os.getgrouplist(user, entry.pw_gid)
            if status.st_mode & 0o006 == 0o006 or (
                status.st_mode & 0o060 == 0o060 and status.st_gid in groups
            ):
                break
            fix = Fix(f"giving {_KVM} to the group kvm", _give_device) if is_root() else None
            remedy = f"{sudo(['chgrp', 'kvm', str(_KVM)])}; {sudo(['chmod', '660', str(_KVM)])}"
            return Check(name, False, f"{user} may not open {_KVM}", remedy, fix)
    return Check(name, True, f"{_KVM} is libvirt's to open")


def _give_device() -> None:
    """As systemd's udev rules do."""
    try:
        shutil.chown(_KVM, group="kvm")
        _KVM.chmod(0o660)
    except (OSError, LookupError) as error:
        raise HostError(f"{_KVM} could not be given to the group kvm: {error}") from error


def virtualbox_check() -> Check:
    """Whether VirtualBox answers."""
    if which("VBoxManage") is None:
        remedy = "install VirtualBox from virtualbox.org, or `vagrant: {driver: libvirt}`"
        return Check("VirtualBox", False, "VBoxManage not found", remedy)
    done = vagrant_tools.run(["VBoxManage", "--version"])
    # Its version, and on lines before it that the kernel's module is missing.
    ok = done.code == 0 and "WARNING" not in done.out + done.error
    return Check("VirtualBox", ok, done.said, sudo(["/sbin/vboxconfig"]))


def _disk_check(needed: int) -> Check:
    return resources.disk_check(Path(vagrant_libvirt.POOL_FOLDER), needed)


def _networks_check(wanted: LoadedTopology, hypervisor: Hypervisor) -> Check:
    """Whether the networks that the topology names are free, or this environment's already."""
    try:
        present = hypervisor.networks()
        used = taken(hypervisor)
    except HostError:
        return Check("networks", True, f"not looked at without {hypervisor.name}")
    networks = wanted.topology.networks
    named = {API: networks.api.cidr, EXTERNAL: networks.external.cidr}
    missing = {
        wanted.where("networks", kind, "cidr"): cidr
        for kind, cidr in named.items()
        if kind not in present
    }
    return subnets.check(missing, used)


def taken(hypervisor: Hypervisor) -> list[tuple[IPv4Network, str]]:
    """Networks in use: the backend's, and this machine's routes, each with what uses it."""
    routes = [(network, f"a route on {device}") for device, network in resources.routes()]
    return [*hypervisor.taken(), *routes]
