"""Plans for three control nodes: jobs that another node did, and clusters that are founded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from plan_items import altered, container, deployed, job, made, verbs

from devenv.deploy.actual import Actual, NodeState
from devenv.deploy.plan import Action, plan
from devenv.deploy.records import Record
from devenv.services.model import Cluster
from devenv.services.render import Rendered

NODES = ("ctl1", "ctl2", "ctl3")
WIPED = NodeState({}, frozenset())


def on_each(name: str, *after: str, **facts: object) -> list[Rendered]:
    return [container(name, *after, node=node, **facts) for node in NODES]  # type: ignore[arg-type]


#: Two clusters as those of mariadb, whose data each node makes, and of ovn, whose first member
#: the first node makes; and what uses them.
CLOUD = [
    *(job("db_bootstrap", node=node, volume="db", each=True) for node in NODES),
    *on_each("db", "db_bootstrap", cluster=Cluster(bootstrap="db_bootstrap")),
    job("ovn_bootstrap", node="ctl1", volume="ovn"),
    *on_each("ovn", "ovn_bootstrap", cluster=Cluster(forget="kick")),
    job("db_users", "db", node="ctl1"),
    job("api_sync", "db_users", node="ctl1"),
    *on_each("api", "api_sync", "ovn"),
    container("agent", "api", "db_users", node="cmp1"),
]
VOLUMES = ("db", "ovn")


def there() -> dict[str, NodeState]:
    """The nodes after a deploy, and the records that it left."""
    nodes = deployed(CLOUD, VOLUMES, (*NODES, "cmp1"))
    jobs = {i.name: Record(i.hash) for i in CLOUD if i.spec.is_job and not i.spec.each}
    kept = {name: replace(nodes[name], records=jobs) for name in ("ctl2", "ctl3")}
    return {**nodes, **kept}


def runs(actions: list[Action]) -> dict[str, str]:
    return {action.id: action.why for action in actions if action.verb == "run"}


def test_nothing_is_done_to_what_is_there() -> None:
    assert set(verbs(plan(CLOUD, there())).values()) == {"check"}


# -- records -----------------------------------------------------------------------------


def test_nothing_is_done_twice_when_the_first_node_was_wiped() -> None:
    """Neither its jobs, which others have the records of, nor any founding of a cluster."""
    actions = plan(CLOUD, {**there(), "ctl1": WIPED})
    assert runs(actions) == {}
    changed = {action.id for action in actions if action.verb != "check"}
    assert changed == {"ctl1/db", "ctl1/ovn", "ctl1/api"}


def test_a_job_runs_when_nobody_has_its_record() -> None:
    nodes = {name: replace(state, records={}) for name, state in there().items()}
    assert runs(plan(CLOUD, {**nodes, "ctl1": WIPED})) == {
        "ctl1/db_users": "it did not run yet",
        "ctl1/api_sync": "it did not run yet",
    }


def test_a_record_of_another_hash_is_none() -> None:
    nodes = {**there(), "ctl1": WIPED}
    for name in ("ctl2", "ctl3"):
        old = {**nodes[name].records, "api_sync": Record("old")}
        nodes[name] = replace(nodes[name], records=old)
    assert runs(plan(CLOUD, nodes)) == {"ctl1/api_sync": "its image or configuration changed"}


def test_a_job_that_changed_runs_though_all_have_its_old_record() -> None:
    new = [replace(item, hash="new") if item.name == "api_sync" else item for item in CLOUD]
    assert runs(plan(new, there())) == {"ctl1/api_sync": "its image or configuration changed"}


@pytest.mark.parametrize("kept", ["ctl2", "ctl3"])
def test_one_record_is_enough(kept: str) -> None:
    nodes = {**there(), "ctl1": WIPED}
    for name in {"ctl2", "ctl3"} - {kept}:
        nodes[name] = replace(nodes[name], records={})
    assert runs(plan(CLOUD, nodes)) == {}


@pytest.mark.parametrize("code", [1, None])
def test_a_job_that_failed_runs_again_though_others_have_a_record_of_an_earlier_run(
    code: int | None,
) -> None:
    """It was run again for a reason: because the data was new, say, or the guest was lost."""
    nodes = altered(there(), "db_users", "ctl1", exit_code=code)
    assert runs(plan(CLOUD, nodes)) == {"ctl1/db_users": "it did not finish"}


def test_a_job_of_each_node_that_makes_no_data_is_done_on_each() -> None:
    wanted = [job("prepare", node=node, each=True) for node in NODES]
    nodes = deployed(wanted[:1], nodes=NODES)
    assert runs(plan(wanted, nodes)).keys() == {"ctl2/prepare", "ctl3/prepare"}


# -- order -------------------------------------------------------------------------------


def after(actions: list[Action]) -> dict[str, set[str]]:
    return {action.id: set(action.after) for action in actions}


def test_members_wait_for_all_bootstraps_and_others_for_all_members() -> None:
    found = after(plan(CLOUD, dict.fromkeys((*NODES, "cmp1"), WIPED)))
    bootstraps = {f"{node}/db_bootstrap" for node in NODES}
    for node in NODES:
        assert found[f"{node}/db"] == bootstraps
        assert found[f"{node}/ovn"] == {"ctl1/ovn_bootstrap"}
    assert found["ctl1/db_users"] == {f"{node}/db" for node in NODES}


def test_others_wait_for_the_instance_of_their_own_node_or_the_first() -> None:
    found = after(plan(CLOUD, dict.fromkeys((*NODES, "cmp1"), WIPED)))
    assert found["cmp1/agent"] == {"ctl1/api", "ctl1/db_users"}
    wanted = [*on_each("api"), *on_each("worker", "api")]
    found = after(plan(wanted, dict.fromkeys(NODES, WIPED)))
    assert {found[f"{node}/worker"] == {f"{node}/api"} for node in NODES} == {True}


def test_what_changed_everywhere_is_replaced_on_one_node_after_the_other() -> None:
    new = [i if i.name != "db" else replace(i, hash="new") for i in CLOUD]
    actions = plan(new, there())
    assert {a.id for a in actions if a.verb == "replace"} == {f"{node}/db" for node in NODES}
    found = after(actions)
    assert found["ctl1/db"] == set()
    assert found["ctl2/db"] == {"ctl1/db"}
    assert found["ctl3/db"] == {"ctl2/db"}
    # What did not change does not wait for a neighbour.
    assert found["ctl2/ovn"] == set()


def test_only_what_is_replaced_waits_for_its_neighbour() -> None:
    new = [i if i.name != "db" else replace(i, hash="new") for i in CLOUD]
    mixed = altered(there(), "db", "ctl2", hash="new")
    found = after(plan(new, mixed))
    assert found["ctl3/db"] - found["ctl1/db"] == {"ctl1/db"}
    assert found["ctl2/db"] == found["ctl1/db"]


@pytest.mark.parametrize("lost", ["wiped", "stopped"])
def test_a_member_that_comes_back_is_there_before_another_one_is_replaced(lost: str) -> None:
    """Otherwise two of three are away at the same time."""
    new = [i if i.name != "db" or i.node == "ctl2" else replace(i, hash="new") for i in CLOUD]
    nodes = altered(there(), "db", "ctl2", state="exited")
    if lost == "wiped":
        nodes["ctl2"] = WIPED
    found = after(plan(new, nodes))
    assert "ctl2/db" in found["ctl1/db"]


# -- never a second cluster --------------------------------------------------------------


@pytest.mark.parametrize("left", NODES)
def test_no_cluster_is_founded_while_one_node_has_a_member(left: str) -> None:
    nodes = {name: state if name in (left, "cmp1") else WIPED for name, state in there().items()}
    assert not {id for id in runs(plan(CLOUD, nodes)) if "bootstrap" in id}


def test_clusters_that_were_lost_are_brought_back_where_they_are_told_to() -> None:
    """And no job after them is done again: the data is there."""
    again = {f"{node}/db_bootstrap": "lost" for node in NODES}
    assert runs(plan(CLOUD, there(), again)) == again
    wiped = {**there(), "ctl1": WIPED}
    assert runs(plan(CLOUD, wiped, again)) == again


def test_all_data_gone_everywhere_makes_it_anew_with_all_that_uses_it() -> None:
    nodes = {name: replace(state, volumes=frozenset()) for name, state in there().items()}
    gone = {f"{node}/db_bootstrap": "the volume db is gone" for node in NODES}
    assert runs(plan(CLOUD, nodes)) == {
        **gone,
        "ctl1/ovn_bootstrap": "the volume ovn is gone",
        "ctl1/db_users": "what it works on is new",
        "ctl1/api_sync": "what it works on is new",
    }


@dataclass(frozen=True)
class Part:
    """What a node has of a cluster: the job's container with its exit code, data, a member."""

    job: int | str | None = "none"
    volume: bool = False
    member: bool = False

    def state(self, bootstrap: Rendered, member: Rendered) -> NodeState:
        found: dict[str, Actual] = {}
        if self.job != "none":
            found[bootstrap.name] = made(bootstrap, exit_code=self.job)
        if self.member:
            found[member.name] = made(member)
        volume = bootstrap.spec.creates_volume
        return NodeState(found, frozenset({volume} if self.volume else ()))


PARTS = st.builds(Part, st.sampled_from([0, 1, None, "none"]), st.booleans(), st.booleans())
BOOTSTRAPS = {
    "each": ([job("boot", node=node, volume="data", each=True) for node in NODES]),
    "first": [job("boot", node="ctl1", volume="data")],
}
MEMBERS = on_each("member", "boot", cluster=Cluster(bootstrap="boot"))


def states(parts: Mapping[str, Part]) -> dict[str, NodeState]:
    boot = BOOTSTRAPS["each"][0]
    return {node: part.state(boot, MEMBERS[0]) for node, part in parts.items()}


@pytest.mark.parametrize("kind", BOOTSTRAPS)
@given(parts=st.fixed_dictionaries(dict.fromkeys(NODES, PARTS)))
@example(parts={"ctl1": Part(), "ctl2": Part(), "ctl3": Part(0, True, True)})
@example(parts={"ctl1": Part(0, True), "ctl2": Part(0, False), "ctl3": Part(volume=True)})
def test_whatever_is_there_a_cluster_is_founded_only_where_there_is_none(
    kind: str, parts: dict[str, Part]
) -> None:
    """And there by every node whose data is not made yet, so that none waits for ever."""
    wanted = [*BOOTSTRAPS[kind], *MEMBERS]
    found = runs(plan(wanted, states(parts)))
    if any(part.volume and part.member for part in parts.values()):
        assert found == {}
        return
    unmade = {node for node, part in parts.items() if part.job != 0 or not part.volume}
    assert found.keys() == {f"{b.node}/boot" for b in BOOTSTRAPS[kind] if b.node in unmade}


@given(
    parts=st.fixed_dictionaries(dict.fromkeys(NODES, PARTS)),
    again=st.sets(st.sampled_from(NODES)),
)
def test_only_those_that_are_told_to_bring_a_cluster_back(
    parts: dict[str, Part], again: set[str]
) -> None:
    wanted = [*BOOTSTRAPS["each"], *MEMBERS]
    asked = {f"{node}/boot": "lost" for node in again}
    plain, told = runs(plan(wanted, states(parts))), runs(plan(wanted, states(parts), asked))
    assert told.keys() == plain.keys() | asked.keys()


# -- kill -9 at any moment ---------------------------------------------------------------


@dataclass
class World:
    """Nodes on which a plan is carried out one small step after the other.

    Data has an identity: that of the cluster that it was made for. A member without data takes
    it from another one, and waits while there is none.
    """

    parts: dict[str, Part] = field(default_factory=lambda: dict.fromkeys(NODES, Part()))
    data: dict[str, str] = field(default_factory=dict)
    founded: int = 0

    def wipe(self, node: str) -> None:
        self.parts[node] = Part()
        self.data.pop(node, None)

    def up(self, draw: st.DrawFn, *, killed: bool) -> None:
        """Carry out a plan, in any order that it allows, perhaps only a beginning of it."""
        actions = plan([*BOOTSTRAPS["first"], *MEMBERS], states(self.parts))
        pending, done = {action.id: action for action in actions}, set()
        planned = frozenset(pending)
        while pending:
            ready = sorted(i for i, a in pending.items() if a.after & planned <= done)
            id = draw(st.sampled_from(ready))
            for small in self._small(pending.pop(id)):
                if killed and draw(st.integers(0, 3)) == 0:
                    return
                small()
            done.add(id)

    def _small(self, action: Action) -> list[Callable[[], object]]:
        node = action.node

        def change(**facts: Any) -> Callable[[], object]:
            return lambda: self.parts.update({node: replace(self.parts[node], **facts)})

        def found() -> None:
            if node not in self.data:
                self.founded += 1
                self.data[node] = f"cluster {self.founded}"

        def join() -> None:
            known = sorted({self.data[n] for n, part in self.parts.items() if n in self.data})
            if node not in self.data and known:
                self.data[node] = known[0]

        if action.verb == "run":
            return [change(volume=True), change(job=None), found, change(job=0)]
        if action.verb == "create":
            return [change(volume=True), change(member=True), join]
        return [join]


@given(st.data())
def test_kills_and_wipes_never_make_a_second_cluster(data: st.DataObject) -> None:
    world = World()
    world.up(data.draw, killed=True)
    world.up(data.draw, killed=True)
    world.up(data.draw, killed=False)
    first = set(world.data.values())
    assert len(first) == 1
    for node in data.draw(st.permutations(NODES))[:2]:
        world.wipe(node)
        world.up(data.draw, killed=True)
        world.up(data.draw, killed=False)
        assert {world.data[name] for name in NODES} == first


def test_who_waits_for_a_done_job_waits_for_what_that_came_after() -> None:
    """An API whose schema is there is not asked before its database is started."""
    wanted = [container("db"), job("db_users", "db"), job("sync", "db_users")]
    wanted.append(container("api", "sync"))
    found = after(plan(wanted, deployed(wanted)))
    assert found == {"ctl/db": set(), "ctl/api": {"ctl/db"}}
