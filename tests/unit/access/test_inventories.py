"""Inventories, read back by the tools that they are for."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from devenv.access.ssh import ansible_inventory, ssh_config
from devenv.nodes.node import ExternalLink, Node, SshTarget


def node(name: str, *roles: str, state: str = "/state", jump: str | None = None) -> Node:
    target = SshTarget(
        "172.30.0.11", Path(state, "key"), Path(state, "known_hosts"), "debian", 2222, jump
    )
    return Node(name, frozenset(roles), "10.0.0.11", ExternalLink("", ""), target)


def effective(tmp_path: Path, text: str, host: str) -> dict[str, str]:
    """What ssh makes of a host with this configuration and no other."""
    file = tmp_path / "ssh_config"
    file.write_text(text)
    done = subprocess.run(
        ["ssh", "-G", "-F", str(file), host], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


needs_ssh = pytest.mark.skipif(not shutil.which("ssh"), reason="there is no ssh")


@needs_ssh
@pytest.mark.parametrize("state", ["/state", "/home/me/with space"])
def test_ssh_config(tmp_path: Path, state: str) -> None:
    text = ssh_config("lab", [node("other", state=state), node("ctl1", state=state, jump="a@b:3")])
    found = effective(tmp_path, text, "devenv-lab-ctl1")
    assert found["hostname"] == "172.30.0.11"
    assert found["user"] == "debian"
    assert found["port"] == "2222"
    assert found["identityfile"].strip('"') == f"{state}/key"
    assert found["userknownhostsfile"].strip('"') == f"{state}/known_hosts"
    assert found["identitiesonly"] == "yes"
    assert found["stricthostkeychecking"] in ("true", "yes")
    assert found["proxyjump"] == "a@b:3"
    assert "proxyjump" not in effective(tmp_path, text, "devenv-lab-other")


@needs_ssh
def test_ssh_config_is_for_our_hosts_only(tmp_path: Path) -> None:
    found = effective(tmp_path, ssh_config("lab", [node("ctl1")]), "elsewhere")
    assert found["hostname"] == "elsewhere"
    assert found["port"] == "22"


def test_ansible_inventory() -> None:
    nodes = [node("ctl1", "control", "network"), node("cmp1", "compute", jump="a@b")]
    parsed = configparser.ConfigParser(allow_no_value=True, delimiters=("\0",))
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string("[hosts]\n" + ansible_inventory(nodes))
    assert {name: list(parsed[name]) for name in parsed.sections() if name != "hosts"} == {
        "compute": ["cmp1"],
        "control": ["ctl1"],
        "network": ["ctl1"],
    }
    first, second = (shlex.split(line) for line in parsed["hosts"])
    assert first == [
        "ctl1",
        "ansible_host=172.30.0.11",
        "ansible_port=2222",
        "ansible_user=debian",
        "ansible_ssh_private_key_file=/state/key",
        "ansible_ssh_common_args=-o UserKnownHostsFile=/state/known_hosts",
    ]
    assert second[0] == "cmp1"
    assert second[-1] == "ansible_ssh_common_args=-o UserKnownHostsFile=/state/known_hosts -J a@b"
