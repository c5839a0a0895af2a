"""Clusters that were lost are stopped and founded again; members are told of those that went."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from devenv.core.events import Event, Events
from devenv.core.redact import Redactor
from devenv.core.secrets import Secrets
from devenv.deploy import cluster
from devenv.deploy.actual import Actual, NodeState
from devenv.deploy.cluster import Clusters, stop_all
from devenv.nodes.connection import Connection
from devenv.nodes.node import ExternalLink, Node, SshTarget
from devenv.services.model import Cluster, ContainerSpec, Service
from devenv.services.render import Place, Renderer
from devenv.topology.models import Topology


@pytest.fixture(autouse=True)
def no_second_glance(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster with members away is asked once."""
    monkeypatch.setattr(cluster, "GLANCE", 0)


def node(number: int, role: str = "control", name: str = "ctl") -> Node:
    address = f"172.30.0.{number}"
    ssh = SshTarget(address, Path("/k"), Path("/h"))
    return Node(f"{name}{number}", frozenset({role}), address, ExternalLink("", ""), ssh)


CTL1, CTL2, CTL3 = CONTROL = (node(1), node(2), node(3))
COMPUTE = (node(11, "compute", "cmp"), node(12, "compute", "cmp"))
DB = ContainerSpec(
    image="db",
    roles=["control"],
    volumes=["db:/var/lib/db", "/run/db:/run/db"],
    cluster=Cluster(member="is-member {{ node.address }}", bootstrap="db_bootstrap"),
    stop_timeout=30,
)
QUEUE = ContainerSpec(
    image="queue",
    roles=["control"],
    volumes=["queue:/var/lib/queue"],
    cluster=Cluster(forget="forget {{ gone.address }} at {{ node.address }}"),
)
AGENT = ContainerSpec(
    image="agent", roles=["compute"], cluster=Cluster(forget="forget {{ gone.name }}")
)
CONTAINERS = {"db": DB, "queue": QUEUE, "agent": AGENT}


def running(name: str, state: str = "running") -> Actual:
    return Actual("id", name, name, "image", "h", False, state, "", None)


def has(*names: str, volumes: tuple[str, ...] = (), **others: str) -> NodeState:
    """A node on which `names` run and others have another state."""
    found = {name: running(name) for name in names}
    found |= {name: running(name, state) for name, state in others.items()}
    return NodeState(found, frozenset(volumes))


class Lab:
    """Clusters over nodes that write down what their engines are asked to do.

    :param answers: the exit code of a command line on a node; how often it was asked before.
    """

    def __init__(
        self,
        answers: Callable[[str, str], int] = lambda node, line: 0,
        nodes: tuple[Node, ...] = (*CONTROL, *COMPUTE),
    ) -> None:
        self.said: list[str] = []
        self.events: list[Event] = []
        self._answers = answers
        service = Service(name="s", summary="", containers=CONTAINERS, folder=Path("/none/s"))
        topology = Topology.model_validate(
            {"version": 1, "nodes": {"n": {"roles": ["control", "network", "compute"]}}}
        )
        secrets = Secrets("master", Redactor())
        place = Place(nodes, "172.30.0.100", {}, "")
        renderer = Renderer(topology, [service], place, secrets, {})
        connections = {
            n.name: SimpleNamespace(docker=SimpleNamespace(containers=self._engine(n.name)))
            for n in (*CONTROL, *COMPUTE)
        }
        self.clusters = Clusters(
            renderer, cast(Mapping[str, Connection], connections), Events(self.events.append)
        )

    def lost(self, states: Mapping[str, NodeState]) -> dict[str, str]:
        return self.clusters.lost({**{n.name: has("agent") for n in COMPUTE}, **states})

    def _engine(self, where: str) -> Any:
        def get(name: str) -> Any:
            def exec_run(command: list[str]) -> tuple[int, bytes]:
                # A member that hangs must not hang `up`; it is bash that runs the line.
                assert command[:4] == ["timeout", "60", "bash", "-c"]
                self.said.append(f"{where}/{name}: {command[4]}")
                code = self._answers(where, command[4])
                return code, b"refused" if code else b""

            def stop(timeout: int) -> None:
                self.said.append(f"{where}/{name} stopped in {timeout}")

            return SimpleNamespace(exec_run=exec_run, stop=stop)

        return SimpleNamespace(get=get)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE", 0)


ALL = {n.name: has("db", "queue") for n in CONTROL}
STOPPED = [f"{n.name}/db stopped in 30" for n in CONTROL]
AGAIN = {f"{n.name}/db_bootstrap": "no member of db is in a cluster any more" for n in CONTROL}


# -- lost --------------------------------------------------------------------------------


def test_where_none_is_a_member_all_are_stopped_and_founded_again() -> None:
    lab = Lab(lambda node, line: 1)
    assert lab.lost(ALL) == AGAIN
    assert lab.said == [f"{n.name}/db: is-member {n.address}" for n in CONTROL] + STOPPED
    stops = [event for event in lab.events if event.kind == "start"]
    assert [(event.node, event.type) for event in stops] == [(n.name, "stop") for n in CONTROL]


@pytest.mark.parametrize("alive", ["ctl1", "ctl2", "ctl3"])
def test_where_one_is_a_member_nothing_is_done(alive: str) -> None:
    lab = Lab(lambda node, line: int(node != alive))
    assert lab.lost(ALL) == {}
    assert not [line for line in lab.said if "stopped" in line]


def test_one_that_is_alive_is_enough_when_the_others_are_off_or_gone() -> None:
    lab = Lab()
    assert lab.lost({"ctl1": has(), "ctl2": has(db="exited"), "ctl3": has("db")}) == {}
    assert lab.said == ["ctl3/db: is-member 172.30.0.3"]


def test_members_that_do_not_run_are_not_asked() -> None:
    """All were powered off: nothing is there to stop, and each node's data is used."""
    lab = Lab()
    off = {n.name: has(db="exited") for n in CONTROL}
    assert lab.lost(off) == AGAIN
    assert lab.said == []


def test_a_paused_member_proves_nothing() -> None:
    lab = Lab(lambda node, line: 1)
    assert lab.lost({**ALL, "ctl1": has(db="paused")}) == AGAIN
    assert lab.said[-3:] == STOPPED


def test_a_node_that_was_wiped_takes_part_in_the_founding() -> None:
    lab = Lab(lambda node, line: 1)
    assert lab.lost({**ALL, "ctl1": has()}) == AGAIN


def test_what_was_never_there_is_not_lost() -> None:
    assert Lab(lambda node, line: 1).lost(dict.fromkeys(ALL, has())) == {}


def test_a_single_node_is_no_cluster() -> None:
    lab = Lab(lambda node, line: 1, nodes=(CTL1, *COMPUTE))
    assert lab.lost({"ctl1": has("db", "queue")}) == {}
    assert lab.said == []


def test_a_cluster_whose_members_all_run_may_come_back_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They were just started: asked again until one is a member."""
    monkeypatch.setattr(cluster, "PATIENCE", 20)
    asked: list[str] = []

    def answer(node: str, line: str) -> int:
        asked.append(node)
        return int(len(asked) < 5)

    assert Lab(answer).lost(ALL) == {}
    assert asked == ["ctl1", "ctl2", "ctl3", "ctl1", "ctl2"]


def test_one_that_cannot_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member is off and does not come back by waiting."""
    monkeypatch.setattr(cluster, "PATIENCE", 3)
    lab = Lab(lambda node, line: 1)
    assert lab.lost({**ALL, "ctl2": has(db="exited")}) == AGAIN
    asked = [line for line in lab.said if "is-member" in line]
    assert [line.split("/")[0] for line in asked] == ["ctl1", "ctl3"], "each of them once"
    assert [line for line in lab.said if "stopped" in line] == [STOPPED[0], STOPPED[2]]


# -- forget ------------------------------------------------------------------------------


def test_one_member_is_told_of_each_that_went() -> None:
    lab = Lab(nodes=(CTL1, CTL2, *COMPUTE))
    gone = node(4), node(5)
    lab.clusters.forget(gone, ALL)
    assert lab.said == [
        "ctl1/queue: forget 172.30.0.4 at 172.30.0.1",
        "ctl1/queue: forget 172.30.0.5 at 172.30.0.1",
    ]


def test_the_next_one_is_told_when_one_refuses() -> None:
    lab = Lab(lambda node, line: int(node == "ctl1"))
    lab.clusters.forget([node(4)], ALL)
    assert lab.said == [
        "ctl1/queue: forget 172.30.0.4 at 172.30.0.1",
        "ctl2/queue: forget 172.30.0.4 at 172.30.0.2",
    ]
    assert [(e.node, e.text) for e in lab.events if e.kind == "note"] == [("ctl1", "refused")]


def test_it_goes_on_when_all_refuse() -> None:
    lab = Lab(lambda node, line: 1)
    lab.clusters.forget([node(4)], ALL)
    assert len(lab.said) == 3


def test_only_members_that_run_are_told() -> None:
    lab = Lab()
    lab.clusters.forget([node(4)], {"ctl1": has(queue="exited"), "ctl3": has("queue")})
    assert lab.said == ["ctl3/queue: forget 172.30.0.4 at 172.30.0.3"]


def test_only_members_of_the_same_role_are_told() -> None:
    lab = Lab(nodes=(*CONTROL, COMPUTE[0]))
    lab.clusters.forget([COMPUTE[1]], {**ALL, "cmp11": has("agent")})
    assert lab.said == ["cmp11/agent: forget cmp12"]


def test_a_node_that_was_wiped_is_forgotten_by_the_others() -> None:
    lab = Lab()
    states = {**ALL, "ctl1": has(), "cmp11": has("agent"), "cmp12": has()}
    lab.clusters.forget_wiped(states)
    assert lab.said == [
        "ctl2/queue: forget 172.30.0.1 at 172.30.0.2",
        "cmp11/agent: forget cmp12",
    ]


@pytest.mark.parametrize(
    "left", [has(queue="exited"), has(queue="created"), has(volumes=("queue",))]
)
def test_a_node_that_has_something_of_it_is_not_forgotten(left: NodeState) -> None:
    """Its container was removed to be made again, say: the data is there."""
    lab = Lab()
    agents = {n.name: has("agent") for n in COMPUTE}
    lab.clusters.forget_wiped({**ALL, **agents, "ctl1": left})
    assert lab.said == []


def test_data_of_something_else_is_none_of_it() -> None:
    lab = Lab()
    agents = {n.name: has("agent") for n in COMPUTE}
    lab.clusters.forget_wiped({**ALL, **agents, "ctl1": has("db", volumes=("db",))})
    assert lab.said == ["ctl2/queue: forget 172.30.0.1 at 172.30.0.2"]


def test_the_first_deploy_tells_nobody() -> None:
    lab = Lab()
    lab.clusters.forget_wiped({n.name: has() for n in (*CONTROL, *COMPUTE)})
    assert lab.said == []


# -- stop_all ----------------------------------------------------------------------------


def test_all_that_runs_on_a_node_that_goes_is_stopped() -> None:
    stopped = []

    def stop(name: str, timeout: int) -> None:
        stopped.append(name)
        if name == "db":
            raise OSError("the engine does not answer")

    connection: Any = SimpleNamespace(docker=SimpleNamespace(api=SimpleNamespace(stop=stop)))
    stop_all(connection, has("db", "queue", "agent", api="exited", seed="paused"))
    assert sorted(stopped) == ["agent", "db", "queue"]
