"""What runs on a node, read from the Engine API's list of containers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from devenv.core import labels
from devenv.deploy.actual import Actual, NodeState, inspect, inspect_all
from devenv.nodes.connection import Connection


class Api:
    """Answers as GET /containers/json and GET /volumes do, and records the filters."""

    def __init__(self, containers: list[dict[str, Any]], volumes: list[str] | None) -> None:
        self._containers = containers
        self._volumes = volumes
        self.asked: list[tuple[str, object]] = []

    def containers(self, all: bool, filters: dict[str, Any]) -> list[dict[str, Any]]:
        assert all
        self.asked.append(("containers", filters["label"]))
        return self._containers

    def volumes(self, filters: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(("volumes", filters["label"]))
        named = None if self._volumes is None else [{"Name": name} for name in self._volumes]
        return {"Volumes": named}


def asked(api: Api, records: bytes = b"") -> NodeState:
    """The state of a node with these containers, volumes, and records of jobs."""
    connection = SimpleNamespace(
        docker=SimpleNamespace(api=api), run=lambda script: SimpleNamespace(stdout=records)
    )
    return inspect(cast(Connection, connection), "lab")


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "Id": "4f2a",
        "Names": ["/nova_api"],
        "Image": "devenv/nova-api:2026.1",
        "State": "running",
        "Status": "Up 2 minutes",
        "Labels": {labels.SERVICE: "nova", labels.HASH: "abc", labels.KIND: "container"},
        **changes,
    }


def test_a_container_that_runs() -> None:
    state = asked(Api([entry()], ["nova_compute", "mariadb"]))
    assert state == NodeState(
        {
            "nova_api": Actual(
                id="4f2a", name="nova_api", service="nova", image="devenv/nova-api:2026.1",
                hash="abc", is_job=False, state="running", status="Up 2 minutes", exit_code=None,
            )
        },
        frozenset({"nova_compute", "mariadb"}),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("exited", "Exited (0) 3 minutes ago", 0),
        ("exited", "Exited (137) Less than a second ago", 137),
        ("created", "Created", None),
        ("paused", "Up 2 minutes (Paused)", None),
        ("restarting", "Restarting (1) 5 seconds ago", None),
        ("dead", "Dead", None),
    ],
)
def test_states_and_exit_codes(state: str, status: str, code: int | None) -> None:
    found = asked(Api([entry(State=state, Status=status)], [])).containers["nova_api"]
    assert (found.state, found.exit_code) == (state, code)


def test_a_job() -> None:
    job = entry(Labels={labels.SERVICE: "nova", labels.KIND: "job"})
    found = asked(Api([job], [])).containers["nova_api"]
    assert found.is_job
    assert found.hash == ""


def test_an_engine_without_volumes_says_null() -> None:
    assert asked(Api([], None)) == NodeState({}, frozenset())


def test_a_job_was_done_by_its_container_or_by_a_record() -> None:
    job = {"Labels": {labels.SERVICE: "nova", labels.HASH: "h1", labels.KIND: "job"}}
    done = entry(Names=["/done"], State="exited", Status="Exited (0) 1 hour ago", **job)
    failed = entry(Names=["/failed"], State="exited", Status="Exited (1) 1 hour ago", **job)
    running = entry(Names=["/running"], **job)
    records = b'done {"hash": "h2", "said": ""}\nfailed {"hash": "h2"}\nelsewhere {"hash": "h3"}\n'
    state = asked(Api([done, failed, running], []), records)
    names = ("done", "failed", "running", "elsewhere", "never")
    assert {name: state.hashes(name) for name in names} == {
        "done": {"h1", "h2"},
        "failed": {"h2"},
        "running": set(),
        "elsewhere": {"h3"},
        "never": set(),
    }


def test_all_nodes_are_asked() -> None:
    nodes = {
        name: SimpleNamespace(
            docker=SimpleNamespace(api=Api([], [name])),
            run=lambda script: SimpleNamespace(stdout=b""),
        )
        for name in ("ctl1", "ctl2", "ctl3")
    }
    found = inspect_all(cast(dict[str, Connection], nodes), "lab")
    assert {name: set(state.volumes) for name, state in found.items()} == {
        name: {name} for name in nodes
    }
    assert inspect_all({}, "lab") == {}


def test_only_this_environment_is_asked_for() -> None:
    api = Api([], [])
    asked(api)
    own = f"{labels.ENVIRONMENT}=lab"
    assert api.asked == [("containers", [own, labels.SERVICE]), ("volumes", own)]
