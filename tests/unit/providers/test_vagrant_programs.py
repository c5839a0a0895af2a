"""Programs that run for real: their output as it comes, their end, and what a kill leaves."""

from __future__ import annotations

import json
import os
import pwd
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from devenv.core.errors import HostError
from devenv.core.wait import NotYet, wait_until
from devenv.providers import vagrant_checks, vagrant_tools
from devenv.providers.vagrant_hypervisor import Facts
from devenv.providers.vagrant_libvirt import Libvirt
from devenv.providers.vagrant_prepare import _FIRST, _HOSTS, _NETWORK
from devenv.providers.vagrant_project import (
    MachineSpec,
    Message,
    Network,
    Project,
    ProjectSpec,
    parse,
    vagrantfile,
)

CONTRACT = Path(__file__).parents[2] / "contract"
sys.path.append(str(CONTRACT))
import vagrant_fakes  # noqa: E402 - the path has to come first


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The programs on PATH, and the file that has their world."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("vagrant", "virsh", "ssh"):
        program = programs / name
        program.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.append({str(CONTRACT)!r})\n"
            "import vagrant_fakes\nsys.exit(vagrant_fakes.main())\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    file = tmp_path / "world.json"
    file.write_text(json.dumps(vagrant_fakes.empty()))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_WORLD", str(file))
    return file


def spec() -> ProjectSpec:
    """One machine."""
    network = Network("devenv-lab-api", "172.30.0.11", "255.255.255.0", "525400000001")
    node = MachineSpec("ctl", 1, 512, None, (network,), "/pool/devenv-lab_ctl.console", False)
    return ProjectSpec(
        provider="libvirt",
        box="debian/trixie64",
        box_version=None,
        emulated=True,
        prefix="devenv-lab_",
        management={"name": "devenv-lab-management", "cidr": "172.29.0.0/24"},
        boot_timeout=60,
        key="/key",
        nodes=(node,),
    )


FACTS = Facts(
    "lab", "ctl", 1, ("control",), "aio", "172.30.0.11/24", "172.31.0.11/24", "eth2", "", 2**29, 1,
    0, "ssh-ed25519 AAAA", {"ctl": "172.30.0.11"}, "somebody", "2026-01-01T00:00:00+00:00",
)  # fmt: skip


def test_a_machine_is_made_and_found_by_processes(world: Path, tmp_path: Path) -> None:
    libvirt = Libvirt("lab")
    libvirt.prepare()
    for kind in ("management", "api"):
        net = next(libvirt.candidates(kind))
        libvirt.make_network(kind, net)
    project = Project(tmp_path / "project")
    project.write(spec())
    said: list[tuple[str, str]] = []
    project.up(["ctl"], "libvirt", 60, lambda node, text: said.append((node, text)))
    assert said == [("ctl", "Creating domain with the following settings...")]
    config = project.ssh_config(["ctl"])["ctl"]
    assert (config.host, config.user, config.port) == ("172.29.0.2", "vagrant", 22)
    assert config.keys == ("/root/.vagrant.d/insecure_private_key",)
    libvirt.describe("ctl", FACTS)
    (machine,) = libvirt.machines()
    assert (machine.node, machine.state, machine.facts) == ("ctl", "running", FACTS)
    assert not (project.folder / "vagrant.pid").exists()
    removed = libvirt.remove("ctl")
    assert removed == [
        "domain devenv-lab_ctl", "volume devenv-lab_ctl.img", "volume devenv-lab_ctl.console",
    ]  # fmt: skip


def test_vagrants_own_words_are_in_the_error(world: Path, tmp_path: Path) -> None:
    state = vagrant_fakes.empty() | {"boxes": []}
    world.write_text(json.dumps(state))
    project = Project(tmp_path / "project")
    project.write(spec())
    with pytest.raises(HostError, match="`vagrant up` exited with 1") as caught:
        project.up(["ctl"], "libvirt", 60, lambda node, text: None)
    assert "debian/trixie64' could not be found" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1795393040,,ui,info,Vagrantfile validated successfully.",
         Message("", "ui", ("info", "Vagrantfile validated successfully."))),
        ("1795393051,ctl1,ui,detail,    ctl1: Box Provider: libvirt",
         Message("ctl1", "ui", ("detail", "    ctl1: Box Provider: libvirt"))),
        ("1795393051,,error-exit,Vagrant::Errors::X,Also%!(VAGRANT_COMMA) please\\ncheck",
         Message("", "error-exit", ("Vagrant::Errors::X", "Also, please\ncheck"))),
        ("1795393050,ctl1,action,up,start", Message("ctl1", "action", ("up", "start"))),
        ("==> ctl2: Domain is not created.", None),
        ("", None),
    ],
)  # fmt: skip
def test_lines_of_vagrant(line: str, message: Message | None) -> None:
    """As Vagrant 2.3.4 wrote them."""
    assert parse(line) == message


def test_the_vagrantfile_is_there_and_has_no_hostname_and_no_shared_folder() -> None:
    text = vagrantfile().read_text()
    code = [line.strip() for line in text.splitlines() if not line.strip().startswith("#")]
    assert not any("hostname" in line for line in code)
    assert any('synced_folder ".", "/vagrant", disabled: true' in line for line in code)


@pytest.mark.parametrize("script", [_FIRST + _HOSTS, _NETWORK + "give a b\n"])
def test_the_scripts_are_ones_that_a_shell_reads(script: str) -> None:
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_only_lines_that_are_devenvs_go_from_the_hosts(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    kept = "127.0.0.1 localhost\n10.0.0.9 mine\n"
    file.write_text(f"127.0.1.1 box\n{kept}172.30.0.9 gone # devenv\n")
    script = "HOSTS='172.30.0.11 ctl\n172.30.0.12 cmp'\n" + _HOSTS.replace("/etc/hosts", str(file))
    for _ in range(2):
        subprocess.run(["sh", "-eu"], input=script, text=True, check=True)
        ours = "172.30.0.11 ctl # devenv\n172.30.0.12 cmp # devenv\n"
        assert file.read_text() == kept + ours


def test_what_runs_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    lines: list[str] = []
    code = vagrant_tools.stream(
        ["sh", "-c", "sleep 60 & echo $!; wait"],
        lines.append,
        timeout=0.5,
        environment={},
        pid_file=tmp_path / "pid",
    )
    assert code != 0
    wait_until(lambda: _gone(int(lines[0])), what="the child to end", timeout=10)


def _gone(pid: int) -> None:
    state = Path(f"/proc/{pid}/stat")
    if state.exists() and state.read_text().split()[2] != "Z":
        raise NotYet("it runs")


def test_ctrl_c_ends_it_and_what_it_cleans_up_is_waited_for(tmp_path: Path) -> None:
    program = (
        f"trap 'echo clean > {tmp_path}/clean; exit 1' INT; echo up; while :; do sleep 0.1; done"
    )

    def each(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vagrant_tools.stream(
            ["bash", "-c", program],
            each,
            timeout=60,
            environment={},
            pid_file=tmp_path / "pid",
        )
    assert (tmp_path / "clean").read_text() == "clean\n"
    assert not (tmp_path / "pid").exists()


@pytest.mark.parametrize("ours", [True, False])
def test_an_orphan_is_ended_only_if_it_is_of_this_folder(tmp_path: Path, ours: bool) -> None:
    folder = tmp_path if ours else tmp_path / "other"
    orphan = subprocess.Popen(
        ["sleep", "60"],
        env={**os.environ, "VAGRANT_CWD": str(folder)},
        start_new_session=True,
    )
    try:
        pid_file = tmp_path / "vagrant.pid"
        pid_file.write_text(f"{orphan.pid}\n")
        # It has its own environment only when it is the other program.
        wait_until(lambda: _is_sleep(orphan.pid), what="the program", timeout=10)
        assert vagrant_tools.end_orphan(pid_file, tmp_path) is ours
        assert not pid_file.exists()
        if ours:
            assert orphan.wait(10) == -signal.SIGKILL
        else:
            assert orphan.poll() is None
    finally:
        orphan.kill()
        orphan.wait()
    assert vagrant_tools.end_orphan(pid_file, tmp_path) is False


def _is_sleep(pid: int) -> None:
    if b"sleep" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        raise NotYet("it is still being started")


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(HostError, match="no-such-program is not there"):
        vagrant_tools.run(["no-such-program"])


def test_a_guest_that_boots_is_told_from_one_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu = tmp_path / "qemu-system-x86_64"
    monkeypatch.setattr(vagrant_checks, "which", lambda name: str(qemu))
    for words, boots in (("exit 85", True), ("exit 1", False), ("exec sleep 60", False)):
        qemu.write_text(f"#!/bin/sh\n{words}\n")
        qemu.chmod(0o755)
        assert vagrant_checks.boots("kvm", timeout=2) is boots
    image = next(word for word in vagrant_checks._SECTOR.split(b"\0") if word)
    assert len(vagrant_checks._SECTOR) == 512 and image


def test_kvm_counts_only_if_it_is_as_fast_as_emulation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def boots(accelerator: str, timeout: float = 0) -> bool:
        asked.append(accelerator)
        return accelerator == "tcg"

    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setenv("DEVENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(vagrant_checks, "_KVM", device)
    monkeypatch.setattr(vagrant_checks, "boots", boots)
    monkeypatch.setattr(vagrant_checks, "which", lambda name: name)
    ask = vagrant_checks.kvm_boots.__wrapped__
    assert ask() is False and ask() is False
    assert asked == ["tcg", "kvm"], "the second time it is known"
    device.unlink()
    assert ask() is False


def test_a_device_that_libvirt_may_not_open_is_given_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "kvm"
    monkeypatch.setattr(vagrant_checks, "_KVM", device)
    assert vagrant_checks.device_check().ok
    device.touch()
    entry = pwd.struct_passwd(("libvirt-qemu", "x", 4711, 4712, "", "/", "/bin/false"))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entry)
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid])
    device.chmod(0o600)
    check = vagrant_checks.device_check()
    assert not check.ok and "chgrp kvm" in check.remedy
    device.chmod(0o666)
    assert vagrant_checks.device_check().ok
    device.chmod(0o660)
    assert not vagrant_checks.device_check().ok, "its group is another"
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, device.stat().st_gid])
    assert vagrant_checks.device_check().ok


def test_two_threads_do_not_see_each_others_calls(world: Path) -> None:
    """Each call of a program is one change of its world."""
    libvirt = Libvirt("lab")
    libvirt.prepare()
    kinds = ("management", "api", "external")
    threads = [
        threading.Thread(
            target=lambda kind=kind: libvirt.make_network(kind, next(libvirt.candidates(kind)))
        )
        for kind in kinds
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(libvirt.networks()) == set(kinds)
