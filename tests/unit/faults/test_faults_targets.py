"""Target words mean the nodes that people expect."""

from __future__ import annotations

from typing import Any

import pytest
from fault_fakes import NODES, VIP, FakeSite, World, node

from devenv.core.errors import InputError, NodeError
from devenv.core.events import Events
from devenv.faults import records
from devenv.faults.network import Partition
from devenv.faults.targets import has_address, resolve
from devenv.faults.verbs import Faults

FIB = """\
Main:
  +-- 0.0.0.0/0 3 0 5
           |-- 172.30.0.0
              /24 link UNICAST
           |-- 172.30.0.100
              /32 link UNICAST
Local:
           |-- 172.30.0.10
              /32 host LOCAL
           |-- 172.30.0.255
              /32 link BROADCAST
"""


def test_the_kernel_tells_its_own_addresses() -> None:
    assert has_address(FIB, "172.30.0.10")
    for other in ("172.30.0.1", "172.30.0.100", "172.30.0.255", "172.30.0.0", "172x30.0.10"):
        assert not has_address(FIB, other)


def nodes(words: str, world: World) -> list[str]:
    connections: Any = world.site().connections
    return resolve(words, world.inventory, connections)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("ctl2", "ctl2"),
        ("cmp1, ctl1,cmp1", "cmp1 ctl1"),
        ("control", "ctl1 ctl2 ctl3"),
        ("compute", "cmp1"),
        ("all", "ctl1 ctl2 ctl3"),
        ("vip-holder", "ctl1"),
        ("db-primary", "ctl2"),
        ("one", "ctl3"),
        ("minority", "ctl3"),
        ("majority", "ctl2 ctl3"),
        ("vip-holder,one", "ctl1 ctl3"),
    ],
)
def test_words(words: str, found: str, world: World) -> None:
    assert nodes(words, world) == found.split()


def test_the_state_is_the_present_one(world: World) -> None:
    world.machines["ctl1"].addresses.clear()
    world.machines["ctl3"].addresses.add(VIP)
    assert nodes("vip-holder", world) == ["ctl3"]
    assert nodes("one", world) == ["ctl2"]
    assert nodes("majority", world) == ["ctl1", "ctl2"]


def test_nodes_that_do_not_answer_are_not_asked(world: World) -> None:
    world.machines["ctl3"].power = "paused"
    assert nodes("vip-holder", world) == ["ctl1"]
    world.machines["ctl1"].power = "exited"
    with pytest.raises(NodeError, match="no control node that answers has the virtual IP"):
        nodes("vip-holder", world)
    assert nodes("one", world) == ["ctl3"]  # A name is a name, whoever has the virtual IP.
    assert nodes("db-primary", world) == ["ctl2"]
    world.machines["ctl2"].containers.clear()
    with pytest.raises(NodeError, match=r"(?s)does not say which node.*ctl2: mariadb"):
        nodes("db-primary", world)


def test_two_holders_are_not_one(world: World) -> None:
    world.machines["ctl2"].addresses.add(VIP)
    with pytest.raises(NodeError, match="ctl1 and ctl2 have the virtual IP"):
        nodes("vip-holder", world)
    assert nodes("one", world) == ["ctl3"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("vipholder", "did you mean vip-holder?\n  -> one of: ctl1, ctl2, ctl3, cmp1, compute,"),
        ("ctl4", "no node, role or state is called 'ctl4'; did you mean ctl"),
        ("", "no node, role or state is called ''"),
        ("ctl1,", "no node, role or state is called ''"),
    ],
)
def test_words_that_mean_nothing(words: str, message: str, world: World) -> None:
    with pytest.raises(InputError) as caught:
        nodes(words, world)
    assert message in str(caught.value)


def test_one_control_node_has_a_majority_and_no_minority() -> None:
    world = World((NODES[0], NODES[3]))
    for words in ("majority", "one", "db-primary"):
        assert nodes(words, world) == ["ctl1"]
    with pytest.raises(InputError, match="1 control nodes have no minority"):
        nodes("minority", world)


def test_five_control_nodes() -> None:
    world = World(tuple(node(number + 20, f"ctl{number}", "control") for number in range(7, 12)))
    assert nodes("minority", world) == ["ctl10", "ctl11"]
    assert nodes("majority", world) == ["ctl9", "ctl10", "ctl11"]


def verbs(world: World, site: FakeSite) -> Faults:
    connections: Any = site.connections
    faults = Faults("lab", site.provider, world.inventory, connections, Events())
    faults.site = site
    return faults


def test_verbs_hit_all_that_the_words_mean(world: World, site: FakeSite) -> None:
    faults = verbs(world, site)
    for context, words in (
        (faults.kill("haproxy", on="majority"), "kill haproxy on ctl2, kill haproxy on ctl3"),
        (faults.stop("haproxy", on="vip-holder"), "stop haproxy on ctl1"),
        (faults.pause("mariadb", on="db-primary"), "pause mariadb on ctl2"),
        (faults.power_off("one"), "power off ctl3"),
        (faults.reset("compute"), "reset cmp1"),
        (faults.pause_node("cmp1"), "pause cmp1"),
        (faults.partition("vip-holder"), "partition ctl1 from all"),
        (faults.partition("minority", "control"), "partition ctl3 from ctl1 and ctl2"),
        (faults.lossy("ctl1", 9), "lose 9 % on the link of ctl1"),
        (faults.fill_disk("ctl1"), "fill the disk of ctl1"),
    ):
        with context as injected:
            assert injected.words == words
            assert [one.describe() for one in records.outstanding("lab")] == words.split(", ")
    assert records.outstanding("lab") == []


def test_words_are_resolved_when_the_fault_begins(world: World, site: FakeSite) -> None:
    context = verbs(world, site).power_off("vip-holder")
    world.machines["ctl1"].addresses.clear()
    world.machines["ctl2"].addresses.add(VIP)
    with context as injected:
        assert [fault.node for fault in injected.faults] == ["ctl2"]


def test_a_node_is_not_cut_off_from_itself(world: World, site: FakeSite) -> None:
    made: Partition = verbs(world, site).partitions("control")("ctl2")
    assert made.away_from == ("ctl1", "ctl3")
