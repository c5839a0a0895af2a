"""What the bare metal provider does with hosts: all problems at once, locks, kills, lost links."""

from __future__ import annotations

import datetime
import shutil
import threading
from ipaddress import IPv4Address
from pathlib import Path

import baremetal_fakes
import pytest
from baremetal_fakes import NODES, STORE, FakeHost, FakeShell, Kill, Rack, provider, topology, trees

from devenv.core.errors import (
    DevenvError,
    HostError,
    InputError,
    NodeError,
    Unsupported,
    WaitTimeout,
)
from devenv.providers import baremetal, baremetal_ironic, baremetal_state
from devenv.providers.baremetal import BaremetalProvider
from devenv.providers.baremetal_ssh import Done
from devenv.topology.load import LoadedTopology
from devenv.topology.machines import Host, Ironic


@pytest.fixture
def lab(rack: Rack, tmp_path: Path) -> BaremetalProvider:
    return provider("lab", tmp_path / "state")


# -- all problems at once ------------------------------------------------------------------------


def test_all_problems_of_all_hosts_are_told_and_nothing_is_changed(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider
) -> None:
    ctl, cmp = rack["ctl"], rack["cmp"]
    ctl.write("proc/meminfo", "MemTotal:  524288 kB\n")
    ctl.write("sshd", "permitrootlogin no\nallowstreamlocalforwarding no\n")
    ctl.write("audit", "half-installed: docker.io\n")
    ctl.write("addresses", "2: eth0    inet 10.9.9.9/24 scope global eth0\n")
    ctl.write("links", "2: eth0: <UP> mtu 1500\n")
    cmp.command("date", "echo 1000000000.5")
    cmp.command("uname", "echo aarch64")
    before = trees(rack)
    with pytest.raises(HostError) as caught:
        lab.create(wanted, STORE)
    rows = {tuple(line.split()[:2]) for line in (caught.value.detail or "").splitlines()}
    assert rows > {
        ("ctl", "memory"), ("ctl", "sshd"), ("ctl", "packages"), ("ctl", "address"),
        ("ctl", "external"), ("cmp", "clock"), ("cmp", "processor"),
    }  # fmt: skip
    assert "behind this machine" in str(caught.value) and "PermitRootLogin no" in str(caught.value)
    assert trees(rack) == before and lab.nodes() is None
    names = {check.name for probe in lab.check(wanted) if not (check := probe()).ok}
    assert names >= {"ctl memory", "ctl sshd", "cmp clock"}


def test_a_host_that_nobody_gets_into(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider, tmp_path: Path
) -> None:
    rack["cmp"].refuses = True
    with pytest.raises(HostError, match=r"cmp +login +it refused the SSH key"):
        lab.create(wanted, STORE)
    rack["cmp"].refuses, rack["cmp"].on = False, False
    dark = topology(tmp_path, NODES + rack.section(power=False))
    with pytest.raises(HostError, match="no way to it by SSH"):
        lab.create(dark, STORE)
    assert rack["ctl"].lock is None


def test_a_host_key_that_changed(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider, tmp_path: Path
) -> None:
    lab.create(wanted, STORE)
    rack["cmp"].key = "ssh-ed25519 BBBB"
    with pytest.raises(HostError, match="it shows another host key"):
        lab.create(wanted, STORE)
    # Who installed it anew says so.
    text = NODES + rack.section().replace(
        "    cmp: {", "    cmp: {host_key: 'ssh-ed25519 BBBB root@cmp', "
    )
    lab.create(topology(tmp_path, text), STORE)


def test_a_host_that_is_off_is_switched_on(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider
) -> None:
    rack["cmp"].switch(False)
    checks = {check.name: check for probe in lab.check(wanted) if (check := probe())}
    assert checks["cmp"].ok and "off" in checks["cmp"].found
    assert rack["cmp"].on is False, "looking changes nothing"
    lab.create(wanted, STORE)
    assert rack["cmp"].on


def test_a_workstation(rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider) -> None:
    rack["ctl"].add_engine()
    rack["ctl"].write("var/lib/docker/containers", "blog \ndatabase \n")
    before = trees(rack)
    with pytest.raises(HostError) as caught:
        lab.create(wanted, STORE)
    assert "2 containers run that are not devenv's: blog, database" in str(caught.value)
    assert "--force" in str(caught.value) and trees(rack) == before
    lab.force = True
    lab.create(wanted, STORE)
    lab.restore_hosts = True
    lab.destroy()
    assert trees(rack) == before, "and its containers run on"


def test_hosts_that_the_topology_lacks_or_names_twice(
    rack: Rack, lab: BaremetalProvider, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no host for more1, more2") as caught:
        text = f"{NODES}  more: {{count: 2, roles: [compute]}}\n{rack.section()}"
        lab.create(topology(tmp_path, text), STORE)
    assert "rack.yaml:" in caught.value.message
    text = NODES + rack.section().replace("172.30.0.12", "172.30.0.11")
    with pytest.raises(InputError, match=r"ctl and cmp both have 172\.30\.0\.11"):
        lab.create(topology(tmp_path, text), STORE)


def test_a_virtual_ip_that_somebody_has(rack: Rack, lab: BaremetalProvider, tmp_path: Path) -> None:
    two = NODES.replace("roles: [compute]", "roles: [control, compute]") + rack.section()
    rack["ctl"].write("neighbours", "172.30.0.10 dev eth0 lladdr 02:42:ac:1e:00:0a REACHABLE\n")
    with pytest.raises(HostError, match=r"172\.30\.0\.10 is taken: lladdr 02:42"):
        lab.create(topology(tmp_path, two), STORE)
    rack["ctl"].write("neighbours", "")
    assert str(lab.create(topology(tmp_path, two), STORE).vip) == "172.30.0.10"
    # It is the environment's own from now on.
    rack["ctl"].write("neighbours", "172.30.0.10 dev eth0 lladdr 02:42:ac:1e:00:0a REACHABLE\n")
    lab.create(topology(tmp_path, two), STORE)


# -- locks ---------------------------------------------------------------------------------------


def test_a_second_environment_is_told_who_has_the_host(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider, tmp_path: Path
) -> None:
    lab.create(wanted, STORE)
    lock = rack["ctl"].lock
    assert lock and lock.until - lock.since == datetime.timedelta(days=7)
    before = trees(rack)
    other = provider("lab2", tmp_path / "state2")
    with pytest.raises(HostError) as caught:
        other.create(wanted, STORE)
    until = lock.until.strftime("%Y-%m-%d %H:%M UTC")
    assert f"by environment 'lab' of {lock.owner}, until {until}" in str(caught.value)
    assert other.destroy() == [] and other.nodes() is None
    assert trees(rack) == before


def test_somebody_elses_environment_of_the_same_name(
    rack: Rack,
    wanted: LoadedTopology,
    lab: BaremetalProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab.create(wanted, STORE)
    monkeypatch.setattr("devenv.providers.baremetal_lock.owner", lambda: "them@elsewhere")
    with pytest.raises(HostError, match="in use"):
        provider("lab", tmp_path / "theirs").create(wanted, STORE)


def test_a_lock_that_expired_may_be_taken(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider, tmp_path: Path
) -> None:
    lab.create(wanted, STORE)
    for host in rack:
        lock = host.lock
        assert lock
        past = lock.model_copy(update={"until": lock.since - datetime.timedelta(days=1)})
        host.write("etc/devenv/lock.json", past.model_dump_json())
        host.write("var/lib/docker/containers", "memcached lab\n")
    other = provider("lab2", tmp_path / "state2")
    notes: list[str] = []
    other._events.subscribe(lambda event: notes.append(event.text))
    other.create(wanted, STORE)
    assert any("took it over from environment 'lab'" in note for note in notes)
    assert rack["ctl"].read("var/lib/docker/containers") == "", "its containers went"
    assert "devenv:lab begin" not in rack["ctl"].read("etc/hosts")
    assert lab.nodes() is None, "its key is refused"


def test_a_host_taken_between_the_look_and_the_lock(
    rack: Rack,
    wanted: LoadedTopology,
    lab: BaremetalProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, other, turn = FakeShell.run, provider("lab2", tmp_path / "state2"), threading.Lock()

    def race(self: FakeShell, script: str, **options: object) -> Done:
        if self.known_hosts.parent.name == "state" and "flock" in script and "seen=" in script:
            with turn:
                if other.nodes() is None:
                    other.create(wanted, STORE)
        return run(self, script, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeShell, "run", race)
    with pytest.raises(NodeError, match="just taken by environment 'lab2'"):
        lab.create(wanted, STORE)
    assert all(host.lock and host.lock.environment == "lab2" for host in rack)
    lab.destroy()
    assert other.nodes() is not None


# -- lost state ----------------------------------------------------------------------------------


def test_a_lost_state_folder_is_made_anew_from_the_hosts(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider, tmp_path: Path
) -> None:
    before = lab.create(wanted, STORE)
    births = [host.lock.id for host in rack if host.lock]
    shutil.rmtree(tmp_path / "state")
    again = provider("lab", tmp_path / "state")
    assert again.nodes() is None
    after = again.create(wanted, STORE)
    assert after == before and again.nodes() == before
    assert [host.lock.id for host in rack if host.lock] == births
    keys = rack["ctl"].read("root/.ssh/authorized_keys").splitlines()
    assert len(keys) == 1, "the lost key went"


def test_a_lost_state_folder_lets_no_other_topology_in(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider, tmp_path: Path
) -> None:
    lab.create(wanted, STORE)
    shutil.rmtree(tmp_path / "state")
    text = NODES.replace("roles: [compute]", "roles: [control]") + rack.section()
    with pytest.raises(InputError, match="made for one control node"):
        provider("lab", tmp_path / "state").create(topology(tmp_path, text), STORE)


def test_existing(
    rack: Rack, wanted: LoadedTopology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVENV_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(baremetal_state, "_listens", lambda host: str(host.address)[-2:] == "11")
    assert baremetal_state.existing() == []
    provider("lab", tmp_path / "home/environments/lab").create(wanted, STORE)
    (found,) = baremetal_state.existing()
    assert (found.name, found.provider, found.nodes) == ("lab", "baremetal", ("ctl", "cmp"))
    assert found.topology == wanted.source and found.state == "1 of 2 running"


def test_no_secret_is_remembered(
    rack: Rack, lab: BaremetalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = tmp_path / "password"
    password.write_text("swordfish")
    text = rack.section().replace("username: admin", f"username: admin, password_file: {password}")
    lab.create(topology(tmp_path, NODES + text), STORE)
    for file in (tmp_path / "state").iterdir():
        assert "swordfish" not in file.read_text()
    assert not any("swordfish" in text for host in rack for text in host.tree().values())


def test_without_a_switch(rack: Rack, lab: BaremetalProvider, tmp_path: Path) -> None:
    lab.create(topology(tmp_path, NODES + rack.section(power=False)), STORE)
    with pytest.raises(Unsupported, match="no `redfish` and no `ipmi`") as caught:
        lab.power("ctl", "reset")
    assert isinstance(caught.value, DevenvError) and caught.value.node == "ctl"


def test_a_reset_that_never_takes_place(
    rack: Rack, wanted: LoadedTopology, lab: BaremetalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller says that all is well."""
    lab.create(wanted, STORE)
    monkeypatch.setattr(baremetal, "RESET", 0.1)
    monkeypatch.setattr(FakeHost, "press", lambda self, action: None)
    with pytest.raises(WaitTimeout, match="has not booted") as caught:
        lab.power("ctl", "reset")
    assert caught.value.node == "ctl"


def test_machines_of_an_ironic(
    rack: Rack, lab: BaremetalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken first, prepared as any host, and given back by `down`, also after a kill."""
    given: list[object] = []

    def allocate(ironic: Ironic, names: list[str], *_: object) -> dict[str, Host]:
        given.append((ironic.cloud, *names))
        if len(given) == 1:
            raise Kill
        return {name: Host(address=IPv4Address(rack[name].address)) for name in names}

    def release(environment: str, cloud: str, names: object, events: object) -> list[str]:
        given.append((environment, cloud, names))
        return ["machine"]

    monkeypatch.setattr(baremetal_ironic, "allocate", allocate)
    monkeypatch.setattr(baremetal_ironic, "release", release)
    section = (
        "provider: baremetal\nbaremetal: {ironic: {cloud: rack, resource_class: x, image: y}}\n"
    )
    wanted = topology(tmp_path, NODES + section)
    with pytest.raises(Kill):
        lab.create(wanted, STORE)
    assert lab.nodes() is None and lab.collect_garbage() == ["machine"]
    made = lab.create(wanted, STORE)
    assert lab.nodes() == made and rack["cmp"].lock
    assert lab.destroy() == ["machine"]
    assert given == [
        ("rack", "ctl", "cmp"), ("lab", "rack", None),
        ("rack", "ctl", "cmp"), ("lab", "rack", None),
    ]  # fmt: skip


def test_a_host_that_joins_from_another_network(
    rack: Rack, lab: BaremetalProvider, tmp_path: Path
) -> None:
    alone = NODES.replace("  cmp: {roles: [compute]}\n", "") + rack.section()
    lab.create(topology(tmp_path, alone), STORE)
    rack["cmp"].address = "10.9.0.12"
    rack["cmp"].install()
    with pytest.raises(HostError, match=r"on 10\.9\.0\.0/24, the API network is 172\.30\.0\.0/24"):
        lab.create(topology(tmp_path, NODES + rack.section()), STORE)


def test_fakes_run_no_command_of_this_machine(rack: Rack) -> None:
    """Else a test might install something."""
    known = {*baremetal_fakes._TOOLS, *baremetal_fakes._COMMANDS}
    assert {path.name for path in (rack["ctl"].folder / "sbin").iterdir()} == known
