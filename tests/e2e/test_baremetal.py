"""Two hosts that had no Docker become an environment, and are left as they were found."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
import testinfra
from baremetal_lab import Lab, LabHost, lab
from docker.models.containers import Container
from environments import Devenv

from devenv.core.events import Events
from devenv.images.store import ensure_node_image
from devenv.providers import baremetal_facts, baremetal_firewall
from devenv.providers.baremetal_ssh import Done

SERVICES = "{disable: [glance, keystone, libvirt, loadbalancer, mariadb, neutron, nova, ovn, placement, rabbitmq, seed]}"  # noqa: E501
#: Lines of a snapshot that may differ, each with its reason.
EXCEPTIONS = {
    r" \.?/var/log/": "what happened stays on record",
    r" \.?/var/cache/(apt|debconf|ldconfig)": "caches of apt, debconf and ldconfig",
    r" \.?/var/lib/apt/(lists|periodic|extended_states)": "the lists of `apt-get update`",
    r" \.?/var/lib/dpkg/(status-old|available-old|diversions-old|statoverride-old|lock|triggers)":
        "dpkg's own copies and locks",
    r" \.?/etc/(group|gshadow|passwd|shadow|subuid|subgid)-( |$)": "backups of the tools for users",
    r" \.?/etc/\.pwd\.lock": "the lock of the tools for users",
    r" \.?/etc/ld\.so\.cache": "made anew by ldconfig",
    r" \.?/run/(sudo|motd|sshd|utmp|systemd)": "logins leave their marks",
    r"^rule .*(127\.0\.0\.11|xt target)": "counters of the resolver that the lab's engine gives",
    r"^process (sshd-|ps|sh|sed|sort) ": "who looks and logs in",
}  # fmt: skip


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two hosts."""
    with lab(["ctl", "cmp"], tmp_path_factory.mktemp("key")) as made:
        yield made


@pytest.fixture(scope="module")
def topology(rack: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache on the first, a switch on the second."""
    file = tmp_path_factory.mktemp("rack") / "rack.yaml"
    file.write_text(
        "version: 1\ndefaults: {memory: 1GiB, cpus: 1, disk: 2GiB}\n"
        "nodes:\n  ctl: {roles: [control]}\n  cmp: {roles: [compute]}\n"
        f"services: {SERVICES}\n{rack.section()}"
    )
    return file


def containers(host: LabHost) -> dict[str, str]:
    """When each container was started."""
    lines = host.run(
        "docker ps --format '{{.Names}}' | xargs -r docker inspect "
        "--format '{{.Name}} {{.State.StartedAt}}'"
    ).splitlines()
    return dict(line.split() for line in lines)


def differences(before: list[str], after: list[str]) -> list[str]:
    """What is not as it was, without the exceptions."""
    gone, new = set(before) - set(after), set(after) - set(before)
    lines = [f"- {line}" for line in sorted(gone)] + [f"+ {line}" for line in sorted(new)]
    return [line for line in lines if not any(re.search(e, line[2:]) for e in EXCEPTIONS)]


def test_hosts_become_nodes_and_are_left_as_they_were_found(
    rack: Lab, topology: Path, devenv: Devenv
) -> None:
    ctl, cmp = rack.hosts["ctl"], rack.hosts["cmp"]
    before = {name: host.snapshot() for name, host in rack.hosts.items()}

    # Somebody else's host, and one that is not what the topology asks for: one table, no change.
    cmp.run("mkdir -p /etc/devenv; printf %s '" + _foreign(cmp) + "' > /etc/devenv/lock.json")
    refused = devenv("up", "--topology", topology, code=2)
    assert "environment 'other' of somebody@elsewhere, until 2999-01-01" in refused.stderr
    cmp.run("rm -r /etc/devenv")
    assert {name: differences(before[name], h.snapshot()) for name, h in rack.hosts.items()} == {
        "ctl": [],
        "cmp": [],
    }

    devenv("up", "--topology", topology)
    assert "memcached" in "".join(containers(ctl)) and "vswitchd" in "".join(containers(cmp))
    status = json.loads(devenv("status", "--output", "json").stdout)
    assert status["environment"] == devenv.name
    started = {name: containers(host) for name, host in rack.hosts.items()}
    devenv("up", "--topology", topology)
    assert {name: containers(host) for name, host in rack.hosts.items()} == started

    # Assertions of testinfra over SSH, as root with the environment's own key.
    state = devenv.home / "environments" / devenv.name
    config = state / "ssh_config"
    config.write_text(
        "".join(
            f"Host {name}\n  HostName {host.address}\n  User root\n"
            f"  IdentityFile {state}/id_ed25519\n  UserKnownHostsFile {state}/known_hosts\n"
            for name, host in rack.hosts.items()
        )
    )
    hosts = {
        name: testinfra.get_host(f"ssh://{name}", ssh_config=str(config)) for name in rack.hosts
    }
    assert hosts["ctl"].docker("memcached").is_running
    assert hosts["ctl"].socket(f"tcp://{ctl.address}:11211").is_listening
    assert hosts["ctl"].addr("cmp").ipv4_addresses == [cmp.address]
    bridge = hosts["cmp"].interface("br-ex")
    assert cmp.outside in bridge.addresses and hosts["cmp"].interface("eth1").addresses == []
    # The firewall is still there, and lets the nodes talk, nobody else.
    rules = ctl.run("nft list chain inet filter input")
    assert "policy drop" in rules and f'ip saddr {cmp.address} accept comment "devenv' in rules
    assert _reaches(cmp, ctl.address) and not _reaches_from_outside(ctl)

    # Another environment is told who has the host.
    other = Devenv(f"{devenv.name}-other", devenv.home)
    said = other("up", "--topology", topology, code=2).stderr
    assert f"environment {devenv.name!r}" in said and "until" in said

    devenv("down", "--restore-host")
    assert {name: differences(before[name], h.snapshot()) for name, h in rack.hosts.items()} == {
        "ctl": [],
        "cmp": [],
    }


@dataclass(frozen=True)
class InContainer:
    """A shell in a container, as devenv.providers.baremetal_ssh has it."""

    container: Container

    def run(
        self, script: str, *, stdin: str = "", check: bool = True, timeout: float = 120
    ) -> Done:
        """Run a script as root."""
        code, out = self.container.exec_run(["sh", "-c", script])
        assert code == 0 or not check, out
        return Done(code, out.decode())


CHAIN = "{type filter hook input priority 0; policy drop;}"
RULES = {
    "nft": f"nft add table inet f; nft 'add chain inet f in {CHAIN}'; "
    "nft add rule inet f in tcp dport 22 accept comment labs",
    "iptables": "iptables -P INPUT DROP; iptables -A INPUT -s 192.0.2.9 -m comment "
    "--comment devenv:labs -j ACCEPT",
}


@pytest.mark.parametrize("kind", list(RULES))
def test_rules_come_and_go_and_others_stay(kind: str) -> None:
    client = docker.from_env()
    box = client.containers.run(
        ensure_node_image(client, Events()), ["sleep", "300"], entrypoint=[], detach=True,
        cap_add=["NET_ADMIN"], init=True,
    )  # fmt: skip
    try:
        shell = InContainer(box)
        shell.run(RULES[kind])
        before = shell.run("nft list ruleset; iptables -S").out
        for addresses in (["192.0.2.1", "192.0.2.2"], ["192.0.2.2"]) * 2:
            filters = baremetal_facts.gather(shell).filters
            baremetal_firewall.allow(shell, filters, "lab", addresses)
            rules = shell.run("nft list ruleset").out
            assert all(rules.count(f"ip saddr {address} ") == 1 for address in addresses)
        shell.run(baremetal_facts.PREFACE + baremetal_firewall.removal("lab", ()))
        assert shell.run("nft list ruleset; iptables -S").out == before
    finally:
        box.remove(force=True)


def _foreign(host: LabHost) -> str:
    """A lock that somebody else has."""
    member = {
        "name": "x", "roles": ["control"], "order": 0, "address": host.address, "interface": "",
        "outside": "172.31.0.11/24",
    }  # fmt: skip
    place = {
        "source": "x", "api": "10.0.0.0/24", "external": "172.31.0.0/24", "vip": "10.0.0.1",
        "gateway": "172.31.0.1", "virtual": False,
    }  # fmt: skip
    lock = {
        "environment": "other", "owner": "somebody@elsewhere", "since": "2026-01-01T00:00:00Z",
        "until": "2999-01-01T00:00:00Z", "id": "1", "member": member, "place": place,
    }  # fmt: skip
    return json.dumps(lock)


def _reaches(host: LabHost, address: str, port: int = 11211) -> bool:
    script = f"timeout 2 bash -c ': > /dev/tcp/{address}/{port}' && echo yes || echo no"
    return host.run(script).strip() == "yes"


def _reaches_from_outside(host: LabHost) -> bool:
    """Whether memcached answers on a network whose addresses nobody accepts."""
    done = subprocess.run(
        ["timeout", "2", "bash", "-c", f": > /dev/tcp/{host.outside}/11211"],
        capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == 0
