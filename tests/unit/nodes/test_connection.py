"""Connections over an ``ssh`` that writes down what it was asked."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from devenv.core.errors import NodeError, WaitTimeout
from devenv.nodes.connection import Connection, File, connected
from devenv.nodes.node import ExternalLink, Node, SshTarget

#: As a master (-M) it makes the forwarded socket's file and lives as long as its stdin; else it
#: answers with the files `out`, `err` and `code`. `refuse` holds the words of a master that fails.
SSH = r"""#!/bin/sh
# In one write: two may write at the same time.
printf '%s\0' "$@" END >> "$FAKE/calls"
case " $* " in
*" -M "*)
    if [ -f "$FAKE/refuse" ]; then cat "$FAKE/refuse" >&2; exit 255; fi
    for word in "$@"; do
        if [ "$before" = -L ]; then : > "${word%%:*}"; fi
        before=$word
    done
    echo $$ > "$FAKE/master"
    exec cat ;;
esac
if [ -f "$FAKE/hang" ]; then exec sleep 30; fi
cat > "$FAKE/stdin"
cat "$FAKE/out"; cat "$FAKE/err" >&2
exit "$(cat "$FAKE/code")"
"""


class Ssh:
    """What the program was asked, and what it answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answer()

    def answer(self, out: str = "", err: str = "", code: int = 0) -> None:
        for name, text in {"out": out, "err": err, "code": str(code)}.items():
            (self.folder / name).write_text(text)

    def refuse(self, words: str) -> None:
        (self.folder / "refuse").write_text(words)

    @property
    def calls(self) -> list[list[str]]:
        text = (self.folder / "calls").read_text() if (self.folder / "calls").exists() else ""
        return [call.split("\0") for call in text.split("\0END\0") if call]

    @property
    def stdin(self) -> bytes:
        return (self.folder / "stdin").read_bytes()

    @property
    def masters(self) -> int:
        return sum("-M" in call for call in self.calls)

    def master_runs(self) -> bool:
        pid = int((self.folder / "master").read_text())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            return True
        return False


class Engine:
    """Stands for docker-py's client; `silent` makes every ping fail."""

    silent = False
    made: list[tuple[str, int]]
    closed: list[Engine]

    def __init__(self, base_url: str, timeout: int) -> None:
        self.made.append((base_url, threading.get_ident()))

    def ping(self) -> None:
        if self.silent:
            raise OSError("no such file")

    def close(self) -> None:
        self.closed.append(self)


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> type[Engine]:
    class Fresh(Engine):
        made: list[tuple[str, int]] = []  # noqa: RUF012
        closed: list[Engine] = []  # noqa: RUF012

    monkeypatch.setattr("docker.DockerClient", Fresh)
    return Fresh


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ssh:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text(SSH)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(folder))
    return Ssh(folder)


def node(name: str = "ctl1", jump: str | None = None) -> Node:
    target = SshTarget("172.30.0.11", Path("/k/id"), Path("/k/known"), "debian", 2222, jump)
    return Node(name, frozenset({"control"}), "172.30.0.11", ExternalLink("", ""), target)


@pytest.fixture
def connection(ssh: Ssh, tmp_path: Path) -> Connection:
    return Connection(node(), tmp_path)


def options(call: list[str]) -> list[str]:
    """The values of ``-o``."""
    return [call[n + 1] for n, word in enumerate(call) if word == "-o"]


def test_the_master_forwards_the_engines_socket(ssh: Ssh, connection: Connection) -> None:
    connection.open()
    (call,) = ssh.calls
    assert call[call.index("-S") + 1] == str(connection.control_path)
    assert call[call.index("-L") + 1] == f"{connection.docker_path}:/var/run/docker.sock"
    assert call[call.index("-i") + 1] == "/k/id"
    assert call[call.index("-p") + 1] == "2222"
    assert "debian@172.30.0.11" in call
    assert {
        "BatchMode=yes", "StrictHostKeyChecking=yes", "UserKnownHostsFile=/k/known",
        "GlobalKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "ExitOnForwardFailure=yes",
        "ControlPersist=no", "StreamLocalBindMask=0177",
    } <= set(options(call))  # fmt: skip
    connection.close()


@pytest.mark.skipif(not shutil.which("ssh"), reason="there is no ssh")
def test_a_real_ssh_takes_the_options(tmp_path: Path) -> None:
    """``-G`` parses all and connects to nothing."""
    argv = Connection(node(jump="a@b"), tmp_path).argv()
    done = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert found["userknownhostsfile"] == "/k/known"
    assert found["stricthostkeychecking"] in ("true", "yes")
    assert found["proxyjump"] == "a@b"
    assert found["controlpath"] == str(Connection(node(), tmp_path).control_path)


def test_closing_ends_the_master_and_leaves_no_file(
    ssh: Ssh, connection: Connection, tmp_path: Path, engine: type[Engine]
) -> None:
    connection.open()
    assert ssh.master_runs()
    connection.close()
    assert not ssh.master_runs()
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]
    assert len(engine.closed) == 1
    connection.close()


@pytest.mark.parametrize(
    "words",
    [
        "debian@172.30.0.11: Permission denied (publickey).",
        "Host key verification failed.",
        "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!",
    ],
)
def test_a_refusal_is_final_at_once(ssh: Ssh, connection: Connection, words: str) -> None:
    ssh.refuse(words)
    begin = time.monotonic()
    with pytest.raises(NodeError, match="SSH was refused") as caught:
        connection.open(timeout=30)
    assert time.monotonic() - begin < 5
    assert ssh.masters == 1
    assert (caught.value.node, caught.value.detail) == ("ctl1", words)
    assert "debian@172.30.0.11" in (caught.value.remedy or "")


def test_a_node_that_boots_is_tried_again_until_the_time_is_over(
    ssh: Ssh, connection: Connection, tmp_path: Path
) -> None:
    ssh.refuse("connect to host 172.30.0.11 port 2222: Connection refused")
    with pytest.raises(WaitTimeout, match=r"SSH to answer; last seen: connect to .* refused"):
        connection.open(timeout=0.5)
    assert ssh.masters > 1
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_a_node_that_answers_later(
    ssh: Ssh, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh.refuse("Connection refused")
    timer = threading.Timer(0.3, (ssh.folder / "refuse").unlink)
    timer.start()
    connection.open(timeout=10)
    assert ssh.masters > 1
    connection.close()


def test_an_engine_that_does_not_answer(
    ssh: Ssh, connection: Connection, engine: type[Engine]
) -> None:
    engine.silent = True
    with pytest.raises(WaitTimeout, match="the Docker Engine to answer; last seen: no such file"):
        connection.open(timeout=0.3)
    connection.close()
    assert not ssh.master_runs()


def test_each_thread_has_its_own_client(connection: Connection, engine: type[Engine]) -> None:
    """docker-py's clients are not thread-safe."""
    assert connection.docker is connection.docker
    other = threading.Thread(target=lambda: connection.docker)
    other.start()
    other.join()
    assert [url for url, _ in engine.made] == [f"unix://{connection.docker_path}"] * 2
    assert len({thread for _, thread in engine.made}) == 2
    connection.close()
    assert len(engine.closed) == 2


# -- commands ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["echo", "a b", "$HOME"], "echo 'a b' '$HOME'"),
        ("cat /etc/* | wc -l", "cat /etc/* | wc -l"),
    ],
)
def test_a_list_is_quoted_and_a_string_is_not(
    ssh: Ssh, connection: Connection, command: list[str] | str, line: str
) -> None:
    ssh.answer(out="said")
    assert connection.run(command).stdout == b"said"
    (call,) = ssh.calls
    assert call[-2:] == ["debian@172.30.0.11", line]
    assert call[call.index("-S") + 1] == str(connection.control_path)


def test_a_command_that_fails(ssh: Ssh, connection: Connection) -> None:
    ssh.answer(out="out", err="no such thing", code=3)
    with pytest.raises(NodeError, match="`ls /x` exited with 3") as caught:
        connection.run(["ls", "/x"])
    assert (caught.value.node, caught.value.detail) == ("ctl1", "no such thing")
    done = connection.run(["ls", "/x"], check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out", b"no such thing")


def test_a_command_that_does_not_end(ssh: Ssh, connection: Connection) -> None:
    (ssh.folder / "hang").touch()
    with pytest.raises(NodeError, match="`sleep 99` did not end in 0 s") as caught:
        connection.run(["sleep", "99"], timeout=0.3)
    assert caught.value.node == "ctl1"


def test_stdin(ssh: Ssh, connection: Connection) -> None:
    connection.run("cat", stdin=b"\0binary\xff")
    assert ssh.stdin == b"\0binary\xff"
    connection.run("cat")
    assert ssh.stdin == b""


def test_put(ssh: Ssh, connection: Connection) -> None:
    connection.put([File("/etc/kolla/x/secret", b"s"), File("/usr/bin/tool", b"#!", 0o755)])
    (call,) = ssh.calls
    assert "tar -x" in call[-1] and "-C /" in call[-1] and "umask 077" in call[-1]
    with tarfile.open(fileobj=io.BytesIO(ssh.stdin)) as archive:
        found = {entry.name: (entry.mode, entry.uid, entry.size) for entry in archive}
    assert found == {"etc/kolla/x/secret": (0o600, 0, 1), "usr/bin/tool": (0o755, 0, 2)}


def test_what_put_sends_can_be_unpacked(ssh: Ssh, connection: Connection, tmp_path: Path) -> None:
    """The command itself, with another root."""
    root = tmp_path / "root"
    root.mkdir()
    connection.put([File("/etc/a/b", b"1", 0o640)])
    command = ssh.calls[0][-1].replace("-C / ", f"-C {root} ")
    subprocess.run(["sh", "-c", command], input=ssh.stdin, check=True)
    assert (root / "etc/a/b").read_bytes() == b"1"
    assert (root / "etc/a/b").stat().st_mode & 0o777 == 0o640
    assert (root / "etc/a").stat().st_mode & 0o777 == 0o700


def test_read(ssh: Ssh, connection: Connection) -> None:
    ssh.answer(out="content")
    assert connection.read("/etc/it's") == b"content"
    assert ssh.calls[0][-1] == """cat '/etc/it'"'"'s'"""
    ssh.answer(err="No such file or directory", code=1)
    assert connection.read("/gone") is None


def test_argv_is_for_a_terminal(connection: Connection) -> None:
    argv = connection.argv(["bash", "-c", "echo hi"], tty=True)
    assert argv[0] == "ssh"
    assert argv[-3:] == ["-t", "debian@172.30.0.11", "bash -c 'echo hi'"]
    assert connection.argv()[-1] == "debian@172.30.0.11"


# -- several -----------------------------------------------------------------------------

Made = Callable[[str], Node]


def test_connected_opens_all_and_closes_all(ssh: Ssh, tmp_path: Path) -> None:
    with connected([node("a"), node("b")], tmp_path) as connections:
        assert list(connections) == ["a", "b"]
        assert ssh.masters == 2
        assert connections["a"].docker_path.exists() and connections["b"].docker_path.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_connected_closes_after_an_error(ssh: Ssh, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), connected([node("a")], tmp_path):
        raise RuntimeError
    assert not ssh.master_runs()
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_lenient_leaves_out_who_does_not_answer(ssh: Ssh, tmp_path: Path) -> None:
    ssh.refuse("Permission denied")
    with connected([node("a")], tmp_path, 0.2, lenient=True) as connections:
        assert connections == {}
    with pytest.raises(NodeError), connected([node("a")], tmp_path, 0.2):
        pass


def test_no_node_at_all(tmp_path: Path) -> None:
    with connected([], tmp_path) as connections:
        assert connections == {}
