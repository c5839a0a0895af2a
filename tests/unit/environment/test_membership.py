"""Nodes that the topology lost, and a first guest that a node was lost with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from devenv import environment
from devenv.core.errors import InputError
from devenv.core.events import Events
from devenv.core.redact import Redactor
from devenv.deploy import delivery
from devenv.deploy.actual import Actual, NodeState
from devenv.deploy.plan import plan
from devenv.deploy.records import Record
from devenv.environment import GUEST_JOB, Environment, Guest
from devenv.images.store import Store
from devenv.nodes.connection import Connection
from devenv.nodes.node import ExternalLink, Node, SshTarget
from devenv.providers.base import Inventory
from devenv.services.catalogue import catalogue
from devenv.services.model import ContainerSpec
from devenv.services.render import Rendered
from devenv.topology.load import LoadedTopology, load

SHRUNK = """version: 1
provider: local
nodes:
  ctl: {count: 3, roles: [control, network]}
  cmp1: {roles: [compute]}
"""


def node(name: str, number: int, *roles: str) -> Node:
    address = f"172.30.0.{number}"
    ssh = SshTarget(address, Path("/k"), Path("/h"))
    return Node(name, frozenset(roles), address, ExternalLink("eth1", f"172.31.0.{number}/24"), ssh)


NODES = (
    *(node(f"ctl{n}", 10 + n, "control", "network") for n in (1, 2, 3)),
    *(node(f"cmp{n}", 20 + n, "compute") for n in (1, 2)),
)
CTL1, CTL2, CTL3, CMP1, CMP2 = NODES


class Nodes:
    """Five nodes on which every service runs that has a cluster; some do not answer."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.silent: set[str] = set()
        self.refusing: set[str] = set()
        self.guests: dict[str, list[str]] = {}
        self.states = {one.name: self._state(one) for one in NODES}

    def _state(self, one: Node) -> NodeState:
        found = {
            name: Actual("id", name, service.name, "i", "h", False, "running", "", None)
            for service in catalogue().values()
            for name, spec in service.containers.items()
            if spec.cluster and not one.roles.isdisjoint(spec.roles)
        }
        return NodeState(found, frozenset())

    @contextmanager
    def connected(
        self, wanted: Iterable[Node], *_: Any, lenient: bool = False
    ) -> Iterator[dict[str, Any]]:
        assert lenient, "a node that is gone for good must not be in the way"
        yield {one.name: self._connection(one) for one in wanted if one.name not in self.silent}

    def _connection(self, one: Node) -> Any:
        def stop(name: str, timeout: int) -> None:
            self.did.append(f"{one.name}: stop {name}")

        def get(name: str) -> Any:
            def exec_run(command: list[str]) -> tuple[int, bytes]:
                self.did.append(f"{one.name}/{name}: {command[4]}")
                return int(one.name in self.refusing), b""

            return SimpleNamespace(exec_run=exec_run)

        return SimpleNamespace(
            node=one,
            docker=SimpleNamespace(
                api=SimpleNamespace(stop=stop, inspect_volume=lambda name: {"Mountpoint": "/v"}),
                containers=SimpleNamespace(get=get),
            ),
            read=lambda path: b"the master\n",
            run=lambda script: SimpleNamespace(
                stdout="\n".join(self.guests.get(one.name, [])).encode()
            ),
        )


class Created(Exception):
    """The provider was asked to make the nodes."""


class FakeProvider:
    """Has five nodes."""

    did: list[str]

    def __init__(self, *_: object) -> None:
        networks = IPv4Network("172.30.0.0/24"), IPv4Network("172.31.0.0/24")
        addresses = IPv4Address("172.30.0.10"), IPv4Address("172.31.0.1")
        self.inventory = Inventory("lab", "", NODES, *networks, *addresses, virtual=True)

    def nodes(self) -> Inventory:
        return self.inventory

    def check(self, wanted: LoadedTopology) -> list[Any]:
        return []

    def create(self, wanted: LoadedTopology, store: str) -> Inventory:
        raise Created


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    made = Nodes()
    monkeypatch.setattr(environment, "connected", made.connected)
    monkeypatch.setattr(
        environment,
        "inspect_all",
        lambda connections, name: {n: made.states[n] for n in connections},
    )
    return made


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: Nodes) -> Environment:
    monkeypatch.setenv("DEVENV_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(environment, "provider_class", lambda name: FakeProvider)
    stores = SimpleNamespace(ensure=lambda recipes: Store("store", {}, 0))
    monkeypatch.setattr(Environment, "stores", stores)
    return Environment("lab", "local", Events(), Redactor())


@pytest.fixture
def shrunk(tmp_path: Path, lab: Environment) -> LoadedTopology:
    """The topology of the nodes without the second compute node."""
    file = tmp_path / "t.yaml"
    file.write_text(SHRUNK)
    loaded = load(file)
    provider = cast(Any, lab.provider)
    provider.inventory = Inventory(
        **{**vars(provider.inventory), "source": loaded.source}  # as `up` was told
    )
    return loaded


# -- guests that would be lost -----------------------------------------------------------


def test_guests_are_not_lost_with_their_node_unasked(
    lab: Environment, nodes: Nodes, shrunk: LoadedTopology
) -> None:
    nodes.guests["cmp2"] = ["web", "guest"]
    with pytest.raises(
        InputError, match="no node cmp2 any more, and guests run there: web, guest\n"
    ) as e:
        lab.up(shrunk, {})
    assert "devenv up --force" in str(e.value)
    assert nodes.did == [], "nothing was changed"


def test_with_force_they_are(lab: Environment, nodes: Nodes, shrunk: LoadedTopology) -> None:
    nodes.guests["cmp2"] = ["web"]
    with pytest.raises(Created):
        lab.up(shrunk, {}, force=True)
    assert "cmp2: stop nova_compute" in nodes.did


def test_a_node_without_guests_goes(lab: Environment, nodes: Nodes, shrunk: LoadedTopology) -> None:
    nodes.guests["cmp1"] = ["web"]
    with pytest.raises(Created):
        lab.up(shrunk, {})


def test_a_server_with_the_first_guests_name_is_not_lost_either(
    lab: Environment, nodes: Nodes
) -> None:
    inventory = lab.provider.nodes()
    assert inventory
    nodes.guests.update(cmp1=["guest"])
    lab._refuse_guests(inventory, (CMP2,))
    with pytest.raises(InputError, match="no node cmp1 any more, and guests run there: guest"):
        lab._refuse_guests(inventory, (CMP1, CMP2))


# -- leaving -----------------------------------------------------------------------------


def test_a_node_stops_before_the_others_forget_it(
    lab: Environment, nodes: Nodes, shrunk: LoadedTopology
) -> None:
    with pytest.raises(Created):
        lab.up(shrunk, {})
    stops = [line for line in nodes.did if ": stop" in line]
    assert sorted(stops) == ["cmp2: stop nova_compute", "cmp2: stop ovn_controller"]
    told = nodes.did[len(stops) :]
    assert {line.split(":")[0] for line in told} == {"cmp1/nova_compute", "ctl1/ovn_controller"}
    assert "cmp1/nova_compute: forget_compute cmp2" in told
    assert any(line.endswith("--if-exists chassis-del cmp2") for line in told)


def retired(lab: Environment, *going: Node) -> None:
    inventory = lab.provider.nodes()
    assert inventory
    images = {
        spec.image: delivery.Image(spec.image, "r", spec.image)
        for service in catalogue().values()
        for spec in service.containers.values()
    }
    services = list(catalogue().values())
    lab._retire(load("multinode"), services, inventory, going, images)


def test_a_control_node_leaves_its_clusters(lab: Environment, nodes: Nodes) -> None:
    retired(lab, CTL3)
    stops = [line for line in nodes.did if ": stop" in line]
    assert {line.split(":")[0] for line in stops} == {"ctl3"}
    assert nodes.did[: len(stops)] == stops
    said = " ".join(nodes.did[len(stops) :])
    assert "ctl1/rabbitmq: rabbitmqctl" in said and "rabbit@172.30.0.13" in said
    assert "cluster/kick OVN_Northbound tcp:172.30.0.13:6643" in said
    assert "cluster/kick OVN_Southbound tcp:172.30.0.13:6644" in said
    # Where the southbound database is asked for, nobody who went is named.
    assert "tcp:172.30.0.13:6642" not in said
    assert "forget_compute" not in said


def test_a_node_that_does_not_answer_is_forgotten_all_the_same(
    lab: Environment, nodes: Nodes
) -> None:
    nodes.silent = {"cmp2", "ctl1"}
    retired(lab, CMP2)
    assert [line for line in nodes.did if "stop" in line] == []
    assert "cmp1/nova_compute: forget_compute cmp2" in nodes.did
    assert any(line.startswith("ctl2/ovn_controller") for line in nodes.did)


def test_the_next_member_is_told_when_one_refuses(lab: Environment, nodes: Nodes) -> None:
    nodes.refusing = {"ctl1"}
    retired(lab, CTL3)
    told = [line.split("/")[0] for line in nodes.did if "/rabbitmq:" in line]
    assert told == ["ctl1", "ctl2"]


# -- the first guest ---------------------------------------------------------------------

TOLD = '{"name": "guest", "address": "172.31.0.100"}'


class Engine:
    """A control node whose guest job said something, and from which a guest is reached."""

    def __init__(self, one: Node, *, said: str = "", answers: bool = True) -> None:
        self.node = one
        self.docker = SimpleNamespace(api=self)
        self._said = said
        self._answers = answers
        self.asked: list[str] = []

    def logs(self, id: str, tail: int) -> bytes:
        return f"{self._said}\n".encode()

    def reaches(self, address: str, port: int) -> bool:
        self.asked.append(address)
        return self._answers


def after_a_deploy(code: int | None = 0, *, wiped: bool = False) -> dict[str, NodeState]:
    """The states of the control nodes after the guest job ran on the first one."""
    job = Actual("id", GUEST_JOB, "seed", "i", "h", True, "exited", "", code)
    kept = NodeState({}, frozenset(), {GUEST_JOB: Record("h", TOLD)})
    ran = NodeState({} if wiped else {GUEST_JOB: job}, frozenset())
    return {"ctl1": ran, "ctl2": kept, "ctl3": kept}


def engines(*, answers: bool) -> dict[str, Connection]:
    made = {one.name: Engine(one, said=TOLD, answers=answers) for one in (CTL1, CTL2, CTL3)}
    return cast(dict[str, Connection], made)


def jobs(states: Mapping[str, NodeState], again: Mapping[str, str]) -> list[str]:
    """What is planned for the guest's job, which is the first node's."""
    spec = ContainerSpec(image="seed", roles=["control"], job=True)
    item = Rendered("seed", GUEST_JOB, "ctl1", spec, "i", {}, {}, "", "h")
    return [action.id for action in plan([item], states, again) if action.verb == "run"]


@pytest.mark.parametrize("wiped", [False, True])
def test_the_guest_is_known_from_the_job_or_from_a_record(lab: Environment, wiped: bool) -> None:
    found = lab._guest(after_a_deploy(wiped=wiped), engines(answers=True))
    assert found
    assert found[1] == Guest(**json.loads(TOLD), answers=True)


@pytest.mark.parametrize("wiped", [False, True])
def test_a_guest_that_answers_is_left_alone(lab: Environment, wiped: bool) -> None:
    states = after_a_deploy(wiped=wiped)
    assert jobs(states, lab._again(states, engines(answers=True))) == []


def test_a_guest_that_does_not_answer_is_made_again(lab: Environment) -> None:
    states = after_a_deploy()
    assert jobs(states, lab._again(states, engines(answers=False))) == [f"ctl1/{GUEST_JOB}"]


@pytest.mark.parametrize(("code", "wiped"), [(0, True), (1, False)], ids=["wiped", "failed"])
def test_a_guest_that_only_a_record_tells_of_is_made_again(
    lab: Environment, code: int, wiped: bool
) -> None:
    states = after_a_deploy(code, wiped=wiped)
    assert jobs(states, lab._again(states, engines(answers=False))) == [f"ctl1/{GUEST_JOB}"]
