"""Environments are found by the labels of what is there, whole or not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from devenv.core import labels
from devenv.core.errors import HostError, InputError
from devenv.providers import discover


def container(environment: str, node: str, order: int, state: str) -> dict[str, Any]:
    return {
        "State": state,
        "Labels": {
            labels.ENVIRONMENT: environment,
            labels.NODE: node,
            labels.TOPOLOGY: "multinode",
            labels.OWNER: "me",
            labels.CREATED: "2026-01-02T03:04:05+00:00",
            "devenv.order": str(order),
        },
    }


def other(environment: str) -> dict[str, Any]:
    """A network or a volume."""
    return {"Labels": {labels.ENVIRONMENT: environment, labels.OWNER: "you"}}


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whole environment, one half made, one half removed."""
    api = SimpleNamespace(
        containers=lambda **_: [
            container("lab", "ctl10", 10, "running"),
            container("lab", "ctl2", 2, "exited"),
            {"State": "running", "Labels": {labels.ENVIRONMENT: "half"}},
        ],
        networks=lambda **_: [other("lab"), other("half")],
        volumes=lambda **_: {"Volumes": [other("gone")]},
    )
    monkeypatch.setattr(discover, "connect", lambda: SimpleNamespace(api=api))
    monkeypatch.setattr(discover, "_of", lambda module: [])


def there(name: str, *nodes: str) -> discover.Existing:
    return discover.Existing(name, "vagrant", "aio", nodes, len(nodes), "me", "")


def test_those_of_other_providers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {"vagrant_existing": [there("box", "n1"), there("half", "n1"), there("lab")]}
    monkeypatch.setattr(discover, "_of", lambda module: mine.get(module, []))
    found = {one.name: one.provider for one in discover.existing()}
    assert found == {"box": "vagrant", "gone": "local", "half": "vagrant", "lab": "local"}

    def none() -> None:
        raise HostError("no engine")

    monkeypatch.setattr(discover, "connect", none)
    assert [one.name for one in discover.existing()] == ["box", "half", "lab"]
    mine.clear()
    with pytest.raises(HostError):
        discover.existing()


def test_all_are_found() -> None:
    gone, half, lab = discover.existing()
    assert (lab.name, lab.topology, lab.owner) == ("lab", "multinode", "me")
    assert lab.nodes == ("ctl2", "ctl10"), "in the topology's order"
    assert lab.state == "1 of 2 running"
    assert (half.name, half.nodes, half.state, half.topology) == ("half", (), "leftover", "")
    assert (gone.name, gone.state, gone.owner) == ("gone", "leftover", "you")


def test_an_engine_without_volumes(monkeypatch: pytest.MonkeyPatch) -> None:
    api = SimpleNamespace(
        containers=lambda **_: [], networks=lambda **_: [], volumes=lambda **_: {"Volumes": None}
    )
    monkeypatch.setattr(discover, "connect", lambda: SimpleNamespace(api=api))
    assert discover.existing() == []
    with pytest.raises(InputError, match="there is none at all"):
        discover.find("default")


def test_one_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(InputError, match=r"'lap'; did you mean lab\?\n.*gone, half, lab"):
        discover.find("lap")
    assert discover.find("lab").running == 1


@pytest.mark.parametrize(
    ("running", "state"), [(0, "stopped"), (1, "1 of 2 running"), (2, "running")]
)
def test_the_state_in_words(running: int, state: str) -> None:
    assert discover.Existing("x", "local", "", ("a", "b"), running, "", "").state == state
