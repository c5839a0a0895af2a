"""What runs on a node, read from the Engine API's list of containers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from devenv.core import labels
from devenv.deploy.actual import Actual, NodeState, inspect
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


def asked(api: Api) -> NodeState:
    return inspect(cast(Connection, SimpleNamespace(docker=SimpleNamespace(api=api))), "lab")


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


def test_only_this_environment_is_asked_for() -> None:
    api = Api([], [])
    asked(api)
    own = f"{labels.ENVIRONMENT}=lab"
    assert api.asked == [("containers", [own, labels.SERVICE]), ("volumes", own)]
