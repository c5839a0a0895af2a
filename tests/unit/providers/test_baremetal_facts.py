"""What hosts print, and what is read out of it."""

from __future__ import annotations

import json
from ipaddress import IPv4Interface

import pytest

from devenv.providers.baremetal_facts import parse
from devenv.providers.baremetal_firewall import Filters

DEBIAN = """
@os
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
ID=debian

@machine
x86_64
8
1700000010.250000000

@memory
MemTotal:       16384000 kB
MemFree:         1000000 kB

@disk
Filesystem     1024-blocks     Used Available Capacity Mounted on
/dev/mapper/vg-root  102400000 50000000  47000000      52% /

@tools
apt-get
dockerd
docker
ip
@systemd
yes
@apparmor
Y
@sshd
permitrootlogin without-password
allowstreamlocalforwarding yes
disableforwarding no
@addresses
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
2: eno1    inet 192.168.7.21/24 brd 192.168.7.255 scope global eno1\\       valid_lft forever
2: eno1    inet 192.168.7.99/32 scope global eno1\\       valid_lft forever
@links
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT
2: eno1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP mode DEFAULT
3: eno2: <NO-CARRIER,BROADCAST,MULTICAST> mtu 1500 qdisc mq master bond0 state DOWN mode DEFAULT
4: vlan7@eno1: <BROADCAST,UP> mtu 1500 qdisc noqueue state UP mode DEFAULT
@routes
default via 192.168.7.1 dev eno1 proto static
@engine
27.5.1
@containers
registry 
memcached lab
@lock
{"half": 
@journal
@absent
/etc/kolla
@groups
root
docker
@sysctls
net.ipv4.tcp_retries2=15
@firewalld
@ufw
@nft
@iptables
"""  # noqa: W291 - as docker prints it


def test_a_host_of_debian() -> None:
    facts = parse(DEBIAN, now=1700000000.0)
    assert (facts.system, facts.family, facts.arch) == (
        "Debian GNU/Linux 12 (bookworm)", "debian", "x86_64",
    )  # fmt: skip
    assert (facts.cpus, facts.memory, facts.disk) == (8, 16384000 * 1024, 47000000 * 1024)
    assert facts.skew == pytest.approx(10.25)
    assert facts.systemd and facts.apparmor and not facts.pending
    assert facts.links["eno1"].addresses == (
        IPv4Interface("192.168.7.21/24"), IPv4Interface("192.168.7.99/32"),
    )  # fmt: skip
    assert facts.links["eno1"].routed and facts.links["eno1"].up
    assert facts.links["eno2"].master == "bond0" and not facts.links["eno2"].up
    assert facts.links["vlan7"].master == ""
    assert facts.containers == (("registry", ""), ("memcached", "lab"))
    assert facts.engine == "27.5.1" and facts.sshd["permitrootlogin"] == "without-password"
    assert facts.lock is None and facts.changes is None
    assert facts.absent == ("/etc/kolla",) and facts.sysctls == {"net.ipv4.tcp_retries2": "15"}
    assert facts.filters == Filters()


@pytest.mark.parametrize(
    ("release", "family"),
    [
        ("ID=ubuntu\nID_LIKE=debian", "debian"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"', "fedora"),
        ("ID=fedora", "fedora"),
        ("ID=arch", "other"),
        ("# nothing", "other"),
    ],
)
def test_families(release: str, family: str) -> None:
    assert parse(f"@os\n{release}\n", 0).family == family


def test_a_host_that_says_nothing() -> None:
    facts = parse("", 0)
    assert facts.memory == facts.cpus == facts.disk == 0 and facts.links == {}


# -- firewalls -----------------------------------------------------------------------------------


def ruleset(policy: str, *rules: dict[str, object]) -> list[str]:
    """As ``nft -j list ruleset`` prints it."""
    key = {"family": "inet", "table": "filter"}
    chain = {**key, "name": "input", "type": "filter", "hook": "input", "policy": policy}
    entries: list[dict[str, object]] = [{"metainfo": {"version": "1.1"}}, {"chain": chain}]
    entries += [{"rule": {**key, "chain": "input", "handle": 7, **rule}} for rule in rules]
    return [json.dumps({"nftables": entries})]


def filters(**said: list[str]) -> Filters:
    nothing: dict[str, list[str]] = {"firewalld": [], "ufw": [], "nft": [], "iptables": []}
    return Filters.parse(**{**nothing, **said})


def test_a_policy_that_drops() -> None:
    found = filters(nft=ruleset("drop"))
    assert found.kind == "nft" and found.chains == (("inet", "filter", "input"),)


def test_rules_that_refuse() -> None:
    assert filters(nft=ruleset("accept")).kind == "none"
    for verdict in ({"drop": None}, {"reject": None}, {"jump": {"target": "blocked"}}):
        assert filters(nft=ruleset("accept", {"expr": [verdict]})).kind == "nft"


def test_our_rules_are_known_again() -> None:
    match = {
        "match": {
            "op": "==",
            "left": {"payload": {"protocol": "ip", "field": "saddr"}},
            "right": "10.0.0.7",
        }
    }
    rule = {"comment": "devenv:lab", "expr": [match, {"accept": None}]}
    assert filters(nft=ruleset("drop", rule)).marked == {("devenv:lab", "10.0.0.7")}
    line = '-A INPUT -s 10.0.0.7/32 -m comment --comment "devenv:lab" -j ACCEPT'
    found = filters(iptables=["-P INPUT DROP", line])
    assert found.kind == "iptables" and found.marked == {("devenv:lab", "10.0.0.7")}


def test_managers_come_before_the_rules_that_they_make() -> None:
    found = filters(firewalld=["running", "10.0.0.1 10.0.0.2"], nft=ruleset("drop"))
    assert found.kind == "firewalld" and found.accepted == {"10.0.0.1", "10.0.0.2"}
    status = ["Status: active", "To   Action  From", "Anywhere  ALLOW  10.0.0.7  # devenv:lab"]
    assert filters(ufw=status, nft=ruleset("drop")).accepted == {"10.0.0.7"}
    assert filters(ufw=["Status: inactive"]).kind == "none"
