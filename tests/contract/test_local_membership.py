"""Local environments whose topology changes, or whose nodes are lost: what comes and what stays."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from docker.errors import NotFound
from fake_engine import Engine
from fake_objects import Container
from local_fakes import STORE, container_of, names_of, provider, topology, wipe

from devenv.core.errors import InputError
from devenv.images.store import Store
from devenv.providers.base import Inventory
from devenv.providers.local import LocalProvider

Up = Callable[[str], Inventory]


def cloud(control: int, compute: int = 1, api: str = "{}") -> str:
    """A topology; one node alone has the name of its set."""
    return (
        "version: 1\n"
        f"networks: {{api: {api}}}\n"
        "nodes:\n"
        f"  ctl: {{count: {control}, roles: [control, network]}}\n"
        f"  cmp: {{count: {compute}, roles: [compute]}}\n"
    )


@pytest.fixture
def up(lab: LocalProvider, tmp_path: Path) -> Up:
    return lambda text: lab.create(topology(tmp_path, text), Store(STORE, {}, 0))


def names(inventory: Inventory | None) -> str:
    return " ".join(node.name for node in inventory.nodes) if inventory else ""


def everything(engine: Engine) -> object:
    """What the engine has; equal if nothing changed."""
    return (
        {c.id: (c.name, c.state, c.starts, c.hosts) for c in engine.containers_by_id.values()},
        {n.id: n.name for n in engine.networks_by_id.values()},
        {v.name: (v.cloned_from, v.host_key) for v in engine.volumes_by_name.values()},
    )


def kill_at(engine: Engine, *moments: str) -> None:
    """Be killed at the first of these; none is no kill."""

    def kill(what: str) -> None:
        if what in moments:
            raise SystemExit(what)

    engine.before = kill


# -- the virtual IP ------------------------------------------------------------------------

GIVEN = "{cidr: 172.20.0.0/24, vip: 172.20.0.12}"


def test_a_given_vip_is_kept_and_no_node_gets_it(
    engine: Engine, up: Up, lab: LocalProvider, tmp_path: Path
) -> None:
    made = up(cloud(3, 2, api=GIVEN))
    assert (made.vip, made.virtual) == (IPv4Address("172.20.0.12"), True)
    assert [node.address for node in made.nodes] == [
        "172.20.0.11", "172.20.0.13", "172.20.0.14", "172.20.0.15", "172.20.0.16",
    ]  # fmt: skip
    found = provider("lab", tmp_path / "elsewhere").nodes()
    assert found is not None and (found.vip, found.virtual) == (made.vip, True)
    assert up(cloud(3, 2, api=GIVEN)) == made
    assert up(cloud(3, 2, api="{vip: auto}")).vip == made.vip, "auto is whatever is there"
    joined = up(cloud(3, 3, api=GIVEN))
    assert joined.vip == made.vip
    assert str(made.vip) not in {node.address for node in joined.nodes}


def test_a_picked_vip(up: Up) -> None:
    made = up(cloud(3))
    assert (str(made.vip), made.virtual) == ("172.30.0.10", True)


def test_one_control_nodes_own_address_is_the_vip(up: Up) -> None:
    for api in ("{vip: auto}", "{vip: null}"):
        made = up(cloud(1, api=api))
        assert (str(made.vip), made.virtual) == (made.nodes[0].address, False)


@pytest.mark.parametrize("before", [GIVEN, "{cidr: 172.20.0.0/24}"])
def test_a_vip_does_not_change(engine: Engine, up: Up, before: str) -> None:
    made = up(cloud(3, api=before))
    there = everything(engine)
    with pytest.raises(InputError) as caught:
        up(cloud(3, api="{cidr: 172.20.0.0/24, vip: 172.20.0.99}"))
    assert f"api.vip of an environment cannot change from {made.vip} to 172.20.0.99" in str(
        caught.value
    )
    assert "topology.yaml:2: " in str(caught.value) and "devenv --name lab down" in str(
        caught.value
    )
    assert everything(engine) == there


@pytest.mark.parametrize(
    "text",
    [
        cloud(3, api="{cidr: 172.21.0.0/24}"),
        cloud(3).replace("networks: {", "networks: {external: {cidr: 172.22.0.0/24}, "),
    ],
)
def test_a_network_does_not_change(engine: Engine, up: Up, text: str) -> None:
    up(cloud(3))
    there = everything(engine)
    with pytest.raises(InputError, match=r"cidr of an environment cannot change from 172\.3"):
        up(text)
    assert everything(engine) == there


def test_a_vip_that_somebody_elses_container_has(engine: Engine, up: Up) -> None:
    up(cloud(3))
    other = Container(
        engine, "f00", "registry", "x", {}, endpoints={"devenv-lab-api": "172.30.0.10"}
    )
    other.state = "running"
    engine.add_container(other)
    there = everything(engine)
    with pytest.raises(
        InputError, match=r"the virtual IP 172\.30\.0\.10 is the address of registry"
    ):
        up(cloud(5))
    assert everything(engine) == there


# -- what may go, and what may not -----------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        (cloud(3), cloud(2), "ctl1 ctl2 cmp"),
        (cloud(5), cloud(3), "ctl1 ctl2 ctl3 cmp"),
        (cloud(3), cloud(5), "ctl1 ctl2 ctl3 ctl4 ctl5 cmp"),
        (cloud(2), cloud(3), "ctl1 ctl2 ctl3 cmp"),
        (cloud(3, 3), cloud(2, 2), "ctl1 ctl2 cmp1 cmp2"),
        (cloud(3, 2), cloud(3, 0), "ctl1 ctl2 ctl3"),
        (cloud(3, 2), cloud(3, 0) + "  cmp1: {roles: [compute]}\n", "ctl1 ctl2 ctl3 cmp1"),
    ],
)  # fmt: skip
def test_a_majority_that_stays(engine: Engine, up: Up, before: str, after: str, left: str) -> None:
    made, now = up(before), up(after)
    assert names(now) == left
    assert now.vip == made.vip
    there = {node.name: node for node in made.nodes}
    assert all(there.get(node.name, node) == node for node in now.nodes)
    ours = {f"devenv-lab-{name}" for name in left.split()}
    assert {c.name for c in engine.containers_by_id.values()} == ours
    assert engine.volumes_by_name.keys() == ours | {STORE}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (cloud(3), cloud(1), r"yaml:3: .* the topology has 1: the virtual IP 172\.30\.0\.10 and"),
        (cloud(3), cloud(0), r"the topology has 0: the virtual IP"),
        (cloud(1), cloud(3), r"yaml:3: .* made for one control node.* it cannot have 3"),
        (cloud(5), cloud(2), r"ctl3, ctl4, ctl5 would go .* 2 of 5 stay"),
        (cloud(4), cloud(2), r"ctl3, ctl4 would go .* 2 of 4 stay"),
        (cloud(3), cloud(3).replace("ctl:", "new:"), r"ctl1, ctl2, ctl3 would go .* 0 of 3 stay"),
        (cloud(1), cloud(1).replace("ctl:", "new:"), r"ctl would go .* 0 of 1 stay"),
        (cloud(1), cloud(0), r"ctl would go .* 0 of 1 stay"),
        (
            cloud(3),
            cloud(3).replace("control, ", "") + "  new: {count: 3, roles: [control]}\n",
            r"ctl1, ctl2, ctl3 would go or be no control nodes any more",
        ),
        (cloud(3, 1), cloud(3, 2), r"the node 'cmp' would be removed: a set of more than one"),
        (cloud(3, 2), cloud(3, 1), r"the node 'cmp1' would be removed for one named 'cmp'"),
    ],
)
def test_what_an_environment_cannot_become(
    engine: Engine, up: Up, before: str, after: str, words: str
) -> None:
    up(before)
    there = everything(engine)
    with pytest.raises(InputError, match=words) as caught:
        up(after)
    assert caught.value.remedy
    assert everything(engine) == there


def test_what_is_lost_counts_as_lost(engine: Engine, up: Up) -> None:
    """ctl1 has to come back: of the two that are there, one would be left."""
    up(cloud(3))
    wipe(engine, "lab", "ctl1")
    with pytest.raises(InputError, match=r"ctl3 would go .* 1 of 2 stay"):
        up(cloud(2))
    assert names(up(cloud(3))) == "ctl1 ctl2 ctl3 cmp"
    assert names(up(cloud(2))) == "ctl1 ctl2 cmp"


def test_more_nodes_than_places(engine: Engine, up: Up) -> None:
    small = cloud(3, 9, api="{cidr: 172.20.0.0/28}").replace(
        "networks: {", "networks: {external: {cidr: 172.21.0.0/28}, "
    )
    with pytest.raises(
        InputError, match=r"yaml:2: the external network has places for 12 .* has 13"
    ):
        up(small.replace("172.20.0.0/28", "172.20.0.0/24").replace("count: 9", "count: 10"))
    assert not engine.networks_by_id
    assert len({node.address for node in up(small).nodes} - {"172.20.0.10", "172.20.0.1"}) == 12


# -- losses, and kills while nodes come and go -------------------------------------------------


def known(inventory: Inventory) -> dict[str, str]:
    """The host keys that are accepted, by address."""
    lines = inventory.nodes[0].ssh.known_hosts.read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines)


def host_keys(engine: Engine, inventory: Inventory) -> dict[str, str]:
    """The host keys that the nodes have, by address."""
    return {
        node.address: engine.volumes_by_name[f"devenv-lab-{node.name}"].host_key
        for node in inventory.nodes
    }


@pytest.mark.parametrize("node", ["ctl1", "ctl3", "cmp2"])
def test_a_wiped_node_has_a_new_host_key_that_is_known(engine: Engine, up: Up, node: str) -> None:
    before = up(cloud(3, 2))
    old = known(before)
    wipe(engine, "lab", node)
    after = up(cloud(3, 2))
    assert after == before
    assert known(after) == host_keys(engine, after)
    (address,) = [each.address for each in after.nodes if each.name == node]
    assert {a for a, key in known(after).items() if old[a] != key} == {address}


def test_a_wiped_node_gets_its_address_back_though_others_are_free(engine: Engine, up: Up) -> None:
    up(cloud(5, 3))
    before = up(cloud(3, 3))
    wipe(engine, "lab", "cmp1")
    wipe(engine, "lab", "cmp2")
    assert up(cloud(3, 3)) == before


def test_an_address_that_was_given_to_another_is_not_taken_back(engine: Engine, up: Up) -> None:
    """cmp remembers ctl4 and ctl5, whose places others have now."""
    up(cloud(5))
    up(cloud(3))
    up(cloud(3) + "  new: {count: 2, roles: [compute]}\n")
    made = up(cloud(5) + "  new: {count: 2, roles: [compute]}\n")
    assert names(made) == "ctl1 ctl2 ctl3 ctl4 ctl5 cmp new1 new2"
    assert len({node.address for node in made.nodes}) == 8


def test_a_node_without_its_container_keeps_its_data(
    engine: Engine, lab: LocalProvider, tmp_path: Path
) -> None:
    """Also when the image store is another by now: a clone would be another engine's data."""
    wanted = topology(tmp_path, cloud(3))
    before = lab.create(wanted, Store(STORE, {}, 0))
    keys = host_keys(engine, before)
    container_of(engine, "lab", "ctl2").remove(force=True)
    engine.client().volumes.create("devenv-images-5678", labels={})
    assert lab.create(wanted, Store("devenv-images-5678", {}, 0)) == before
    assert engine.volumes_by_name["devenv-lab-ctl2"].cloned_from == STORE
    assert host_keys(engine, before) == keys == known(before)


@pytest.mark.parametrize("moment", ["remove devenv-lab-ctl3", "remove volume devenv-lab-ctl3"])
@pytest.mark.parametrize("then", [2, 3])
def test_a_kill_while_a_node_is_removed(engine: Engine, up: Up, moment: str, then: int) -> None:
    up(cloud(3))
    kill_at(engine, moment)
    with pytest.raises(SystemExit):
        up(cloud(2))
    kill_at(engine)
    made = up(cloud(then))
    assert names(made) == ("ctl1 ctl2 ctl3 cmp" if then == 3 else "ctl1 ctl2 cmp")
    volumes = {f"devenv-lab-{node.name}" for node in made.nodes}
    assert engine.volumes_by_name.keys() == volumes | {STORE}
    assert known(made) == host_keys(engine, made)


@pytest.mark.parametrize(
    "moment", ["volume devenv-lab-ctl3", "container devenv-lab-ctl3", "connect devenv-lab-ctl3",
               "start devenv-lab-ctl3"]
)  # fmt: skip
@pytest.mark.parametrize("then", [2, 3])
def test_a_kill_while_a_node_joins(engine: Engine, up: Up, moment: str, then: int) -> None:
    before = up(cloud(2))
    kill_at(engine, moment)
    with pytest.raises(SystemExit):
        up(cloud(3))
    kill_at(engine)
    made = up(cloud(then))
    assert names(made) == ("ctl1 ctl2 ctl3 cmp" if then == 3 else "ctl1 ctl2 cmp")
    assert then == 3 or made == before
    volumes = {f"devenv-lab-{node.name}" for node in made.nodes}
    assert engine.volumes_by_name.keys() == volumes | {STORE}


def test_a_kill_that_left_one_control_node_of_three(
    engine: Engine, up: Up, lab: LocalProvider
) -> None:
    kill_at(engine, *(f"container devenv-lab-{name}" for name in ("ctl2", "ctl3", "cmp")))
    with pytest.raises(SystemExit):
        up(cloud(3))
    kill_at(engine)
    left = lab.nodes()
    assert left is not None
    assert (names(left), str(left.vip), left.virtual) == ("ctl1", "172.30.0.10", True)
    assert names(up(cloud(3))) == "ctl1 ctl2 ctl3 cmp"


def test_without_any_container_the_same_topology_finds_its_data(engine: Engine, up: Up) -> None:
    before = up(cloud(3))
    keys = host_keys(engine, before)
    for container in list(engine.containers_by_id.values()):
        container.remove(force=True)
    assert up(cloud(3)) == before
    assert host_keys(engine, before) == keys


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (cloud(3).replace("ctl:", "new:"), "the volume of the node 'ctl1', the volume of the"),
        (cloud(2), "the volume of the node 'ctl3'"),
        (cloud(1), "with 172.30.0.10 as its virtual IP"),
        (cloud(3, api=GIVEN), "the network 172.30.0.0/24"),
    ],
)
def test_without_any_container_another_topology_is_refused(
    engine: Engine, up: Up, after: str, words: str
) -> None:
    up(cloud(3))
    for container in list(engine.containers_by_id.values()):
        container.remove(force=True)
    there = everything(engine)
    with pytest.raises(InputError) as caught:
        up(after)
    assert words in str(caught.value) and "devenv --name lab down" in str(caught.value)
    assert everything(engine) == there


# -- names -------------------------------------------------------------------------------------


def test_a_start_by_other_hands_is_mended(engine: Engine, up: Up) -> None:
    """`docker restart` of a node gives it the names of the day it was made."""
    up(cloud(3))
    made = up(cloud(3) + "  new: {roles: [compute]}\n")
    container_of(engine, "lab", "ctl1").restart()
    assert "new" not in names_of(engine, "lab", "ctl1")
    again = up(cloud(3) + "  new: {roles: [compute]}\n")
    assert again == made
    assert names_of(engine, "lab", "ctl1") == {node.name: node.address for node in made.nodes}


def test_nodes_that_are_off_are_known_too(engine: Engine, up: Up, lab: LocalProvider) -> None:
    made = up(cloud(3))
    lab.power("ctl2", "off")
    lab.power("ctl1", "reset")
    assert names_of(engine, "lab", "ctl1") == {node.name: node.address for node in made.nodes}
    assert lab.nodes() == made


def test_a_node_that_is_gone_has_no_power(up: Up, engine: Engine) -> None:
    up(cloud(3))
    up(cloud(2))
    with pytest.raises(NotFound):
        container_of(engine, "lab", "ctl3")
    assert "ctl3" not in names_of(engine, "lab", "ctl1")
