"""``devenv snapshot``."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cli_fakes import FakeEnvironment, Run

from devenv.providers.base import Inventory


@pytest.mark.parametrize(("verb", "does"), [("save", "snapshot"), ("restore", "restore")])
def test_save_and_restore(run: Run, fake: type[FakeEnvironment], verb: str, does: str) -> None:
    done = run("snapshot", verb, "before-1")
    assert done.exit_code == 0, done.output
    assert (does, "before-1") in fake.calls
    assert ("open", "default", "local") in fake.calls


@pytest.mark.parametrize("name", ["", "a b", "../x", "-v", "a" * 64])
def test_a_name_that_no_backend_takes(run: Run, fake: type[FakeEnvironment], name: str) -> None:
    done = run("snapshot", "save", "--", name)
    assert done.exit_code == 2
    assert fake.calls == []


def test_list(run: Run, fake: type[FakeEnvironment], monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = FakeEnvironment.inventory

    def saved(self: FakeEnvironment) -> Inventory:
        return replace(inventory(self), snapshots=("first", "second"))

    assert "nothing was saved" in run("snapshot", "list").stderr
    monkeypatch.setattr(fake, "inventory", saved)
    assert run("snapshot", "list").stdout.split() == ["SNAPSHOT", "first", "second"]
    assert json.loads(run("snapshot", "list", "--output", "json").stdout) == ["first", "second"]


def test_down_restores_hosts_when_told(run: Run, fake: type[FakeEnvironment]) -> None:
    assert run("down", "--restore-host").exit_code == 0
    assert ("down", "restored") in fake.calls
    assert run("down", "--force").exit_code == 0
    assert ("down", "forced") in fake.calls
