"""A fault holds for its block and is healed on every way out."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from fault_fakes import FakeSite, World, inventory, node

from devenv.core import paths
from devenv.core.errors import InputError, NodeError, Unsupported
from devenv.faults import records
from devenv.faults.containers import KillContainer, PauseContainer, StopContainer
from devenv.faults.disk import FillDisk
from devenv.faults.fault import Fault, Inconclusive
from devenv.faults.inject import exceeds, heal, heal_all, inject, start
from devenv.faults.network import Delay, Lossy, Partition
from devenv.faults.power import PauseNode, PowerOff, Reset
from devenv.faults.records import Record


def broken(world: World) -> list[str]:
    """All that is not as it was in the beginning."""
    found = []
    for name, one in world.machines.items():
        found += [f"{name} is {one.power}"] if one.power != "running" else []
        found += [f"{name} has rules" for _ in one.tables]
        found += [f"{name} has {file}" for file in one.files]
        for container in one.containers.values():
            if "devenv.fault" in container.labels:
                found.append(f"{name} has a helper")
            elif container.status != "running":
                found.append(f"{container.name} on {name} is {container.status}")
    return found


FAULTS: dict[str, tuple[Callable[[], Fault], list[str]]] = {
    "kill haproxy on ctl1": (
        lambda: KillContainer("ctl1", "haproxy"), ["haproxy on ctl1 is exited"]),
    "stop haproxy on ctl1": (
        lambda: StopContainer("ctl1", "haproxy"), ["haproxy on ctl1 is exited"]),
    "pause mariadb on ctl2": (
        lambda: PauseContainer("ctl2", "mariadb"), ["mariadb on ctl2 is paused"]),
    "power off ctl1": (lambda: PowerOff("ctl1"), ["ctl1 is exited"]),
    "pause ctl3": (lambda: PauseNode("ctl3"), ["ctl3 is paused"]),
    "partition ctl2 from all": (
        lambda: Partition("ctl2"), ["ctl2 has rules", "ctl2 has a helper"]),
    "partition ctl2 from ctl1 and cmp1": (
        lambda: Partition("ctl2", ("ctl1", "cmp1")), ["ctl2 has rules", "ctl2 has a helper"]),
    "lose 20 % on the link of ctl3": (
        lambda: Lossy("ctl3", 20), ["ctl3 has rules", "ctl3 has a helper"]),
    "fill the disk of ctl3": (
        lambda: FillDisk("ctl3", id="d15c"), ["ctl3 has /var/lib/docker/.devenv-fault-d15c"]),
}  # fmt: skip
each_fault = pytest.mark.parametrize("words", FAULTS)


@each_fault
def test_it_holds_for_the_block(words: str, world: World, site: FakeSite) -> None:
    make, effect = FAULTS[words]
    asked = time.monotonic()
    with inject([make()], site) as injected:
        assert broken(world) == effect
        assert injected.words == words
        assert asked <= injected.begin <= injected.held
        assert injected.healed == math.inf
        assert [one.describe() for one in records.outstanding("lab")] == [words]
    assert broken(world) == []
    assert injected.held <= injected.healed <= time.monotonic()
    assert records.outstanding("lab") == []


@each_fault
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_every_way_out_heals(
    words: str, error: type[BaseException], world: World, site: FakeSite
) -> None:
    with pytest.raises(error), inject([FAULTS[words][0]()], site) as injected:
        raise error
    assert broken(world) == []
    assert records.outstanding("lab") == []
    assert injected.healed < math.inf


@each_fault
def test_the_record_is_there_before_anything_is_touched(
    words: str, world: World, site: FakeSite
) -> None:
    seen: list[tuple[str, int, tuple[str, ...]]] = []

    def watch(what: str) -> None:
        files = list((paths.environment("lab") / "faults").glob("*.json"))
        modes = tuple(oct(file.stat().st_mode & 0o777) for file in files)
        seen.append((what, len(files), modes))

    world.watch = watch
    with inject([FAULTS[words][0]()], site):
        pass
    assert seen
    assert {entry[1:] for entry in seen} == {(1, ("0o600",))}


@each_fault
def test_a_fault_that_nobody_sees_proves_nothing(words: str, world: World, site: FakeSite) -> None:
    world.idle = {"kill", "stop", "pause ", "power off", "power pause", "nft -f", "fill"}
    with pytest.raises(Inconclusive) as caught, inject([FAULTS[words][0]()], site, limit=0.05):
        raise AssertionError("the block ran")
    assert words in str(caught.value)
    assert "last seen" in str(caught.value)
    assert broken(world) == []
    assert records.outstanding("lab") == []


@each_fault
def test_what_a_kill_left_is_healed_by_the_next(words: str, world: World) -> None:
    start([FAULTS[words][0]()], world.site())
    orphan(records.outstanding("lab")[0])
    assert broken(world) == FAULTS[words][1]
    (left,) = records.outstanding("lab")
    assert not left.held
    assert heal_all(records.outstanding("lab"), world.site()) == [f"healed `{words}`"]
    assert broken(world) == []
    assert records.outstanding("lab") == []


def orphan(record: Record) -> None:
    """As if the process that wrote it had been killed."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    records.write("lab", Record(record.id, record.fault, dead.pid, record.started))


@each_fault
def test_healing_twice_and_healing_what_was_never_injected(
    words: str, world: World, site: FakeSite
) -> None:
    fault = FAULTS[words][0]().prepare(site)
    fault.heal(site)
    fault.inject(site)
    fault.heal(site)
    fault.heal(site)
    assert broken(world) == []


def test_a_reset_is_another_boot(world: World, site: FakeSite) -> None:
    with inject([Reset("cmp1")], site) as injected:
        assert world.machines["cmp1"].boots == 2
    assert injected.words == "reset cmp1"
    assert site.connections["cmp1"].opened
    world.idle = {"power reset"}
    with (
        pytest.raises(Inconclusive, match="has not booted"),
        inject([Reset("cmp1")], site, limit=0.05),
    ):
        pass
    # Every way to confirm it but the boot itself can lie: a node that only paused a while.
    with pytest.raises(Inconclusive, match="did not boot"):
        Reset("cmp1", boot="same 2").heal(site)


def test_after_a_fault_of_power_the_connection_is_opened_again(
    world: World, site: FakeSite
) -> None:
    with inject([PowerOff("ctl1"), PowerOff("ctl2"), PowerOff("ctl3")], site) as injected:
        assert broken(world) == ["ctl1 is exited", "ctl2 is exited", "ctl3 is exited"]
    assert injected.words == "power off ctl1, power off ctl2, power off ctl3"
    assert [site.connections[name].opened for name in ("ctl1", "ctl2", "ctl3")] == [1, 1, 1]
    assert broken(world) == []


def test_one_target_that_is_down_already_spares_all(world: World, site: FakeSite) -> None:
    world.machines["ctl2"].power = "exited"
    with pytest.raises(InputError, match="ctl2: `power off ctl2` was not tried: the node does not"):
        start([PowerOff("ctl1"), PowerOff("ctl2")], site)
    assert world.did == []
    assert records.outstanding("lab") == []


def test_a_container_has_to_run_and_to_be_there(world: World, site: FakeSite) -> None:
    world.machines["ctl1"].containers["haproxy"].status = "paused"
    for fault, words in {
        KillContainer("ctl1", "haproxy"): "haproxy is paused already",
        StopContainer("ctl1", "haprox"): "no container 'haprox'; did you mean haproxy?",
    }.items():
        with pytest.raises(InputError, match=words):
            start([fault], site)
    assert world.did == []


def test_a_node_that_is_cut_off_is_not_cut_off_again(world: World, site: FakeSite) -> None:
    with inject([Partition("ctl2", id="first")], site):
        with pytest.raises(
            InputError, match="has such a fault already\n  -> devenv fault heal fir"
        ):
            start([Partition("ctl2")], site)
        with pytest.raises(InputError, match=r"reaches none of ctl1, ctl3, cmp1 as it is"):
            start([Lossy("ctl2", 10)], site)
        with inject([Partition("ctl3", ("ctl1",))], site):  # Another node's may be added.
            pass
    assert broken(world) == []


def test_a_node_that_is_alone_cannot_be_cut_off() -> None:
    site = World((node(11, "aio", "control"),)).site()
    with pytest.raises(InputError, match="reaches no other node"):
        start([Partition("aio")], site)


def test_what_the_kernel_lacks_is_unsupported_and_leaves_nothing(
    world: World, site: FakeSite
) -> None:
    with pytest.raises(Unsupported, match="qdisc kind is unknown"):
        start([Delay("ctl1", 100)], site)
    assert broken(world) == []
    assert records.outstanding("lab") == []


def test_only_a_disk_of_its_own_is_filled() -> None:
    world = World((node(11, "ctl1", "control", own_disk=False),))
    with pytest.raises(Unsupported, match="its disk is not its own"):
        start([FillDisk("ctl1")], world.site())
    assert world.did == []


def test_one_of_several_that_does_not_hold_heals_all(world: World, site: FakeSite) -> None:
    world.idle = {"kill haproxy on ctl2"}
    both = [KillContainer("ctl1", "haproxy"), KillContainer("ctl2", "haproxy")]
    with pytest.raises(Inconclusive, match="haproxy is running"):
        start(both, site, limit=0.05)
    assert "kill haproxy on ctl1" in world.did
    assert broken(world) == []
    assert records.outstanding("lab") == []


def test_a_heal_that_fails_does_not_hide_the_tests_error(world: World, site: FakeSite) -> None:
    world.failing = {"start haproxy": NodeError("no space", node="ctl1")}
    with (
        pytest.raises(ValueError, match="of the test") as caught,
        inject([KillContainer("ctl1", "haproxy")], site),
    ):
        raise ValueError("of the test")
    assert "could not be healed" in caught.value.__notes__[0]
    assert "no space" in caught.value.__notes__[0]
    assert len(records.outstanding("lab")) == 1  # So that it can be tried again.


def test_a_heal_that_fails_is_raised_after_all_were_tried(world: World, site: FakeSite) -> None:
    world.failing = {"start haproxy": NodeError("no space", node="ctl1")}
    both = [KillContainer("ctl1", "haproxy"), PauseContainer("ctl2", "mariadb")]
    with pytest.raises(NodeError, match="no space"), inject(both, site):
        pass
    assert broken(world) == ["haproxy on ctl1 is exited"]
    assert [one.describe() for one in records.outstanding("lab")] == ["kill haproxy on ctl1"]


def test_what_is_gone_is_forgotten(world: World, site: FakeSite) -> None:
    start([KillContainer("ctl1", "haproxy"), PowerOff("cmp1")], site)
    del world.machines["ctl1"].containers["haproxy"]
    smaller = World(tuple(one.node for one in world.machines.values() if one.node.name != "cmp1"))
    smaller.machines["ctl1"].containers.clear()
    said = [heal(one, smaller.site()) for one in records.outstanding("lab")]
    assert sorted(said) == [
        "forgot `power off cmp1`: cmp1 is gone",
        "healed `kill haproxy on ctl1`",
    ]
    assert records.outstanding("lab") == []


def test_what_a_living_process_holds_is_left_to_it(world: World, site: FakeSite) -> None:
    with inject([KillContainer("ctl1", "haproxy")], site):
        assert heal_all(records.outstanding("lab"), site) == []
        assert broken(world) == ["haproxy on ctl1 is exited"]
        (one,) = records.outstanding("lab")
        assert heal(one, site) == "healed `kill haproxy on ctl1`"  # Asked for by its id.
    assert broken(world) == []


def test_what_is_kept_outlives_its_process(world: World, site: FakeSite) -> None:
    start([KillContainer("ctl1", "haproxy")], site, kept=True)
    start([PowerOff("ctl1")], site, kept=True)
    found = records.outstanding("lab")
    assert [one.kept for one in found] == [True, True]
    healed = heal_all(found, site)
    # Its power first: only then can anything be done on it.
    assert healed == ["healed `power off ctl1`", "healed `kill haproxy on ctl1`"]
    assert broken(world) == []


CLUSTER = [node(11 + number, f"ctl{number}", "control") for number in range(1, 6)]


@pytest.mark.parametrize(
    ("size", "faults", "words"),
    [
        (3, [PowerOff("ctl1")], ""),
        (3, [PowerOff("ctl1"), KillContainer("ctl1", "mariadb")], ""),
        (3, [PowerOff("ctl1"), Partition("ctl2")], "2 of 3 control nodes are hit (ctl1, ctl2)"),
        (3, [PowerOff("ctl1"), Delay("ctl2", 9), Lossy("ctl3", 9)], ""),
        (3, [PowerOff("cmp1"), PowerOff("cmp2")], ""),
        (5, [PowerOff("ctl1"), PowerOff("ctl2")], ""),
        (5, [PowerOff(f"ctl{one}") for one in (1, 2, 3)], "survives the loss of 2"),
        (4, [PowerOff("ctl1"), PowerOff("ctl2")], "survives the loss of 1"),
        (1, [PowerOff("ctl1")], "survives the loss of none"),
    ],
)
def test_what_a_cluster_can_survive(size: int, faults: list[Fault], words: str) -> None:
    said = exceeds(faults, inventory(*CLUSTER[:size]))
    assert words in said
    assert bool(said) == bool(words)
