#!/usr/bin/env python3
"""A `vagrant`, a `virsh` and an `ssh` that answer as the real ones do, without any machine.

As a program it goes by the name that it is called by and keeps its world in the file $FAKE_WORLD.
In a test, :func:`install` has the provider call it without a process, which is much faster; what is
real about its answers is compared with the real programs' in tests/e2e/test_vagrant_contract.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from vagrant_fake_virsh import Answer, Virsh

_INSECURE = "/root/.vagrant.d/insecure_private_key"


def empty() -> dict[str, Any]:
    """A world without anything of ours; with the network that libvirt has from the start."""
    return {
        "domains": {},
        "networks": {"default": {"cidr": "192.168.122.0/24", "active": True, "forward": "nat"}},
        "volumes": [],
        "secrets": {},
        "boxes": [["debian/trixie64", "libvirt", "1.0"]],
        "pools": {},
        "broken": "",
    }


class World(Virsh):
    """Domains, networks, volumes and boxes, and the programs that change them."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        super().__init__(state or empty())

    def call(self, command: Sequence[str], stdin: str, environment: Mapping[str, str]) -> Answer:
        """What a program answers."""
        program = Path(command[0]).name
        if program == "vagrant":
            return self._vagrant(list(command[1:]), environment)
        if program == "virsh":
            words = list(command[1:])
            while words and words[0] in ("-q", "-c"):
                words = words[1:] if words[0] == "-q" else words[2:]
            method: Callable[..., Answer] = getattr(self, "_" + words[0].replace("-", "_"))
            return method(*words[1:])
        if program == "ssh":
            return self._ssh(list(command[1:]), stdin)
        raise AssertionError(f"nobody expects {command}")

    # -- vagrant -----------------------------------------------------------------------

    def _vagrant(self, words: list[str], environment: Mapping[str, str]) -> Answer:
        words = [word for word in words if word != "--machine-readable"]
        if words == ["plugin", "list"]:
            return 0, "vagrant-libvirt (0.11.2, system)\n", ""
        if words[0] == "box":
            return self._box(words[1:])
        wanted = json.loads((Path(environment["VAGRANT_CWD"]) / "nodes.json").read_text())
        names = [word for word in words[1:] if not word.startswith("--")]
        if words[0] == "up":
            return self._up(wanted, names)
        if words[0] == "ssh-config":
            return 0, "".join(self._ssh_config(wanted, name) for name in names), ""
        if words[0] == "destroy":
            return 0, "==> Domain is not created. Please run `vagrant up` first.\n", ""
        raise AssertionError(f"nobody expects vagrant {words}")

    def _box(self, words: list[str]) -> Answer:
        if words[0] == "list":
            lines = []
            for name, provider, version in self.state["boxes"]:
                for kind, value in (("name", name), ("provider", provider), ("version", version)):
                    lines.append(f"{_now()},,box-{kind},{value}\n")
            return 0, "".join(lines), ""
        file = Path(words[-1])
        if not file.is_file():
            said = f"The box '{words[-1]}' could not be found or\ncould not be accessed"
            return 1, "", f"{said} in the remote catalog.\n"
        made = json.loads(file.read_text())
        for version in made["versions"]:
            for provider in version["providers"]:
                self.state["boxes"].append([made["name"], provider["name"], version["version"]])
        return 0, "", ""

    def _up(self, wanted: dict[str, Any], names: list[str]) -> Answer:
        has = any(box[0] == wanted["box"] for box in self.state["boxes"])
        if not has:
            said = f"The box '{wanted['box']}' could not be found."
            return 1, f"{_now()},,error-exit,Vagrant::Errors::BoxNotFound,{said}\n", ""
        lines = []
        for node in wanted["nodes"]:
            if node["name"] not in names:
                continue
            name = wanted["prefix"] + node["name"]
            assert name not in self.domains, "a machine of that name is there"
            if f"{name}.img" in self.state["volumes"]:
                said = "Volume for domain is already created."
                return 1, f"{_now()},,error-exit,DomainVolumeExists,{said}\n", ""
            networks = [wanted["management"]["name"], *(net["name"] for net in node["networks"])]
            for network in networks:
                assert self.state["networks"][network]["active"], network
            said = "Creating domain with the following settings..."
            lines.append(f"{_now()},{node['name']},ui,info,==> {node['name']}: {said}\n")
            self.state["volumes"] += [f"{name}.img", Path(node["console"]).name]
            number = sum(1 for _ in self.domains) + 2
            management = IPv4Network(wanted["management"]["cidr"])
            while str(management[number]) in {d["management"] for d in self.domains.values()}:
                number += 1
            self.domains[name] = {
                "state": "running", "description": "", "uuid": str(uuid.uuid4()), "boots": 1,
                "type": "qemu" if wanted["emulated"] else "kvm", "memory": node["memory"] * 1024,
                "cpus": node["cpus"], "networks": networks, "management": str(management[number]),
                "address": node["networks"][0]["address"], "snapshots": {}, "hosts": "", "key": "",
                "host_key": f"ssh-ed25519 {uuid.uuid4().hex}",
            }  # fmt: skip
            if self.state["broken"] == node["name"]:
                said = "The specified wait_for timeout (2 seconds) was exceeded"
                error = "Fog::Errors::TimeoutError"
                return 1, "".join(lines) + f"{_now()},,error-exit,{error},{said}\n", ""
        return 0, "".join(lines), ""

    def _ssh_config(self, wanted: dict[str, Any], name: str) -> str:
        domain = self.domains[wanted["prefix"] + name]
        return (
            f"Host {name}\n  HostName {domain['management']}\n  User vagrant\n  Port 22\n"
            "  UserKnownHostsFile /dev/null\n  StrictHostKeyChecking no\n"
            f"  PasswordAuthentication no\n  IdentityFile {_INSECURE}\n"
            "  IdentitiesOnly yes\n  LogLevel FATAL\n\n"
        )

    # -- ssh ---------------------------------------------------------------------------

    def _ssh(self, words: list[str], stdin: str) -> Answer:
        user, host = next(word for word in words if re.fullmatch(r"\w+@[\d.]+", word)).split("@")
        key = words[words.index("-i") + 1]
        domain = next(
            (d for d in self.domains.values() if host in (d["management"], d["address"])), None
        )
        if domain is None or domain["state"] != "running":
            return 255, "", f"ssh: connect to host {host} port 22: Connection timed out\n"
        ours = "" if key == _INSECURE else Path(f"{key}.pub").read_text().strip()
        if domain["key"] != ours or (user == "root" and not domain["key"]):
            return 255, "", f"{user}@{host}: Permission denied (publickey).\n"
        if user == "root":
            known = Path(_option(words, "UserKnownHostsFile")).read_text().splitlines()
            if f"{host} {domain['host_key']}" not in known:
                return 255, "", "Host key verification failed.\n"
        values = _assignments(stdin)
        domain["hosts"] = values["HOSTS"]
        if "NETWORK" not in values:
            return 0, "", ""
        assert "sudo" in words and values["NETWORK"].count("give 52:54:00:") == 2
        domain["key"] = values["KEY"]
        return 0, f"devenv-node eth1 eth2 {domain['host_key']}\n", ""


def _option(words: list[str], name: str) -> str:
    return next(word.partition("=")[2] for word in words if word.startswith(f"{name}="))


def _assignments(script: str) -> dict[str, str]:
    """The values that the script begins with, as a shell would read them."""
    found: dict[str, str] = {}
    while match := re.match(r"([A-Z]+)=('(?:[^']|'\"'\"')*'|\S+)\n", script):
        found[match[1]] = "".join(shlex.split(match[2]))
        script = script[match.end() :]
    return found


def _now() -> str:
    return str(int(time.time()))


def install(world: World, patch: Any) -> None:
    """Have the provider's calls answered by `world`, and this machine have what it needs."""
    from devenv.host import resources
    from devenv.host.checks import Check
    from devenv.providers import vagrant, vagrant_checks, vagrant_tools

    lock = threading.Lock()

    def run(
        command: Sequence[str],
        *,
        stdin: str = "",
        timeout: float = 0,
        environment: Mapping[str, str] | None = None,
    ) -> vagrant_tools.Done:
        with lock:
            return vagrant_tools.Done(*world.call(command, stdin, environment or {}))

    def stream(
        command: Sequence[str],
        each: Callable[[str], None],
        *,
        timeout: float,
        environment: Mapping[str, str],
        pid_file: Path,
    ) -> int:
        done = run(command, environment=environment)
        for line in done.out.splitlines():
            each(line)
        return done.code

    patch.setattr(vagrant_tools, "run", run)
    patch.setattr(vagrant_tools, "stream", stream)
    patch.setattr(vagrant_checks, "kvm_boots", lambda: False)
    patch.setattr(vagrant_checks, "engine_check", lambda: Check("engine", True, "it answers"))
    patch.setattr(resources, "routes", list)
    there = {"virsh", "vagrant", "ssh"}
    for module in (vagrant, vagrant_checks):
        patch.setattr(module, "which", lambda name: name if name in there else None)


def main() -> int:
    """The program: one call, with the world locked meanwhile."""
    stdin = "" if sys.stdin.isatty() else sys.stdin.read()
    with Path(os.environ["FAKE_WORLD"]).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        world = World(json.loads(file.read() or "null"))
        code, out, error = world.call(sys.argv, stdin, os.environ)
        file.seek(0)
        file.truncate()
        json.dump(world.state, file)
    sys.stdout.write(out)
    sys.stderr.write(error)
    return code


if __name__ == "__main__":
    sys.exit(main())
