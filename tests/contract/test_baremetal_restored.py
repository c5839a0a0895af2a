"""Hosts are left as they were found: after kills, lost links, mirrors that are away."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
from baremetal_fakes import NODES, STORE, FakeShell, Kill, Rack, provider, topology, trees

from devenv.core.errors import NodeError
from devenv.providers.baremetal import BaremetalProvider
from devenv.providers.baremetal_ssh import Done, Unreachable
from devenv.topology.load import LoadedTopology


@pytest.fixture
def lab(rack: Rack, tmp_path: Path) -> BaremetalProvider:
    return provider("lab", tmp_path / "state")


# -- as it was found -----------------------------------------------------------------------------


def test_down_keeps_the_engine_and_restoring_takes_it_back(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider
) -> None:
    before = trees(rack)
    lab.create(wanted, STORE)
    assert "docker.io" in rack["ctl"].read("packages")
    assert rack["ctl"].read("proc/sys/net/ipv4/tcp_retries2") == "5\n"
    lab.destroy()
    assert "docker.io" in rack["ctl"].read("packages")
    assert rack["ctl"].read("etc/hosts").startswith("127.0.0.1")
    assert not (rack["ctl"].folder / "root/.ssh").exists()
    lab.create(wanted, STORE)
    lab.restore_hosts = True
    lab.destroy()
    assert trees(rack) == before


def test_what_a_host_had_is_left(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider
) -> None:
    ctl = rack["ctl"]
    ctl.add_engine()
    ctl.write("root/.ssh/authorized_keys", "ssh-rsa CCCC admin")  # Without a line's end.
    ctl.write("etc/docker/daemon.json", "{}")
    ctl.write("etc/sysctl.d/99-own.conf", "net.ipv4.tcp_retries2=8\n")
    lab.create(wanted, STORE)
    lines = ctl.read("root/.ssh/authorized_keys").splitlines()
    assert lines[0] == "ssh-rsa CCCC admin" and lines[1].endswith(" devenv:lab")
    lab.restore_hosts = True
    lab.destroy()
    assert ctl.read("root/.ssh/authorized_keys").strip() == "ssh-rsa CCCC admin"
    assert ctl.read("etc/docker/daemon.json") == "{}"
    assert (ctl.folder / "sbin/dockerd").exists() and (ctl.folder / "run/docker.sock").exists()
    assert (ctl.folder / "etc/sysctl.d/99-own.conf").exists()
    assert not (ctl.folder / "etc/sysctl.d/60-devenv.conf").exists()


def test_packages_that_others_need_now_are_told(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider
) -> None:
    lab.create(wanted, STORE)
    rack["ctl"].write("needed", "")
    lab.restore_hosts = True
    with pytest.raises(NodeError, match="could not be made as it was found") as caught:
        lab.destroy()
    assert caught.value.node == "ctl" and "is needed" in (caught.value.detail or "")
    assert rack["cmp"].lock is None, "the other one is done"
    (rack["ctl"].folder / "needed").unlink()
    lab.destroy()
    assert rack["ctl"].lock is None and lab.nodes() is None


# -- kills and lost links ------------------------------------------------------------------------


def kill_at(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Have devenv die where it would run the `number`-th script on a host."""
    run, seen = FakeShell.run, [0]

    def dying(self: FakeShell, script: str, **options: object) -> Done:
        seen[0] += 1
        if seen[0] >= number:
            raise Kill
        return run(self, script, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeShell, "run", dying)
    return seen


@pytest.mark.parametrize("then", ["create", "destroy"])
def test_a_kill_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    """One host, so that its scripts come in an order."""
    rack = Rack(tmp_path / "rack", ("ctl",))
    rack.install(monkeypatch)
    text = NODES.replace("  cmp: {roles: [compute]}\n", "") + rack.section()
    wanted = topology(tmp_path, text)
    before, number = trees(rack), 0
    while True:
        number += 1
        lab = provider("lab", tmp_path / "state")
        with monkeypatch.context() as patch:
            kill_at(patch, number)
            try:
                lab.create(wanted, STORE)
                break
            except Kill:
                pass
        if then == "create":
            lab.nodes()
            assert [node.name for node in lab.create(wanted, STORE).nodes] == ["ctl"]
            assert lab.nodes() is not None
        lab.restore_hosts = True
        lab.destroy()
        assert trees(rack) == before, f"killed at script {number}"
        assert lab.nodes() is None and lab.collect_garbage() == []
        shutil.rmtree(tmp_path / "state")
    assert number > 7


def test_a_kill_while_a_host_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rack = Rack(tmp_path / "rack", ("ctl",))
    rack.install(monkeypatch)
    text = NODES.replace("  cmp: {roles: [compute]}\n", "") + rack.section()
    wanted, before = topology(tmp_path, text), trees(rack)
    lab = provider("lab", tmp_path / "state")
    lab.restore_hosts = True
    for number in range(1, 20):
        lab.create(wanted, STORE)
        with monkeypatch.context() as patch:
            seen = kill_at(patch, number)
            with contextlib.suppress(Kill):
                lab.destroy()
        lab.destroy()
        assert trees(rack) == before, f"killed at script {number}"
        if seen[0] < number:
            break
    else:
        pytest.fail("destroying took more than 20 scripts")


def test_a_link_that_is_lost_in_the_middle(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on, the error names it, the next one finishes."""
    run = FakeShell.run

    def lost(self: FakeShell, script: str, **options: object) -> Done:
        if self.name == "ctl" and "apt-get" in script and "install" in script and "@" not in script:
            raise Unreachable("the link was lost", node="ctl")
        return run(self, script, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(FakeShell, "run", lost)
        with pytest.raises(NodeError, match="ctl: the link was lost"):
            lab.create(wanted, STORE)
    assert "docker.io" in rack["cmp"].read("packages"), "the other one is done"
    assert len(lab.create(wanted, STORE).nodes) == 2
    assert "docker.io" in rack["ctl"].read("packages")


def test_a_mirror_that_is_away(rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider) -> None:
    before = trees(rack)
    rack["ctl"].write("mirror-is-away", "")
    with pytest.raises(NodeError, match="could not be installed") as caught:
        lab.create(wanted, STORE)
    assert caught.value.node == "ctl" and "503" in (caught.value.detail or "")
    (rack["ctl"].folder / "mirror-is-away").unlink()
    lab.create(wanted, STORE)
    lab.restore_hosts = True
    lab.destroy()
    assert trees(rack) == before


def test_a_host_that_is_gone_for_good(rack: Rack, lab: BaremetalProvider, tmp_path: Path) -> None:
    lab.create(topology(tmp_path, NODES + rack.section(power=False)), STORE)
    rack["cmp"].on = False
    with pytest.raises(NodeError) as caught:
        lab.destroy()
    assert caught.value.node == "cmp" and rack["ctl"].lock is None
    lab.force = True
    assert any("cmp" in line and "did not answer" in line for line in lab.destroy())
    assert lab.nodes() is None and lab.destroy() == []


def test_a_host_that_is_off_is_given_back(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider
) -> None:
    lab.create(wanted, STORE)
    lab.power("cmp", "off")
    lab.destroy()
    assert rack["cmp"].on and rack["cmp"].lock is None
