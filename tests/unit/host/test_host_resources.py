from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from devenv.host import resources
from devenv.host.resources import GIB

Commands = Callable[[str, str], Path]


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    paths = {"_MEMINFO": "meminfo", "_ROUTES": "route", "_FILESYSTEMS": "filesystems"}
    paths |= {"_MODULES": "module", "_TUN": "tun", "_KVM": "kvm"}
    for name, file in paths.items():
        monkeypatch.setattr(resources, name, tmp_path / file)
    return tmp_path


def test_memory_counts_what_is_available_not_what_is_free(proc: Path) -> None:
    (proc / "meminfo").write_text(
        "MemTotal:       16777216 kB\nMemFree:  1024 kB\nMemAvailable:    4194304 kB\n"
    )
    assert resources.memory_available() == 4 * GIB
    assert resources.memory_check(4 * GIB).ok
    check = resources.memory_check(6 * GIB)
    assert not check.ok
    assert check.found == "4.0 GiB available, 6.0 GiB needed"
    assert "2.0 GiB" in check.remedy


def test_disk(tmp_path: Path) -> None:
    not_yet = tmp_path / "var/lib/docker"
    assert resources.disk_check(not_yet, 1).ok
    check = resources.disk_check(not_yet, 10**7 * GIB)
    assert not check.ok
    assert "10000000.0 GiB needed" in check.found and str(not_yet) in check.found


def test_disk_counts_what_an_ordinary_user_may_still_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = SimpleNamespace(f_bsize=65536, f_frsize=4096, f_bfree=2 << 18, f_bavail=1 << 18)
    monkeypatch.setattr(os, "statvfs", lambda path: status if path == tmp_path else None)
    assert resources.disk_free(tmp_path / "not/yet") == GIB


def test_a_port_that_is_taken() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        check = resources.port_check(port)
        assert not check.ok and f"127.0.0.1:{port} is taken" in check.found
    assert resources.port_check(port).ok


def test_an_address_that_is_not_ours() -> None:
    check = resources.port_check(1, "192.0.2.1")
    assert not check.ok and "taken" not in check.found


ROUTES = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


def test_routes_are_those_that_lead_somewhere(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.byteorder", "little")
    (proc / "route").write_text(ROUTES)
    found = {(device, str(network)) for device, network in resources.routes()}
    assert found == {("docker0", "172.17.0.0/16"), ("eth0", "192.0.2.0/24")}


def test_kernel_modules(proc: Path, commands: Commands) -> None:
    assert resources.kernel_module("openvswitch") == "absent"  # no modprobe either
    commands("modprobe", '[ "$3" = openvswitch ] && [ "$1" = --dry-run ]')
    assert resources.kernel_module("openvswitch") == "loadable"
    assert resources.kernel_module("geneve") == "absent"
    (proc / "module/geneve").mkdir(parents=True)
    assert resources.kernel_module("geneve") == "loaded"


def test_openvswitch_is_reported_and_never_fatal(proc: Path, commands: Commands) -> None:
    check = resources.openvswitch_check()
    assert not check.ok and not check.fatal and "userspace" in check.found
    (proc / "module/openvswitch").mkdir(parents=True)
    assert "in the kernel" in resources.openvswitch_check().found


def test_overlay(proc: Path, commands: Commands) -> None:
    (proc / "filesystems").write_text("nodev\tsysfs\n\text4\n")
    assert not resources.overlay_check().ok
    (proc / "filesystems").write_text("nodev\tsysfs\n\text4\nnodev\toverlay\n")
    assert resources.overlay_check().ok


def test_tun_must_be_a_device(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (proc / "tun").touch()
    assert not resources.tun_check().ok
    monkeypatch.setattr(resources, "_TUN", Path("/dev/null"))
    assert resources.tun_check().ok


def test_kvm_is_only_a_report(proc: Path) -> None:
    check = resources.kvm_check()
    assert not check.ok and not check.fatal and "emulated" in check.found
    (proc / "kvm").touch()
    check = resources.kvm_check()
    assert check.ok and not check.fatal and "only booting" in check.found
