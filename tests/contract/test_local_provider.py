"""What the local provider does with an engine, kills and losses included."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from docker.errors import NotFound
from fake_engine import Engine
from fake_objects import refused
from local_fakes import STORE, THREE, container_of, provider, topology

from devenv.core import labels
from devenv.core.errors import BuildError, HostError, InputError
from devenv.images.store import Store
from devenv.providers.base import Inventory
from devenv.providers.local import LocalProvider


def addresses(inventory: Inventory) -> dict[str, tuple[str, str]]:
    return {node.name: (node.address, node.external.address) for node in inventory.nodes}


def accepts(engine: Engine, inventory: Inventory, node: str) -> bool:
    """Whether the node takes the key and has the host key that the inventory says."""
    (found,) = [each for each in inventory.nodes if each.name == node]
    container = container_of(engine, inventory.environment, node)
    public = (found.ssh.key.parent / "id_ed25519.pub").read_text().strip()
    known = dict(line.split(" ", 1) for line in found.ssh.known_hosts.read_text().splitlines())
    host_key = engine.volumes_by_name[container.volumes[0]].host_key
    return public in container.keys and known.get(found.address) == host_key


def test_what_a_node_is_made_of(engine: Engine, lab: LocalProvider, tmp_path: Path) -> None:
    inventory = lab.create(topology(tmp_path), Store(STORE, {}, 0))
    container = container_of(engine, "lab", "cmp")
    assert container.volumes == ["devenv-lab-cmp"]
    assert engine.volumes_by_name["devenv-lab-cmp"].cloned_from == STORE
    assert container.host_config["Memory"] == 2**30
    assert container.host_config["CgroupnsMode"] == "private"
    sysctls = container.host_config["Sysctls"]
    assert sysctls["net.ipv4.ip_forward"] == "1"
    time, interval, probes = (
        int(sysctls[f"net.ipv4.tcp_keepalive_{what}"]) for what in ("time", "intvl", "probes")
    )
    assert time + interval * probes < 15, "seconds until a peer that is off is noticed"
    assert int(sysctls["net.ipv4.tcp_retries2"]) <= 5
    hosts = dict(entry.split(":") for entry in container.host_config["ExtraHosts"])
    assert hosts == {node.name: node.address for node in inventory.nodes}
    assert all(accepts(engine, inventory, node.name) for node in inventory.nodes)


def test_everything_carries_the_label(engine: Engine, lab: LocalProvider, tmp_path: Path) -> None:
    lab.create(topology(tmp_path), Store(STORE, {}, 0))
    made = [
        *(container.labels for container in engine.containers_by_id.values()),
        *(network.attrs["Labels"] for network in engine.networks_by_id.values()),
        *(v.attrs["Labels"] for name, v in engine.volumes_by_name.items() if name != STORE),
    ]
    assert len(made) == 3 + 2 + 3
    for found in made:
        assert found[labels.ENVIRONMENT] == "lab"
        assert found[labels.OWNER] and found[labels.CREATED]


def test_no_helper_is_left(engine: Engine, lab: LocalProvider, tmp_path: Path) -> None:
    lab.create(topology(tmp_path), Store(STORE, {}, 0))
    assert {c.name for c in engine.containers_by_id.values()} == {
        "devenv-lab-ctl1", "devenv-lab-ctl2", "devenv-lab-cmp",
    }  # fmt: skip


def test_networks_are_free_ones(engine: Engine, tmp_path: Path) -> None:
    first = provider("lab", tmp_path / "a").create(topology(tmp_path), Store(STORE, {}, 0))
    second = provider("lab2", tmp_path / "b").create(topology(tmp_path), Store(STORE, {}, 0))
    networks = [first.api, first.external, second.api, second.external]
    assert [str(network) for network in networks] == [
        "172.30.0.0/24", "172.31.0.0/24", "172.30.1.0/24", "172.31.1.0/24",
    ]  # fmt: skip


def test_a_network_that_another_process_took_in_between(
    engine: Engine, lab: LocalProvider, tmp_path: Path
) -> None:
    taken: list[str] = []

    def race(what: str) -> None:
        if what == "network devenv-lab-api" and not taken:
            taken.append(what)
            pool = {"Config": [{"Subnet": "172.30.0.0/24"}]}
            engine.client().networks.create("other", "bridge", {}, pool)

    engine.before = race
    assert lab.create(topology(tmp_path), Store(STORE, {}, 0)).api == IPv4Network("172.30.1.0/24")


def test_a_given_network_that_is_taken(engine: Engine, lab: LocalProvider, tmp_path: Path) -> None:
    pool = {"Config": [{"Subnet": "172.20.0.0/16"}]}
    engine.client().networks.create("other", "bridge", {}, pool)
    text = f"{THREE}networks: {{api: {{cidr: 172.20.5.0/24}}}}\n"
    with pytest.raises(InputError, match=r"the Docker network other has 172\.20\.0\.0/16"):
        lab.create(topology(tmp_path, text), Store(STORE, {}, 0))
    assert engine.containers_by_id == {}


def test_an_engine_that_refuses_a_network(
    engine: Engine, lab: LocalProvider, tmp_path: Path
) -> None:
    def full(what: str) -> None:
        if what.startswith("network"):
            raise refused(500, "no space left on device")

    engine.before = full
    with pytest.raises(HostError, match=r"api\.cidr: .* was refused: .*no space left"):
        lab.create(topology(tmp_path), Store(STORE, {}, 0))


def test_a_store_that_is_not_complete(engine: Engine, lab: LocalProvider, tmp_path: Path) -> None:
    engine.client().volumes.create("devenv-images-incomplete", labels={})
    with pytest.raises(BuildError, match="is not complete"):
        lab.create(topology(tmp_path), Store("devenv-images-incomplete", {}, 0))


# -- a topology that changes -------------------------------------------------------------

ANOTHER = f"{THREE}  new: {{roles: [compute]}}\n"
RENAMED = THREE.replace("cmp:", "far:")


def test_addresses_are_kept(engine: Engine, lab: LocalProvider, tmp_path: Path) -> None:
    """Whatever stands before a node in the file."""
    before = addresses(lab.create(topology(tmp_path), Store(STORE, {}, 0)))
    text = THREE.replace("  cmp", "  aaa: {roles: [compute]}\n  cmp", 1)
    after = addresses(lab.create(topology(tmp_path, text), Store(STORE, {}, 0)))
    assert {name: after[name] for name in before} == before
    assert len(set(after.values())) == 4


def test_a_node_that_the_topology_lost_is_removed(
    engine: Engine, lab: LocalProvider, tmp_path: Path
) -> None:
    before = lab.create(topology(tmp_path), Store(STORE, {}, 0))
    starts = {c.name: (c.id, c.starts) for c in engine.containers_by_id.values()}
    after = lab.create(topology(tmp_path, RENAMED), Store(STORE, {}, 0))
    assert [node.name for node in after.nodes] == ["ctl1", "ctl2", "far"]
    with pytest.raises(NotFound):
        container_of(engine, "lab", "cmp")
    assert "devenv-lab-cmp" not in engine.volumes_by_name
    for name in ("ctl1", "ctl2"):
        kept = container_of(engine, "lab", name)
        assert (kept.id, kept.starts) == starts[kept.name]
        assert addresses(after)[name] == addresses(before)[name]


def test_a_free_address_goes_to_the_next_node(
    engine: Engine, lab: LocalProvider, tmp_path: Path
) -> None:
    before = addresses(lab.create(topology(tmp_path), Store(STORE, {}, 0)))
    after = addresses(lab.create(topology(tmp_path, RENAMED), Store(STORE, {}, 0)))
    assert after["far"] == before["cmp"]


def test_an_address_is_not_given_while_its_node_is_off(
    engine: Engine, lab: LocalProvider, tmp_path: Path
) -> None:
    """A real engine would give it: it keeps no address for a container that is off."""
    before = addresses(lab.create(topology(tmp_path), Store(STORE, {}, 0)))
    lab.power("cmp", "off")
    after = addresses(lab.create(topology(tmp_path, ANOTHER), Store(STORE, {}, 0)))
    assert after["cmp"] == before["cmp"]
    assert len({address for pair in after.values() for address in pair}) == 8


# -- kills -------------------------------------------------------------------------------

KILLS = [
    "network devenv-lab-api", "network devenv-lab-external", "volume devenv-lab-ctl2", "helper",
    "container devenv-lab-ctl2", "connect devenv-lab-ctl2", "start devenv-lab-ctl2",
]  # fmt: skip


@pytest.mark.parametrize("moment", KILLS)
def test_a_kill_at_any_moment_is_mended_by_the_next_create(
    engine: Engine, lab: LocalProvider, tmp_path: Path, moment: str
) -> None:
    def kill(what: str) -> None:
        if what == moment:
            raise SystemExit(what)

    engine.before = kill
    with pytest.raises(SystemExit):
        lab.create(topology(tmp_path), Store(STORE, {}, 0))
    engine.before = lambda what: None
    lab.nodes()  # As `up` does it: it looks first, at whatever the kill left.
    inventory = lab.create(topology(tmp_path), Store(STORE, {}, 0))
    assert [node.name for node in inventory.nodes] == ["ctl1", "ctl2", "cmp"]
    assert all(accepts(engine, inventory, node.name) for node in inventory.nodes)
    assert {c.state for c in engine.containers_by_id.values()} == {"running"}
    assert len(engine.networks_by_id) == 2


@pytest.mark.parametrize("moment", KILLS)
def test_after_a_kill_everything_can_be_destroyed(
    engine: Engine, lab: LocalProvider, tmp_path: Path, moment: str
) -> None:
    def kill(what: str) -> None:
        if what == moment:
            raise SystemExit(what)

    engine.before = kill
    with pytest.raises(SystemExit):
        lab.create(topology(tmp_path), Store(STORE, {}, 0))
    lab.destroy()
    assert [c.name for c in engine.containers_by_id.values() if "helper" not in c.name] == []
    assert not engine.networks_by_id
    assert set(engine.volumes_by_name) == {STORE}
    assert lab.nodes() is None


def test_garbage_is_what_a_kill_left_without_a_node(
    engine: Engine, lab: LocalProvider, tmp_path: Path
) -> None:
    def kill(what: str) -> None:
        if what.startswith("container"):
            raise SystemExit(what)

    engine.before = kill
    with pytest.raises(SystemExit):
        lab.create(topology(tmp_path), Store(STORE, {}, 0))
    removed = lab.collect_garbage()
    assert {line.split()[0] for line in removed} == {"network", "volume"}
    assert not engine.networks_by_id
    assert set(engine.volumes_by_name) == {STORE}


# -- what is somebody else's -------------------------------------------------------------


def test_destroy_removes_only_what_carries_the_label(engine: Engine, tmp_path: Path) -> None:
    """Names that start alike, and things without labels, are other people's."""
    lab, lab2 = provider("lab", tmp_path / "a"), provider("lab2", tmp_path / "b")
    lab.create(topology(tmp_path), Store(STORE, {}, 0))
    other = lab2.create(topology(tmp_path), Store(STORE, {}, 0))
    client = engine.client()
    client.volumes.create("devenv-lab-data", labels={})
    client.networks.create("devenv-lab-x", "bridge", {}, {"Config": [{"Subnet": "10.9.0.0/24"}]})
    removed = lab.destroy()
    assert sorted(removed) == sorted(
        [f"{kind} devenv-lab-{name}" for kind in ("container", "volume")
         for name in ("ctl1", "ctl2", "cmp")]
        + ["network devenv-lab-api", "network devenv-lab-external"]
    )  # fmt: skip
    assert lab2.nodes() == other
    assert {"devenv-lab-data", STORE} < engine.volumes_by_name.keys()
    assert "devenv-lab-x" in {network.name for network in engine.networks_by_id.values()}


# -- lost state --------------------------------------------------------------------------


@pytest.fixture
def lost(engine: Engine, lab: LocalProvider, tmp_path: Path) -> Iterator[LocalProvider]:
    """An environment whose state folder is gone, node ctl2 off."""
    lab.create(topology(tmp_path), Store(STORE, {}, 0))
    lab.power("ctl2", "off")
    shutil.rmtree(tmp_path / "state")
    yield provider("lab", tmp_path / "state")


def test_nodes_that_run_are_reclaimed(engine: Engine, lost: LocalProvider) -> None:
    inventory = lost.nodes()
    assert inventory is not None and len(inventory.nodes) == 3
    assert accepts(engine, inventory, "ctl1") and accepts(engine, inventory, "cmp")


def test_a_node_that_was_off_is_reclaimed_when_it_starts(
    engine: Engine, lost: LocalProvider, tmp_path: Path
) -> None:
    """As `up` does it: it looks first, and creates then."""
    lost.nodes()
    inventory = lost.create(topology(tmp_path), Store(STORE, {}, 0))
    assert all(accepts(engine, inventory, node.name) for node in inventory.nodes)


def test_creating_reclaims_without_looking_first(
    engine: Engine, lost: LocalProvider, tmp_path: Path
) -> None:
    inventory = lost.create(topology(tmp_path), Store(STORE, {}, 0))
    assert all(accepts(engine, inventory, node.name) for node in inventory.nodes)


def test_reclaiming_is_done_once(engine: Engine, lost: LocalProvider) -> None:
    lost.nodes()
    keys = set(container_of(engine, "lab", "ctl1").keys)
    lost.nodes()
    assert container_of(engine, "lab", "ctl1").keys == keys
    assert len(keys) == 2, "the lost key and the new one"
