"""Scripts of the images that form clusters: OVN's databases, RabbitMQ, the load balancer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from image_scripts import SERVICES, Machine
from kolla_container import BASE

PEERS = ("tcp:172.30.0.12", "tcp:172.30.0.13")
FILE = "/var/lib/ovn/ovnnb_db.db"
#: As ovsdb-tool does it: a file that is there is never written over.
OVSDB_TOOL = """
for word; do case $word in create-cluster|join-cluster) verb=$word;; *.new) file=$word;; esac; done
[[ ! -e $file ]] || { echo "ovsdb-tool: $file: create failed (File exists)" >&2; exit 1; }
[[ ! -v DIE ]] || { echo half > "$file"; kill -9 $PPID; exit; }
echo "$verb" > "$file"
"""


class TestOvn:
    """start_ovn_db"""

    @pytest.fixture
    def node(self, tmp_path: Path) -> Machine:
        made = Machine(tmp_path, "/var/lib/ovn", "/run/ovn", "/usr/share/ovn")
        made.script("ovn", "start_ovn_db", "/start_ovn_db")
        made.program("ovsdb-tool", OVSDB_TOOL)
        made.program("/usr/share/ovn/scripts/ovn-ctl")
        return made

    def start(
        self, node: Machine, *arguments: str, kind: str = "nb", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        command = node.path("/start_ovn_db"), kind, "172.30.0.11", *arguments
        return node.run(*command, **environment)

    def test_the_first_member_is_made_once(self, node: Machine) -> None:
        assert self.start(node, "--create").returncode == 0
        (call,) = node.calls
        assert call.startswith("ovsdb-tool --election-timer=4000 create-cluster ")
        assert call.endswith("/usr/share/ovn/ovn-nb.ovsschema tcp:172.30.0.11:6643")
        assert node.path(FILE).read_text() == "create-cluster\n"
        assert self.start(node, "--create").returncode == 0
        assert node.calls == []

    def test_data_that_is_there_is_left_alone(self, node: Machine) -> None:
        node.path(FILE).write_text("rows\n")
        for arguments in (("--create",), PEERS, ()):
            assert self.start(node, *arguments).returncode == 0
            assert not [call for call in node.calls if call.startswith("ovsdb-tool")]
            assert node.path(FILE).read_text() == "rows\n"

    @pytest.mark.parametrize(
        ("kind", "schema", "port"), [("nb", "OVN_Northbound", 6643), ("sb", "OVN_Southbound", 6644)]
    )
    def test_a_member_without_data_joins_and_never_creates(
        self, node: Machine, kind: str, schema: str, port: int
    ) -> None:
        assert self.start(node, *PEERS, kind=kind).returncode == 0
        tool, serve = node.calls
        assert tool == (
            f"ovsdb-tool join-cluster /var/lib/ovn/ovn{kind}_db.db.new {schema} "
            f"tcp:172.30.0.11:{port} tcp:172.30.0.12:{port} tcp:172.30.0.13:{port}"
        )
        assert serve.startswith(f"ovn-ctl run_{kind}_ovsdb ")
        assert f"--db-{kind}-cluster-local-addr=172.30.0.11" in serve
        assert "remote-addr" not in serve

    def test_without_peers_it_is_no_cluster(self, node: Machine) -> None:
        assert self.start(node).returncode == 0
        (serve,) = node.calls
        assert "cluster" not in serve
        assert f"--db-nb-file={FILE}" in serve

    def test_a_join_that_was_killed_begins_again(self, node: Machine) -> None:
        assert self.start(node, *PEERS, DIE="").returncode != 0
        assert not node.path(FILE).exists()
        assert self.start(node, *PEERS).returncode == 0
        assert node.path(FILE).read_text() == "join-cluster\n"

    def test_a_creation_that_was_killed_begins_again(self, node: Machine) -> None:
        assert self.start(node, "--create", DIE="").returncode != 0
        assert not node.path(FILE).exists()
        assert self.start(node, "--create").returncode == 0
        assert node.path(FILE).read_text() == "create-cluster\n"


class TestRabbitmq:
    """healthcheck_rabbitmq"""

    LINKS = (
        "0 0 172.30.0.11:25672 172.30.0.12:41234",
        "0 0 172.30.0.11:38444 172.30.0.13:25672",
    )

    @pytest.fixture
    def node(self, tmp_path: Path) -> Machine:
        made = Machine(tmp_path)
        made.script("rabbitmq", "healthcheck_rabbitmq", "/healthcheck_rabbitmq")
        self.sockets(made)
        return made

    def sockets(self, node: Machine, *links: str, listens: bool = True) -> None:
        listener = "LISTEN 0 128 172.30.0.11:5672 0.0.0.0:*" if listens else ""
        said = "\n".join(links or self.LINKS)
        node.program("ss", f'case $1 in -Hlnt) echo "{listener}";; -Hnt) echo "{said}";; esac')

    def check(self, node: Machine, *peers: str) -> subprocess.CompletedProcess[str]:
        return node.run(node.path("/healthcheck_rabbitmq"), *peers)

    def test_a_member_that_is_linked_with_all_is_healthy(self, node: Machine) -> None:
        assert self.check(node, "172.30.0.12", "172.30.0.13").returncode == 0

    def test_ipv6_sockets_of_ipv4_count(self, node: Machine) -> None:
        self.sockets(node, "0 0 [::ffff:172.30.0.11]:25672 [::ffff:172.30.0.12]:41234")
        assert self.check(node, "172.30.0.12").returncode == 0

    @pytest.mark.parametrize("peer", ["172.30.0.14", "172.30.0.1", "72.30.0.12"])
    def test_one_that_a_peer_is_missing_of_is_not(self, node: Machine, peer: str) -> None:
        done = self.check(node, "172.30.0.12", peer)
        assert done.returncode == 1
        assert f"no link with {peer}" in done.stderr

    def test_one_that_closed_its_port_is_not(self, node: Machine) -> None:
        """What the smaller part of a divided cluster does."""
        self.sockets(node, listens=False)
        done = self.check(node, "172.30.0.12")
        assert done.returncode == 1
        assert "port 5672 is closed" in done.stderr

    def test_a_single_one_needs_no_links(self, node: Machine) -> None:
        node.program("ss", "[[ $1 != -Hlnt ]] || echo LISTEN 0 128 172.30.0.11:5672")
        assert self.check(node).returncode == 0

    def test_it_asks_for_the_ports_of_clients_and_of_the_cluster(self, node: Machine) -> None:
        self.check(node, "172.30.0.12")
        assert node.calls == [
            "ss -Hlnt sport = :5672",
            "ss -Hnt state established ( sport = :25672 or dport = :25672 )",
        ]


class TestLoadbalancer:
    """What happens before keepalived starts, and how haproxy is asked."""

    ADDRESSES = (
        "1: lo    inet 127.0.0.1/8 scope host lo",
        "5: eth0    inet 172.30.0.11/24 brd 172.30.0.255 scope global eth0",
        "7: eth1    inet 172.31.0.111/24 scope global eth1",
    )
    VIP = "172.30.0.10"

    @pytest.fixture
    def node(self, tmp_path: Path) -> Machine:
        made = Machine(tmp_path, "/run/", "/etc/keepalived")
        made.script("loadbalancer", "extend_start", "/usr/local/bin/kolla_extend_start")
        made.path("/etc/keepalived/keepalived.conf").write_text("interface @INTERFACE@\n")
        for name in ("sudo", "keepalived", "haproxy", "vip_left"):
            made.program(name)
        self.addresses(made)
        return made

    def addresses(self, node: Machine, *, left: bool = False) -> None:
        said = "\n".join(self.ADDRESSES)
        node.program(
            "ip", f'case "$*" in *delete*) exit {0 if left else 2};; *) echo "{said}";; esac'
        )

    def start(self, node: Machine, command: str) -> subprocess.CompletedProcess[str]:
        (node.root / "run_command").write_text(command)
        return node.run(
            BASE / "kolla_start", KOLLA_ROOT=str(node.root), VIP=self.VIP, ADDRESS="172.30.0.11"
        )

    @pytest.mark.parametrize("left", [True, False])
    def test_what_a_killed_keepalived_left_is_taken_away_first(
        self, node: Machine, left: bool
    ) -> None:
        self.addresses(node, left=left)
        pids = [node.path(f"/run/{n}") for n in ("keepalived.pid", "vrrp.pid", "checkers.pid")]
        other = node.path("/run/other.pid")
        for file in (*pids, other):
            file.write_text("17")
        done = self.start(node, "keepalived --dont-fork")
        assert done.returncode == 0, done.stderr
        assert "ip address delete 172.30.0.10/32 dev eth0" in node.calls
        assert node.calls[-1] == "keepalived --dont-fork"
        assert not [file for file in pids if file.exists()] and other.exists()
        assert node.path("/run/keepalived.conf").read_text() == "interface eth0\n"

    def test_haproxy_is_started_as_it_is(self, node: Machine) -> None:
        assert self.start(node, "haproxy -W -db").returncode == 0
        assert node.calls == ["sudo -E kolla_set_configs", "haproxy -W -db"]

    STATS = "# pxname,svname,qcur,status,weight\\nmariadb,BACKEND,0,{},1\\nnova,BACKEND,0,UP,1\\n"

    @pytest.mark.parametrize(
        ("answer", "healthy", "useful"),
        [
            (f'printf "{STATS.format("UP")}"', True, True),
            (f'printf "{STATS.format("DOWN")}"', True, False),
            ('printf "nova,BACKEND,0,DOWN,1\\n"', True, True),  # with nothing to do with one
            ("echo # pxname,svname", False, False),
            ("exit 1", False, False),
        ],
    )
    def test_haproxy_is_asked_and_whether_it_reaches_a_database(
        self, node: Machine, answer: str, healthy: bool, useful: bool
    ) -> None:
        node.program("socat", f"cat > /dev/null; {answer}")
        node.program("timeout", 'shift; exec "$@"')
        script = SERVICES / "loadbalancer/image/healthcheck_haproxy"
        assert (node.run("bash", script).returncode == 0) is healthy
        # One that is frozen takes the question and never answers.
        assert node.calls[0].startswith("timeout 1 socat ") and "admin.sock" in node.calls[0]
        assert (node.run("bash", script, "useful").returncode == 0) is useful
