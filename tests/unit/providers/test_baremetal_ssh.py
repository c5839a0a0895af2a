"""SSH's and sudo's words as errors that say what to do, and host keys that are pinned."""

from __future__ import annotations

from pathlib import Path

import pytest

from devenv.core.errors import NodeError
from devenv.nodes.node import SshTarget
from devenv.providers.baremetal_ssh import (
    KeyRefused,
    NotRoot,
    OtherHostKey,
    Unreachable,
    as_root,
    login,
    pin,
)
from devenv.topology.machines import Host


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for ssh: tests write what it does."""
    file = tmp_path / "bin/ssh"
    file.parent.mkdir()
    file.touch(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}:/usr/bin:/bin")
    return file


def host(**more: object) -> Host:
    return Host.model_validate({"address": "192.0.2.7", **more})


@pytest.mark.parametrize(
    ("said", "code", "kind", "remedy"),
    [
        ("adm@192.0.2.7: Permission denied (publickey).", 255, KeyRefused, "ssh-copy-id"),
        ("REMOTE HOST IDENTIFICATION HAS CHANGED!", 255, OtherHostKey, "host_key"),
        ("Host key verification failed.", 255, OtherHostKey, "host_key"),
        ("connect to host 192.0.2.7 port 22: No route to host", 255, Unreachable, "ssh -o"),
        ("Timeout, server 192.0.2.7 not responding.", 255, Unreachable, "goes on from there"),
        ("sudo: a password is required", 1, NotRoot, "NOPASSWD"),
        ("sh: 1: sudo: not found", 127, NotRoot, "user: root"),
        ("E: Unable to locate package", 100, NodeError, ""),
    ],
)
def test_what_went_wrong(
    ssh: Path, tmp_path: Path, said: str, code: int, kind: type[NodeError], remedy: str
) -> None:
    ssh.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit {code}\n")
    with pytest.raises(NodeError) as caught:
        login("ctl1", host(user="adm"), tmp_path / "known_hosts").run("true")
    assert type(caught.value) is kind and caught.value.node == "ctl1"
    assert said in (caught.value.detail or "") and remedy in (caught.value.remedy or "")


def test_a_host_that_hangs(ssh: Path, tmp_path: Path) -> None:
    ssh.write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(Unreachable, match="did not end"):
        login("ctl1", host(), tmp_path / "known_hosts").run("true", timeout=0.1)


def test_scripts_arrive_whole(ssh: Path, tmp_path: Path) -> None:
    """As sshd does it: all words are joined and given to the user's shell."""
    ssh.write_text('#!/bin/bash\nexec sh -c "${@: -1}"\n')
    done = login("ctl1", host(), tmp_path / "known_hosts").run(
        "read -r line\necho \"$line 'and' \\$HOME\"\nexit 3", stdin="in\n", check=False
    )
    assert (done.code, done.out) == (3, "in 'and' $HOME\n")


def test_who_logs_in(ssh: Path, tmp_path: Path) -> None:
    ssh.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    known, key = tmp_path / "known_hosts", tmp_path / "key"
    key.touch()
    shell = login("x", host(user="adm", key=key, port=2222, ssh_host="bmc.example.org"), known)
    words = shell.run("true").out.splitlines()
    assert words[-2:] == ["adm@bmc.example.org", "sudo -n sh -c true"]
    assert {"IdentitiesOnly=yes", str(key), "2222", f"UserKnownHostsFile={known}"} <= set(words)
    assert "StrictHostKeyChecking=accept-new" in words and "BatchMode=yes" in words
    words = login("x", host(), known).run("true").out.splitlines()
    assert "-i" not in words and words[-2:] == ["root@192.0.2.7", "sh -c true"]
    target = SshTarget("192.0.2.7", key, known)
    words = as_root("x", target).run("true").out.splitlines()
    assert "StrictHostKeyChecking=yes" in words and str(key) in words


def test_a_given_host_key_is_the_only_one(tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text("192.0.2.8 ssh-ed25519 OTHER\n192.0.2.7 ssh-ed25519 OLD\n")
    pin(host(), known)
    assert "OLD" in known.read_text(), "what was seen first stays"
    for _ in range(2):
        pin(host(host_key="ssh-ed25519 NEW root@ctl1"), known)
        assert known.read_text().splitlines() == [
            "192.0.2.8 ssh-ed25519 OTHER", "192.0.2.7 ssh-ed25519 NEW",
        ]  # fmt: skip
    pin(host(host_key="ssh-ed25519 NEW", port=2222), known)
    assert "[192.0.2.7]:2222 ssh-ed25519 NEW" in known.read_text()
