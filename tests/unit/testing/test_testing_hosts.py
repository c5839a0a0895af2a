from __future__ import annotations

import subprocess
from pathlib import Path

from devenv.nodes.connection import Connection
from devenv.nodes.node import ExternalLink, Node, SshTarget
from devenv.testing.hosts import host_names, ssh_config


def test_ssh_uses_the_master_that_is_there(tmp_path: Path) -> None:
    target = SshTarget("127.0.0.2", tmp_path / "key", tmp_path / "known", port=2222)
    node = Node("ctl1", frozenset({"control"}), "10.0.0.2", ExternalLink("", "10.1.0.2/24"), target)
    connections = {"ctl1": Connection(node, tmp_path / "so%ckets")}
    config = tmp_path / "config"
    config.write_text(ssh_config("lab", connections))
    (name,) = host_names("lab", connections).values()
    assert name == "devenv-lab-ctl1"
    said = subprocess.run(
        ["ssh", "-G", "-F", config, name], capture_output=True, text=True, check=True
    ).stdout
    options = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    assert options["hostname"] == "127.0.0.2"
    assert options["port"] == "2222"
    # As it stands in ssh: %% is one % when it is used.
    assert options["controlpath"].replace("%%", "%") == str(connections["ctl1"].control_path)
    assert options["controlmaster"] == "false"
