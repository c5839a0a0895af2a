"""The plan is the difference between the topology and the labels, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plan_items import altered, container, deployed, job, verbs

from devenv.core.errors import DeployError
from devenv.deploy.actual import NodeState
from devenv.deploy.plan import plan
from devenv.services.render import Rendered

#: A database with its jobs, an API with a job behind it, and one that has nothing to do with it.
CLOUD = [
    job("db_bootstrap", volume="data"),
    container("db", "db_bootstrap"),
    job("db_users", "db"),
    job("api_sync", "db_users"),
    container("api", "api_sync"),
    job("register", "api"),
    container("cache"),
    job("unrelated", "cache"),
]


def test_nothing_there() -> None:
    actions = plan(CLOUD, {"ctl": NodeState({}, frozenset())})
    for action in actions:
        is_job = action.wanted is not None and action.wanted.spec.is_job
        assert (action.verb, action.why) == (
            ("run", "it did not run yet") if is_job else ("create", "it is not there")
        )
        assert action.actual is None
    assert [action.name for action in actions] == [item.name for item in CLOUD]


def test_second_plan_only_checks() -> None:
    actions = plan(CLOUD, deployed(CLOUD))
    assert verbs(actions) == dict.fromkeys(("ctl/db", "ctl/api", "ctl/cache"), "check")


@pytest.mark.parametrize("state", ["exited", "paused", "created", "dead"])
def test_a_container_that_does_not_run_is_started(state: str) -> None:
    actions = plan(CLOUD, altered(deployed(CLOUD), "api", state=state))
    (found,) = [action for action in actions if action.verb != "check"]
    assert (found.id, found.verb, found.why) == ("ctl/api", "start", f"it is {state}")


def test_a_changed_container_is_replaced_even_if_it_is_off() -> None:
    state = altered(deployed(CLOUD), "api", hash="old", state="exited")
    (found,) = [action for action in plan(CLOUD, state) if action.verb != "check"]
    assert (found.id, found.verb, found.why) == (
        "ctl/api", "replace", "its image or configuration changed",
    )  # fmt: skip
    assert found.wanted is CLOUD[4]
    assert found.actual == state["ctl"].containers["api"]


def test_a_change_of_one_service_touches_its_containers_only() -> None:
    old = [
        container(f"{service}_{part}", node=node, service=service)
        for service in ("nova", "glance")
        for part in ("api", "worker")
        for node in ("ctl", "cmp")
    ]
    new = [replace(item, hash="new") if item.service == "nova" else item for item in old]
    found = verbs(plan(new, deployed(old)))
    assert {id for id, verb in found.items() if verb == "replace"} == {
        "ctl/nova_api", "ctl/nova_worker", "cmp/nova_api", "cmp/nova_worker",
    }  # fmt: skip
    assert set(found.values()) == {"replace", "check"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"hash": "old"}, "its image or configuration changed"),
        ({"exit_code": 1}, "it did not finish"),
        ({"exit_code": None, "state": "running"}, "it did not finish"),
        ({"exit_code": None, "state": "created"}, "it did not finish"),
    ],
)
def test_a_job_that_is_not_done_runs_alone(changes: dict[str, object], why: str) -> None:
    """Nothing after it runs again: it makes no volume."""
    state = altered(deployed(CLOUD), "db_users", **changes)
    (found,) = [action for action in plan(CLOUD, state) if action.verb != "check"]
    assert (found.id, found.verb, found.why) == ("ctl/db_users", "run", why)


def test_a_vanished_volume_runs_all_jobs_after_it_and_no_container() -> None:
    actions = plan(CLOUD, deployed(CLOUD, volumes=[]))
    runs = {action.name: action.why for action in actions if action.verb == "run"}
    assert runs == {
        "db_bootstrap": "the volume data is gone",
        "db_users": "what it works on is new",
        "api_sync": "what it works on is new",
        "register": "what it works on is new",
    }
    assert {action.name for action in actions if action.verb == "check"} == {"db", "api", "cache"}


def test_the_cascade_crosses_nodes() -> None:
    far = [*CLOUD, container("agent", "api", node="cmp"), job("late", "agent", node="cmp")]
    actions = plan(far, deployed(far, volumes=[]))
    assert verbs(actions)["cmp/late"] == "run"
    assert verbs(actions)["cmp/agent"] == "check"


def test_a_job_keeps_its_own_reason_in_a_cascade() -> None:
    state = altered(deployed(CLOUD, volumes=[]), "api_sync", exit_code=2)
    whys = {action.name: action.why for action in plan(CLOUD, state)}
    assert whys["api_sync"] == "it did not finish"
    assert whys["register"] == "what it works on is new"


def test_what_the_topology_lost_is_removed() -> None:
    """Containers and jobs of a service that was disabled, and those on a node it left."""
    gone = [container("heat_api", service="heat"), job("heat_sync"), container("api", node="cmp")]
    actions = plan(CLOUD, deployed([*CLOUD, *gone]))
    removed = [action for action in actions if action.verb == "remove"]
    assert {action.id for action in removed} == {"ctl/heat_api", "ctl/heat_sync", "cmp/api"}
    assert {action.why for action in removed} == {"the topology no longer has it"}
    assert all(action.wanted is None and action.actual for action in removed)
    assert verbs(actions)["ctl/api"] == "check"


def test_after_something_that_nobody_deploys() -> None:
    with pytest.raises(DeployError, match="api: api comes after nothing, which no service has"):
        plan([container("api", "nothing")], deployed([]))


def test_after_something_that_is_not_deployed_here() -> None:
    """The catalogue has it, and here one control node needs none, or the topology disables it."""
    (action,) = plan([container("api", "haproxy", "keepalived")], deployed([]))
    assert (action.id, action.after) == ("ctl/api", set())


@st.composite
def clouds(draw: st.DrawFn) -> list[Rendered]:
    """Containers and jobs in an order without cycles, over up to three nodes."""
    items: list[Rendered] = []
    for number in range(draw(st.integers(1, 10))):
        after = draw(st.sets(st.sampled_from([item.name for item in items]))) if items else set()
        node = draw(st.sampled_from(["a", "b", "c"]))
        if draw(st.booleans()):
            volume = draw(st.sampled_from(["", "data"]))
            items.append(job(f"job{number}", *sorted(after), node=node, volume=volume))
        else:
            items.append(container(f"container{number}", *sorted(after), node=node))
    return items


NODES = ("a", "b", "c")


@given(clouds())
def test_any_deployed_cloud_is_only_checked(wanted: list[Rendered]) -> None:
    actions = plan(wanted, deployed(wanted, nodes=NODES))
    assert {action.verb for action in actions} <= {"check"}
    assert len(actions) == sum(not item.spec.is_job for item in wanted)


@given(clouds(), st.data())
def test_any_subset_that_is_there_is_left_alone(
    wanted: list[Rendered], data: st.DataObject
) -> None:
    """A deploy that was killed goes on: what is there is checked, the rest is made.

    But for data that is there, with what works on it: nothing makes that a second time.
    """
    there = [item for item in wanted if data.draw(st.booleans())]
    actions = plan(wanted, deployed(there, nodes=NODES))
    ids = {f"{item.node}/{item.name}" for item in there}
    used = {name for item in there if not item.spec.is_job for name in item.spec.after}
    kept = {
        f"{item.node}/{item.name}"
        for item in wanted
        if item.spec.creates_volume and item.name in used
    }
    for action in actions:
        if action.id in ids:
            assert action.verb == "check" or action.why == "what it works on is new"
        else:
            assert action.verb in ("create", "run")
    assert {action.id for action in actions} | ids | kept == {
        f"{item.node}/{item.name}" for item in wanted
    }
    own = {action.id for action in actions if action.why != "what it works on is new"}
    assert not own & kept


@given(clouds())
def test_the_cascade_is_what_can_be_reached(wanted: list[Rendered]) -> None:
    """After a volume vanished exactly its makers, and the jobs that can be reached, run."""
    after = {item.name: set(item.spec.after) for item in wanted}

    def reaches_maker(name: str) -> bool:
        return any(before in makers or reaches_maker(before) for before in after[name])

    makers = {item.name for item in wanted if item.spec.creates_volume}
    expected = {
        item.name
        for item in wanted
        if item.spec.is_job and (item.name in makers or reaches_maker(item.name))
    }
    actions = plan(wanted, deployed(wanted, volumes=[], nodes=NODES))
    assert {action.name for action in actions if action.verb == "run"} == expected
    assert {action.verb for action in actions} <= {"run", "check"}


def test_what_makes_data_is_done_once_whatever_image_would_make_it_today() -> None:
    bootstrap = job("bootstrap", volume="mariadb")
    state = deployed([bootstrap], volumes={"mariadb"})
    state = {
        node: replace(
            one, containers={n: replace(c, hash="old") for n, c in one.containers.items()}
        )
        for node, one in state.items()
    }
    assert plan([bootstrap], state) == []


def test_a_job_whose_work_is_gone_runs_again() -> None:
    seed = job("seed")
    (action,) = plan([seed], deployed([seed]), {"ctl/seed": "the guest does not answer"})
    assert (action.verb, action.why) == ("run", "the guest does not answer")
