"""The key pair of an environment."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from devenv.nodes.container import write_known_hosts
from devenv.nodes.keys import key_pair


def test_a_pair_is_made_once(tmp_path: Path) -> None:
    private, public = key_pair(tmp_path)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert public.startswith("ssh-ed25519 AAAA") and public.endswith(" devenv")
    content = private.read_bytes()
    assert key_pair(tmp_path) == (private, public)
    assert private.read_bytes() == content


@pytest.mark.parametrize("lost", ["id_ed25519", "id_ed25519.pub"])
def test_half_a_pair_is_none(tmp_path: Path, lost: str) -> None:
    """A kill between the two files."""
    _, before = key_pair(tmp_path)
    (tmp_path / lost).unlink()
    private, after = key_pair(tmp_path)
    assert after != before
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="there is no ssh-keygen")
def test_openssh_reads_it(tmp_path: Path) -> None:
    private, public = key_pair(tmp_path)
    done = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(private)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[:2] == public.split()[:2]


def test_known_hosts(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    write_known_hosts(file, {"10.0.0.2": "ssh-ed25519 B", "10.0.0.1": "ssh-ed25519 A"})
    assert file.read_text() == "10.0.0.1 ssh-ed25519 A\n10.0.0.2 ssh-ed25519 B\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
