"""Memory, disk, ports, networks and what the kernel can do."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from devenv.host.checks import Check
from devenv.host.system import search_path, sudo

if TYPE_CHECKING:
    from docker import DockerClient

GIB = 1024**3

Module = Literal["loaded", "loadable", "absent"]

_MEMINFO = Path("/proc/meminfo")
_ROUTES = Path("/proc/net/route")
_FILESYSTEMS = Path("/proc/filesystems")
_MODULES = Path("/sys/module")
_TUN = Path("/dev/net/tun")
_KVM = Path("/dev/kvm")


def gib(size: int) -> str:
    """`size` bytes in GiB, for people."""
    return f"{size / GIB:.1f} GiB"


def memory_available() -> int:
    """Bytes that can be used without swapping: MemAvailable of proc_meminfo(5)."""
    for line in _MEMINFO.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    raise ValueError(f"{_MEMINFO} has no MemAvailable")


def disk_free(path: Path) -> int:
    """Bytes that an ordinary user may still write below `path`, which need not exist yet."""
    while not path.exists() and path != path.parent:
        path = path.parent
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def docker_root(client: DockerClient) -> Path:
    """Where the engine keeps images and volumes."""
    return Path(str(client.info()["DockerRootDir"]))


def memory_check(needed: int) -> Check:
    """Whether `needed` bytes of memory are available."""
    available = memory_available()
    return Check(
        "memory",
        available >= needed,
        f"{gib(available)} available, {gib(needed)} needed",
        remedy=f"free {gib(max(needed - available, 0))} or choose a topology with fewer nodes",
    )


def disk_check(path: Path, needed: int) -> Check:
    """Whether `needed` bytes can be written below `path`."""
    free = disk_free(path)
    return Check(
        "disk",
        free >= needed,
        f"{gib(free)} free at {path}, {gib(needed)} needed",
        remedy="docker system df shows what takes the room; devenv gc removes what is devenv's",
    )


def port_check(port: int, address: str = "127.0.0.1") -> Check:
    """Whether this machine's TCP `port` on `address` can be listened on."""
    version = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(version) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
            listener.listen(1)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            return Check(
                f"port {port}",
                False,
                f"{address}:{port} {'is taken' if taken else f'cannot be used: {error.strerror}'}",
                remedy=sudo(["ss", "-ltnp", f"'sport = :{port}'"]) + " shows by whom",
            )
    return Check(f"port {port}", True, f"{address}:{port} is free")


def routes() -> list[tuple[str, ipaddress.IPv4Network]]:
    """The device and network of each IPv4 route of this machine, but the default."""
    routes = []
    for line in _ROUTES.read_text().splitlines()[1:]:
        words = line.split()
        device, mask = words[0], _address(words[7])
        if int(mask):
            routes.append((device, ipaddress.IPv4Network((int(_address(words[1])), str(mask)))))
    return routes


def _address(text: str) -> ipaddress.IPv4Address:
    """The kernel prints addresses as hexadecimal numbers in the processor's byte order."""
    return ipaddress.IPv4Address(int(text, 16).to_bytes(4, sys.byteorder))


def kernel_module(name: str) -> Module:
    """Whether the kernel has module `name` now, could load it, or neither."""
    if (_MODULES / name).is_dir():
        return "loaded"
    try:
        trial = subprocess.run(
            ["modprobe", "--dry-run", "--quiet", name],
            env={**os.environ, "PATH": search_path()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "absent"
    return "loadable" if trial.returncode == 0 else "absent"


def overlay_check() -> Check:
    """Whether the kernel has overlayfs, which engines keep images on."""
    names = {line.split()[-1] for line in _FILESYSTEMS.read_text().splitlines() if line.strip()}
    module: Module = "loaded" if "overlay" in names else kernel_module("overlay")
    return Check("overlayfs", module != "absent", module, remedy=sudo(["modprobe", "overlay"]))


def tun_check() -> Check:
    """Whether nodes can be given /dev/net/tun, which guests' network devices need."""
    there = _TUN.is_char_device()
    return Check(
        "tun", there, f"{_TUN} {'is there' if there else 'is missing'}", sudo(["modprobe", "tun"])
    )


def openvswitch_check() -> Check:
    """Report only: without the module, Open vSwitch forwards packets in userspace."""
    module = kernel_module("openvswitch")
    datapath = "in userspace" if module == "absent" else "in the kernel"
    return Check(
        "openvswitch", module != "absent", f"module {module}: packets {datapath}", fatal=False
    )


def kvm_check() -> Check:
    """Report only: that the device can be opened does not prove that a guest boots on it."""
    if not _KVM.exists():
        found = f"no {_KVM}: guests are emulated"
    elif not os.access(_KVM, os.R_OK | os.W_OK):
        found = f"{_KVM} may not be opened by this user"
    else:
        return Check(
            "kvm", True, f"{_KVM} is there; only booting a guest proves it works", fatal=False
        )
    return Check("kvm", False, found, fatal=False)
