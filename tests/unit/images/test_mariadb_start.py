"""How a database comes to its first data, and a cluster of them to its first view."""

from __future__ import annotations

import re
import subprocess
import tarfile
from pathlib import Path

import pytest
from image_scripts import Machine
from kolla_container import BASE

DATA = "/var/lib/mysql"
EMPTY = "/usr/local/share/mariadb-empty.tar.gz"
MEMBERS = ("172.30.0.11", "172.30.0.12", "172.30.0.13")
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-8000-[0-9a-f]{12}"
#: Reads the statements of a bootstrap, tells the position when asked for it, fails when told to.
MARIADBD = f"""
[[ ! -e {DATA}/fail ]] || exit 3
case $* in
    *--bootstrap*) cat > {DATA}/statements; [[ ! -v DIE ]] || kill -9 $PPID ;;
    *--wsrep-recover*)
        echo "2026-01-01 [Note] WSREP: Recovered position: $POSITION" >&2 ;;
    *) echo started ;;
esac
"""


class Node(Machine):
    """A container of mariadb's image on one node, with its volume."""

    def __init__(self, root: Path, address: str = MEMBERS[0], *, seed: str = "seed") -> None:
        super().__init__(root, DATA, "/usr/local/share")
        self.program("sudo")
        self.program("mariadbd", MARIADBD)
        self.script("mariadb", "extend_start", "/usr/local/bin/kolla_extend_start")
        self.environment = {
            "KOLLA_ROOT": str(root),
            "DB_ROOT_PASSWORD": "secret",
            "GALERA_SEED": seed,
            "GALERA_MEMBERS": " ".join(MEMBERS) if seed else "",
            "GALERA_ADDRESS": address,
        }
        with tarfile.open(self.path(EMPTY), "w:gz") as archive:
            source = root / "empty"
            (source / "mysql").mkdir(parents=True)
            (source / "mysql" / "global_priv.frm").write_text("empty")
            (source / "ibdata1").write_text("empty")
            archive.add(source, arcname=".")

    def start(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Start the service."""
        (self.root / "run_command").write_text("mariadbd --defaults-file=/etc/mysql/my.cnf")
        return self.run(BASE / "kolla_start", **self.environment, **environment)

    def bootstrap(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the one-shot job."""
        (self.root / "run_command").write_text("true")
        kolla = {**self.environment, "KOLLA_BOOTSTRAP": "", **environment}
        return self.run(BASE / "kolla_start", **kolla)

    def file(self, name: str) -> Path:
        return self.path(f"{DATA}/{name}")

    @property
    def made(self) -> int:
        """How often data was made in the last run."""
        return sum("--bootstrap" in call for call in self.calls)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "node")


def test_the_data_is_made_once_with_its_administrator(node: Node) -> None:
    assert node.bootstrap().returncode == 0
    assert node.made == 1
    assert node.file("mysql/global_priv.frm").exists() and node.file("ibdata1").exists()
    assert not node.file(".bootstrapping").exists()
    statements = node.file("statements").read_text()
    for host in ("'%'", "localhost"):
        assert f"root@{host} IDENTIFIED BY 'secret'" in statements
        assert f"GRANT ALL PRIVILEGES ON *.* TO root@{host}" in statements
    assert "secret" not in " ".join(node.calls)
    node.file("ibdata1").write_text("rows")
    assert node.bootstrap().returncode == 0
    assert node.start().returncode == 0
    assert node.made == 0
    assert node.file("ibdata1").read_text() == "rows"


def test_no_library_of_a_cluster_is_loaded_while_data_is_made(node: Node) -> None:
    node.bootstrap()
    (call,) = [call for call in node.calls if "--bootstrap" in call]
    assert "--wsrep-provider=none --wsrep-on=OFF" in call


@pytest.mark.parametrize(
    "left",
    [
        (".bootstrapping",),
        (".bootstrapping", "ibdata1"),
        (".bootstrapping", "ibdata1", "mysql/half", "aria_log.0001"),
        ("ibdata1",),
        (".sst/part", "grastate.dat"),
    ],
    ids=", ".join,
)
def test_what_an_interrupted_start_left_is_made_anew(node: Node, left: tuple[str, ...]) -> None:
    for name in left:
        node.file(name).parent.mkdir(exist_ok=True)
        node.file(name).write_text("half")
    assert node.start().returncode == 0
    assert node.made == 1
    assert node.file("ibdata1").read_text() == "empty"
    assert not [p for p in node.path(DATA).rglob("*") if p.is_file() and "half" in p.read_text()]


def test_a_start_that_was_killed_begins_again(node: Node) -> None:
    assert node.bootstrap(DIE="").returncode != 0
    assert node.file(".bootstrapping").exists()
    assert not node.file("gvwstate.dat").exists() and not node.file("grastate.dat").exists()
    assert node.bootstrap().returncode == 0
    assert node.made == 1
    assert not node.file(".bootstrapping").exists() and node.file("grastate.dat").exists()


def test_a_start_that_was_killed_while_files_are_unpacked_begins_again(node: Node) -> None:
    """The folder that tells of finished data is there already."""
    node.program("tar", f"mkdir {DATA}/mysql; echo half > {DATA}/mysql/half; kill -9 $PPID")
    assert node.bootstrap().returncode != 0
    (node.root / "programs/tar").unlink()
    assert node.bootstrap().returncode == 0
    assert node.made == 1
    assert not node.file("mysql/half").exists()


def test_a_database_that_fails_is_a_job_that_fails(node: Node) -> None:
    node.program("mariadbd", "exit 3")
    assert node.bootstrap().returncode != 0
    assert node.file(".bootstrapping").exists()
    assert not node.file("gvwstate.dat").exists()


# -- the cluster -------------------------------------------------------------------------


def view(node: Node) -> tuple[str, str]:
    """Who a member is, and the view that it remembers."""
    text = node.file("gvwstate.dat").read_text()
    own, rest = text.split("\n", 1)
    return own.removeprefix("my_uuid: "), rest


def bootstrapped(folder: Path, *, seed: str = "seed") -> list[Node]:
    nodes = [Node(folder / address, address, seed=seed) for address in MEMBERS]
    for node in nodes:
        assert node.bootstrap().returncode == 0
    return nodes


def test_all_members_remember_the_same_view_with_all_of_them(tmp_path: Path) -> None:
    nodes = bootstrapped(tmp_path)
    own = [view(node)[0] for node in nodes]
    assert len(set(own)) == len(nodes)
    (text,) = {view(node)[1] for node in nodes}
    begin, view_id, bootstrap, *members, end = text.splitlines()
    assert (begin, bootstrap, end) == ("#vwbeg", "bootstrap: 0", "#vwend")
    assert view_id == f"view_id: 3 {own[0]} 1"
    assert members == [f"member: {uuid} 0" for uuid in own]
    assert all(re.fullmatch(UUID, uuid) for uuid in own)


def test_all_members_begin_with_the_same_state(tmp_path: Path) -> None:
    """At position 0 of one history, so that none has to copy another's files."""
    (state,) = {node.file("grastate.dat").read_text() for node in bootstrapped(tmp_path)}
    assert re.fullmatch(rf"version: 2\.1\nuuid: {UUID}\nseqno: 0\nsafe_to_bootstrap: 0\n", state)


def test_another_environment_has_other_members(tmp_path: Path) -> None:
    one = bootstrapped(tmp_path / "one")
    other = bootstrapped(tmp_path / "other", seed="another seed")
    assert view(one[0])[1] != view(other[0])[1]
    states = {node.file("grastate.dat").read_text() for node in (*one, *other)}
    assert len(states) == 2


def test_a_cluster_that_was_lost_gets_its_view_and_keeps_its_data(node: Node) -> None:
    node.bootstrap()
    first = node.file("gvwstate.dat").read_text()
    node.file("ibdata1").write_text("rows")
    node.file("grastate.dat").write_text("uuid: x\nseqno: 42\n")
    node.file("gvwstate.dat").unlink()
    assert node.bootstrap().returncode == 0
    assert node.file("gvwstate.dat").read_text() == first
    assert node.file("ibdata1").read_text() == "rows"
    assert node.file("grastate.dat").read_text() == "uuid: x\nseqno: 42\n"


def test_a_member_without_data_makes_it_and_remembers_no_view(node: Node) -> None:
    """It was wiped: it joins the others, and never waits for a view of its own."""
    done = node.start()
    assert done.stdout.splitlines()[-1] == "started"
    assert node.file("grastate.dat").exists() and not node.file("gvwstate.dat").exists()


def test_without_a_cluster_nothing_of_one_is_written(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", seed="")
    assert node.bootstrap().returncode == 0
    assert node.start().returncode == 0
    assert not node.file("grastate.dat").exists() and not node.file("gvwstate.dat").exists()
    assert node.calls[-1] == "mariadbd --defaults-file=/etc/mysql/my.cnf"


# -- the position ------------------------------------------------------------------------


def commands(node: Node) -> list[str]:
    return [call for call in node.calls if call.startswith("mariadbd")]


def test_a_member_that_was_killed_finds_its_position(node: Node) -> None:
    node.bootstrap()
    node.file("grastate.dat").write_text("version: 2.1\nuuid: u\nseqno:   -1\n")
    assert node.start(POSITION="u-1:1234").returncode == 0
    assert commands(node) == [
        "mariadbd --defaults-file=/etc/mysql/my.cnf --wsrep-recover --disable-log-error",
        "mariadbd --defaults-file=/etc/mysql/my.cnf --wsrep_start_position=u-1:1234",
    ]


@pytest.mark.parametrize("seqno", ["0", "1", "1234"])
def test_a_member_that_knows_its_position_does_not_look_for_it(node: Node, seqno: str) -> None:
    node.bootstrap()
    node.file("grastate.dat").write_text(f"version: 2.1\nuuid: u\nseqno: {seqno}\n")
    assert node.start(POSITION="u-1:1234").returncode == 0
    assert commands(node) == ["mariadbd --defaults-file=/etc/mysql/my.cnf"]


def test_a_database_without_a_cluster_has_no_position(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", seed="")
    node.bootstrap()
    node.file("grastate.dat").write_text("seqno: -1\n")
    assert node.start(POSITION="u-1:1234").returncode == 0
    assert commands(node) == ["mariadbd --defaults-file=/etc/mysql/my.cnf"]
