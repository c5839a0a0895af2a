"""The text that nft gets, and what nodes tell."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
from fault_fakes import FakeSite, World

from devenv.core.errors import InputError, NodeError, Unsupported
from devenv.core.wait import NotYet
from devenv.faults import network, rules
from devenv.faults.helper import Helper
from devenv.faults.inject import inject
from devenv.faults.network import Delay, Partition, delayed, neighbours
from devenv.faults.rules import Link, Peer
from devenv.faults.site import Site

LINK = Link("eth0", "172.30.0.1", "172.30.0.12", 22, "172.30.0.1")
ROUTED = Link("ens3", "10.1.1.9", "172.30.0.12", 2222, "172.30.0.254")

ISOLATION = """\
table netdev devenv_fault_ab12
delete table netdev devenv_fault_ab12
table netdev devenv_fault_ab12 {
  chain ingress {
    type filter hook ingress device "eth0" priority -500; policy accept;
    ip saddr 172.30.0.1 ip daddr 172.30.0.12 tcp dport 22 accept
    arp saddr ip 172.30.0.1 arp daddr ip 172.30.0.12 accept
    drop
  }
  chain egress {
    type filter hook egress device "eth0" priority -500; policy accept;
    ip saddr 172.30.0.12 ip daddr 172.30.0.1 tcp sport 22 accept
    arp saddr ip 172.30.0.12 arp daddr ip 172.30.0.1 accept
    drop
  }
}
"""


def chain(text: str, hook: str) -> list[str]:
    """The rules of a chain, without the one that makes it."""
    return [
        line.strip()
        for line in text.split(f"chain {hook} {{\n")[1].split("  }\n")[0].splitlines()[1:]
    ]


def test_isolation_spares_the_own_ssh_and_no_arp_but_its_own() -> None:
    """No rule accepts ARP for the virtual IP, nor what is established already."""
    assert rules.isolation("ab12", LINK) == ISOLATION


def test_ssh_over_a_router_needs_the_routers_arp() -> None:
    ingress = chain(rules.isolation("ab12", ROUTED), "ingress")
    assert ingress == [
        "ip saddr 10.1.1.9 ip daddr 172.30.0.12 tcp dport 2222 accept",
        "arp saddr ip 172.30.0.254 arp daddr ip 172.30.0.12 accept",
        "drop",
    ]


def test_peers_are_cut_off_by_address_and_by_hardware_address() -> None:
    peers = [Peer("172.30.0.13", "02:42:00:00:00:13"), Peer("172.30.0.11")]
    text = rules.partition("ab12", LINK, peers)
    assert chain(text, "ingress")[2:] == [
        "ip saddr { 172.30.0.11, 172.30.0.13 } drop",
        "arp saddr ip { 172.30.0.11, 172.30.0.13 } drop",
        "ether saddr { 02:42:00:00:00:13 } drop",
    ]
    assert chain(text, "egress")[2:] == [
        "ip daddr { 172.30.0.11, 172.30.0.13 } drop",
        "arp daddr ip { 172.30.0.11, 172.30.0.13 } drop",
        "ether daddr { 02:42:00:00:00:13 } drop",
    ]


def test_peers_behind_a_router_have_no_hardware_address() -> None:
    assert "ether" not in rules.partition("ab12", LINK, [Peer("172.30.0.11")])


def test_frames_are_lost_both_ways_but_not_those_of_the_own_ssh() -> None:
    for hook in ("ingress", "egress"):
        *spared, last = chain(rules.loss("ab12", LINK, 20), hook)
        assert last == "numgen random mod 100 < 20 drop"
        assert all(rule.endswith(" accept") for rule in spared)


def test_what_nodes_tell_is_read() -> None:
    told = """\
172.30.0.12 lladdr 02:42:ac:1e:00:0c REACHABLE
172.30.0.13 dev eth0 lladdr 02:42:ac:1e:00:0d STALE
172.30.0.14  FAILED
"""
    assert neighbours(told) == {
        "172.30.0.12": "02:42:ac:1e:00:0c",
        "172.30.0.13": "02:42:ac:1e:00:0d",
    }
    shown = """\
qdisc noqueue 0: dev lo root refcnt 2
qdisc netem de0f: dev eth0 root refcnt 2 limit 1000000 delay 100ms
qdisc netem 8001: dev eth1 root refcnt 2 limit 1000 delay 5ms
"""
    assert delayed(shown) == ["eth0"]


def test_the_peers_of_a_partition_reach_its_rules(world: World, site: FakeSite) -> None:
    with inject([Partition("ctl2", ("ctl1", "ctl2"))], site):
        (text,) = world.machines["ctl2"].tables.values()
    assert "ip saddr { 172.30.0.11 } drop" in text
    assert "ether daddr { 02:42:00:00:00:11 } drop" in text
    with pytest.raises(InputError, match="no node 'ctl7'"):
        Partition("ctl2", ("ctl7",)).prepare(site)


def test_a_partition_in_one_direction_is_none(world: World, site: FakeSite) -> None:
    """A peer that still comes in is seen, though the node itself does not get out."""
    fault = Partition("ctl2", ("ctl1",)).prepare(site)
    both = site.reached

    def reached(name: str, others: Any) -> set[str]:
        return set() if name == "ctl2" else both(name, others)

    site.reached = reached  # type: ignore[method-assign]
    with pytest.raises(NotYet, match="ctl1 still reaches ctl2"):
        fault.confirm(site)


def test_a_delay_is_told_from_a_link_that_was_slow_before(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[list[float | None]] = [[150, 140, 160], [151, 142, 300], [241, 250, None]]
    monkeypatch.setattr(network, "connect_times", lambda *_, **__: times.pop(0))
    fault = Delay("ctl1", 100).prepare(site)
    with pytest.raises(NotYet, match="a connection took 142 ms, and 140 ms before"):
        fault.confirm(site)
    fault.confirm(site)


class Box:
    """A helper's container that answers `code` and `words`."""

    id = "b"

    def __init__(self, code: int, words: str) -> None:
        self.answer = code, (b"out", words.encode())

    def exec_run(self, *_: Any, **__: Any) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("code", "words", "error"),
    [
        (1, "Error: Could not process rule: No such file or directory", NodeError),
        (1, "Error: Could not process rule: Operation not supported", NodeError),
        (2, "Error: Specified qdisc kind is unknown.", NodeError),
        (127, "bash: line 1: nft: command not found", NodeError),
        (1, "Error: syntax error, unexpected newline", NodeError),
        (2, "Error: Exclusivity flag on, cannot modify.", NodeError),
    ],
)
def test_only_a_probe_tells_what_a_kernel_lacks(
    code: int, words: str, error: type[Exception], site: FakeSite
) -> None:
    connection: Any = site.connections["ctl1"]
    box: Any = Box(code, words)
    with pytest.raises(error) as caught:
        Helper(connection, box).run("nft -f -")
    assert words in str(caught.value)
    assert type(caught.value) is error
    with pytest.raises(Unsupported, match=re.escape(words)):
        Helper(connection, box).require("nft --check -f -")
    done: Any = Box(0, "")
    assert Helper(connection, done).run("true") == "out"


@pytest.mark.parametrize(("code", "there"), [(0, True), (1, True), (255, False), (None, False)])
def test_a_node_answers_when_one_can_log_in(
    code: int | None, there: bool, site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **options: Any) -> Any:
        asked.append(command)
        if code is None:
            raise subprocess.TimeoutExpired(command, options["timeout"])
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, "run", run)
    assert Site.answers(site, "ctl1", timeout=2) is there
    assert asked[0][:3] == ["ssh", "-o", "ConnectTimeout=2"]  # Before the node's own.
    assert asked[0][-4:] == ["-S", "none", "root@172.30.0.11", "true"]


def test_an_ssh_that_failed_is_no_proof_that_a_peer_is_not_reached(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 255, b"", b"Connection reset")
    monkeypatch.setattr(site.connections["ctl1"], "run", lambda *_, **__: failed)
    with pytest.raises(NodeError, match="could not be asked"):
        site.reached("ctl1", ["ctl2"])
