"""What the catalogue says about several control nodes: the virtual IP, its checks, the clusters."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from service_places import AIO, MULTINODE, PLACES, SERVICES, render_all, renderer

from devenv.nodes.node import Node
from devenv.services.catalogue import catalogue
from devenv.services.model import Cluster, ContainerSpec
from devenv.services.render import Place, Rendered

CONTROL = tuple(node for node in MULTINODE.nodes if "control" in node.roles)
ITEMS = render_all(renderer(MULTINODE))
SINGLE = render_all(renderer(AIO))
HAPROXY = ITEMS["ctl1/haproxy"].files["haproxy.cfg"].decode()
#: haproxy's own page, by which it is known that one is behind the virtual IP.
STATUS_PORT = 61313


def sections(text: str, opens: str) -> dict[str, list[list[str]]]:
    """haproxy's sections of the kind `opens` by name: their lines, split into words."""
    found: dict[str, list[list[str]]] = {}
    current: list[list[str]] = []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if words and not line.startswith(" "):
            current = []
            if words[0] == opens:
                found[words[1]] = current
        elif words:
            current.append(words)
    return found


def texts(item: Rendered) -> Iterator[str]:
    """All that a container is told."""
    yield from (data.decode() for data in item.files.values())
    yield from item.environment.values()
    yield item.ready


def ports_of(address: str, items: dict[str, Rendered]) -> set[int]:
    """The ports of an address that anybody is told of."""
    asked = re.compile(rf"{re.escape(address)}:(\d+)")
    return {
        int(port)
        for item in items.values()
        if item.name not in ("haproxy", "keepalived")
        for text in texts(item)
        for port in asked.findall(text)
    }


# -- the load balancer -------------------------------------------------------------------


def listeners(text: str) -> dict[int, list[list[str]]]:
    """haproxy's listeners by the port on the virtual IP."""
    found = {}
    for lines in sections(text, "listen").values():
        (bind,) = [words for words in lines if words[0] == "bind"]
        address, _, port = bind[1].partition(":")
        # All of them bind it: also where another node holds it, now.
        assert (address, bind[2:]) == (MULTINODE.vip, ["transparent"])
        found[int(port)] = lines
    return found


@pytest.mark.parametrize("node", CONTROL, ids=lambda node: node.name)
def test_every_endpoint_of_the_cloud_is_behind_the_virtual_ip(node: Node) -> None:
    """Derived from what keystone's catalogue says, not from the list that makes the listeners."""
    found = listeners(ITEMS[f"{node.name}/haproxy"].files["haproxy.cfg"].decode())
    register = json.loads(ITEMS["ctl1/keystone_register"].files["register.json"])
    urls = [endpoint["url"] for endpoint in register["endpoints"]]
    assert len(urls) >= 4
    bootstrap = ITEMS["ctl1/keystone_bootstrap"].environment
    urls += [value for key, value in bootstrap.items() if key.endswith("_URL")]
    for url in urls:
        assert urlsplit(url).hostname == MULTINODE.vip
        assert urlsplit(url).port in found


def test_every_port_that_anybody_is_told_of_has_a_listener() -> None:
    found = listeners(HAPROXY)
    assert ports_of(MULTINODE.vip, ITEMS) - {STATUS_PORT} <= found.keys()
    fronts = {front.port for service in SERVICES for front in service.frontends.values()}
    assert found.keys() == fronts | {3306} and 3306 in ports_of(MULTINODE.vip, ITEMS)
    # The agents of metadata are told of the address and the port in two options.
    agent = ITEMS["cmp1/neutron_ovn_agent"].files["ovn_agent.ini"].decode()
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read_string(agent)
    options = dict(parsed["DEFAULT"])
    assert options["nova_metadata_host"] == MULTINODE.vip
    assert int(options.get("nova_metadata_port", 8775)) in found


def test_a_listener_has_every_control_node_behind_it() -> None:
    for port, lines in listeners(HAPROXY).items():
        servers = {words[1]: words[2:] for words in lines if words[0] == "server"}
        assert servers == {node.name: [f"{node.address}:{port}", "check"] for node in CONTROL}


def test_a_frontend_is_a_port_that_its_container_serves() -> None:
    """On the node's own address, where its health check asks."""
    for service in SERVICES:
        for name, front in service.frontends.items():
            item = ITEMS[f"ctl2/{name}"]
            assert f"172.30.0.12:{front.port}" in item.ready
            assert front.check.startswith("/")


def mariadb_is_asked_whether_it_is_in_sync(text: str) -> bool:
    """Every health check of the database is a question to clustercheck."""
    lines = sections(text, "listen")["mariadb"]
    (default,) = [words for words in lines if words[0] == "default-server"]
    asks = ["option", "httpchk"] in lines
    expects = ["http-check", "expect", "status", "200"] in lines
    to_it = default[default.index("port") + 1] == "4569" if "port" in default else False
    return asks and expects and to_it


def test_the_database_is_asked_whether_it_is_in_sync_and_not_whether_its_port_is_open() -> None:
    assert mariadb_is_asked_whether_it_is_in_sync(HAPROXY)
    # The ways to break it that were seen elsewhere; the check above tells each.
    assert not mariadb_is_asked_whether_it_is_in_sync(HAPROXY.replace("port 4569 ", ""))
    assert not mariadb_is_asked_whether_it_is_in_sync(HAPROXY.replace("option httpchk", ""))
    for node in CONTROL:
        item = ITEMS[f"{node.name}/mariadb_clustercheck"]
        command = json.loads(item.files["config.json"])["command"]
        assert command == f"clustercheck {node.address} 4569 /var/lib/mysql-client.cnf"


def test_the_database_has_one_writer_which_stays() -> None:
    lines = sections(HAPROXY, "listen")["mariadb"]
    assert ["mode", "tcp"] in lines
    assert ["balance", "first"] in lines and ["stick", "on", "int(1)"] in lines
    (default,) = [words for words in lines if words[0] == "default-server"]
    assert "on-marked-down shutdown-sessions" in " ".join(default)


@pytest.mark.parametrize("node", CONTROL, ids=lambda node: node.name)
def test_load_balancers_tell_each_other_who_the_writer_is(node: Node) -> None:
    text = ITEMS[f"{node.name}/haproxy"].files["haproxy.cfg"].decode()
    lines = sections(text, "peers")["controllers"]
    port = f"{node.address}:10000"
    assert ["bind", port] in lines
    peers = {words[1]: words[2:] for words in lines if words[0] == "server"}
    others = {other.name: [f"{other.address}:10000"] for other in CONTROL if other is not node}
    assert peers == {**others, node.name: []}


def test_only_what_changes_nothing_is_asked_of_a_second_server() -> None:
    """A POST that one answered with an error, or not at all, may have been done."""
    for name, lines in sections(HAPROXY, "listen").items():
        if name != "mariadb":
            assert ["http-request", "disable-l7-retry", "unless", "METH_GET"] in lines


@pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed")
def test_haproxy_takes_its_configuration(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    # The users are those of the image.
    file.write_text(re.sub(r"^    (user|group) haproxy\n", "", HAPROXY, flags=re.MULTILINE))
    done = subprocess.run(
        ["haproxy", "-c", "-L", "ctl1", "-f", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# -- the virtual IP ----------------------------------------------------------------------


@pytest.mark.parametrize("node", CONTROL, ids=lambda node: node.name)
def test_keepalived_talks_to_its_peers_alone(node: Node) -> None:
    item = ITEMS[f"{node.name}/keepalived"]
    text = item.files["keepalived.conf"].decode()
    (peers,) = re.findall(r"unicast_peer \{([^}]*)\}", text)
    assert set(peers.split()) == {o.address for o in CONTROL if o is not node}
    assert f"unicast_src_ip {node.address}\n" in text
    (held,) = re.findall(r"virtual_ipaddress \{([^}]*)\}", text)
    assert held.split() == [f"{MULTINODE.vip}/32"]
    assert text.count("{") == text.count("}")
    assert (item.environment["VIP"], item.environment["ADDRESS"]) == (MULTINODE.vip, node.address)


def test_nobody_takes_the_address_from_one_that_works() -> None:
    """Which `nopreempt` does only among backups; and who has no haproxy gives it up."""
    priorities = set()
    for node in CONTROL:
        text = ITEMS[f"{node.name}/keepalived"].files["keepalived.conf"].decode()
        lines = [line.strip() for line in text.splitlines()]
        assert "state BACKUP" in lines and "nopreempt" in lines
        (tracked,) = re.findall(r"track_script \{([^}]*)\}", text)
        assert tracked.split() == ["haproxy"] and "vrrp_script haproxy {" in lines
        # Nor does a node keep it that reaches no database any more.
        assert 'script "/usr/local/bin/healthcheck_haproxy useful"' in lines
        (priority,) = re.findall(r"^ *priority (\d+)$", text, flags=re.MULTILINE)
        priorities.add(int(priority))
    # What VRRP allows to a backup; two of one priority both become the holder for a moment.
    assert len(priorities) == len(CONTROL) and priorities <= set(range(1, 255))


def test_the_address_is_looked_for_before_anybody_holds_it() -> None:
    spec = catalogue()["loadbalancer"].containers["keepalived"]
    assert "keepalived_check" in spec.after
    command = json.loads(ITEMS["ctl1/keepalived_check"].files["config.json"])["command"]
    assert command.split()[:3] == ["check_vip", MULTINODE.vip, "172.30.0.11"]
    # One of ours may hold it: the job runs again when the first node was wiped.
    assert {"172.30.0.12", "172.30.0.13"} <= set(command.split()[3:])


def test_one_control_node_has_no_load_balancer() -> None:
    names = {item.name for item in SINGLE.values()}
    assert not names & set(catalogue()["loadbalancer"].containers)
    assert not names & {"mariadb_clustercheck", "glance_replicator", "ovn_nb_bootstrap"}
    assert names == {item.name for item in ITEMS.values()} - {
        name for service in SERVICES for name, spec in service.containers.items() if spec.clustered
    }


# -- the clusters ------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_nothing_that_restarts_founds_a_cluster(place: Place) -> None:
    """The argument once stayed in a container, which then formed a cluster of its own."""
    for item in render_all(renderer(place)).values():
        said = " ".join(texts(item))
        assert "wsrep-new-cluster" not in said and "wsrep_new_cluster" not in said
        assert "pc.bootstrap" not in said
        if not item.spec.is_job:
            assert "KOLLA_BOOTSTRAP" not in item.environment
            assert "--create" not in json.loads(item.files["config.json"])["command"]
    for path in Path(catalogue()["mariadb"].folder).rglob("*"):
        if path.is_file():
            assert "new-cluster" not in path.read_text()


def mysqld(items: dict[str, Rendered], where: str) -> configparser.SectionProxy:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read_string(items[f"{where}/mariadb"].files["my.cnf"].decode())
    return parsed["mysqld"]


@pytest.mark.parametrize("node", CONTROL, ids=lambda node: node.name)
def test_each_database_knows_all_members(node: Node) -> None:
    found = mysqld(ITEMS, node.name)
    assert found["wsrep_cluster_address"] == "gcomm://172.30.0.11,172.30.0.12,172.30.0.13"
    assert (found["wsrep_node_name"], found["wsrep_node_address"]) == (node.name, node.address)
    assert (found["wsrep_on"], found["binlog_format"]) == ("ON", "ROW")
    job, member = (ITEMS[f"{node.name}/{name}"] for name in ("mariadb_bootstrap", "mariadb"))
    for item in (job, member):
        assert item.environment["GALERA_MEMBERS"] == "172.30.0.11 172.30.0.12 172.30.0.13"
        assert item.environment["GALERA_ADDRESS"] == node.address
    # What a member's identity is made of is the same in the job and on every node.
    seeds = {ITEMS[f"{n.name}/{job.name}"].environment["GALERA_SEED"] for n in CONTROL}
    assert {member.environment["GALERA_SEED"]} == seeds != {""}


def test_one_database_is_no_cluster() -> None:
    assert not [key for key in mysqld(SINGLE, "aio") if key.startswith("wsrep")]
    assert SINGLE["aio/mariadb"].environment["GALERA_SEED"] == ""
    assert "wsrep" not in SINGLE["aio/mariadb"].ready


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_queues_are_quorum_queues(place: Place) -> None:
    """A classic queue is lost with its node, and the casts in it."""
    told = 0
    for item in render_all(renderer(place)).values():
        for name, data in item.files.items():
            if "transport_url = rabbit://" not in data.decode():
                continue
            told += 1
            parsed = configparser.ConfigParser(strict=False, interpolation=None)
            parsed.read_string(data.decode())
            found = parsed["oslo_messaging_rabbit"]
            assert found.getboolean("rabbit_quorum_queue"), f"{item.name}: {name}"
            assert found.getboolean("rabbit_transient_quorum_queue")
    assert told >= 4


def test_the_members_of_the_queue_find_each_other() -> None:
    for node in CONTROL:
        item = ITEMS[f"{node.name}/rabbitmq"]
        text = item.files["rabbitmq.conf"].decode()
        nodes = re.findall(r"classic_config\.nodes\.(\d) = rabbit@(\S+)", text)
        assert nodes == [("1", "172.30.0.11"), ("2", "172.30.0.12"), ("3", "172.30.0.13")]
        assert f"NODENAME=rabbit@{node.address}\n" in item.files["rabbitmq-env.conf"].decode()
        others = [other.address for other in CONTROL if other is not node]
        assert item.ready == f"healthcheck_rabbitmq {' '.join(others)}"
    assert "cluster_formation" not in SINGLE["aio/rabbitmq"].files["rabbitmq.conf"].decode()
    assert SINGLE["aio/rabbitmq"].ready.split() == ["healthcheck_rabbitmq"]


def test_one_node_makes_ovns_databases_and_the_others_join() -> None:
    commands = {id: json.loads(item.files["config.json"])["command"] for id, item in ITEMS.items()}
    for kind in ("nb", "sb"):
        assert commands[f"ctl1/ovn_{kind}_bootstrap"] == f"start_ovn_db {kind} 172.30.0.11 --create"
        assert f"ctl2/ovn_{kind}_bootstrap" not in commands
        assert commands[f"ctl2/ovn_{kind}_db"] == (
            f"start_ovn_db {kind} 172.30.0.12 tcp:172.30.0.11 tcp:172.30.0.13"
        )
        single = json.loads(SINGLE[f"aio/ovn_{kind}_db"].files["config.json"])["command"]
        assert single == f"start_ovn_db {kind} 172.30.0.11"
        assert "cluster member" in ITEMS[f"ctl2/ovn_{kind}_db"].ready
        assert "cluster" not in SINGLE[f"aio/ovn_{kind}_db"].ready


def clusters() -> list[tuple[str, ContainerSpec, Cluster]]:
    return [
        (name, spec, spec.cluster)
        for service in SERVICES
        for name, spec in service.containers.items()
        if spec.cluster
    ]


def test_what_forms_clusters() -> None:
    """A new one has to think of its members, too."""
    assert {name for name, _, _ in clusters()} == {
        "mariadb", "rabbitmq", "ovn_nb_db", "ovn_sb_db", "ovn_controller", "nova_compute",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "spec", "cluster"), clusters())
def test_the_commands_of_a_cluster_can_be_made(
    name: str, spec: ContainerSpec, cluster: Cluster
) -> None:
    made = renderer(MULTINODE)
    (service,) = [one for one in SERVICES if name in one.containers]
    node, gone = made.nodes_for(spec)[:2]
    if cluster.bootstrap:
        bootstrap = service.containers[cluster.bootstrap]
        assert bootstrap.is_job and bootstrap.each and bootstrap.creates_volume
        assert cluster.bootstrap in spec.after
        assert cluster.member, "nobody could tell that it is needed"
        assert "{{" not in made.command(service, cluster.member, node)
    if cluster.forget:
        said = made.command(service, cluster.forget, node, gone)
        assert gone.address in said or gone.name in said


def test_where_a_container_runs() -> None:
    def names(place: Place, **facts: object) -> list[str]:
        spec = ContainerSpec.model_validate({"image": "x", "roles": ["control"], **facts})
        return [node.name for node in renderer(place).nodes_for(spec)]

    assert names(MULTINODE) == ["ctl1", "ctl2", "ctl3"]
    assert names(MULTINODE, roles=["compute", "network"]) == [n.name for n in MULTINODE.nodes]
    assert names(MULTINODE, job=True) == names(MULTINODE, bootstrap=True) == ["ctl1"]
    assert names(MULTINODE, bootstrap=True, each=True) == ["ctl1", "ctl2", "ctl3"]
    assert names(MULTINODE, clustered=True) == ["ctl1", "ctl2", "ctl3"]
    assert names(MULTINODE, clustered=True, job=True) == ["ctl1"]
    assert names(AIO) == ["aio"]
    assert names(AIO, clustered=True) == names(AIO, clustered=True, job=True) == []
