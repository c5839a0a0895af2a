"""``devenv images box``."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_fakes import FakeEnvironment, Run

from devenv.images import box
from devenv.images.box import Box
from devenv.images.recipe import Cookbook
from devenv.images.store import Store, StoredImage


@pytest.fixture
def made(fake: type[FakeEnvironment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that a box was asked for; it is there from then on."""
    asked: list[str] = []
    there = Box("devenv/node", "0.1.0", tmp_path / "0.1.0.box")

    def ensure(cookbook: Cookbook) -> Store:
        images = {
            name: StoredImage(name, recipe.reference, "r", "i", 1)
            for name, recipe in cookbook.recipes.items()
        }
        return Store("devenv-images-1", images, 1)

    def ensure_box(client: object, stores: object, store: Store, events: object) -> Box:
        asked.extend(store.images)
        there.file.write_bytes(b"x" * 2**20)
        return there

    stores: Any = SimpleNamespace(ensure=ensure)
    monkeypatch.setattr(fake, "stores", stores, raising=False)
    monkeypatch.setattr("devenv.host.engine.connect", lambda **_: None)
    monkeypatch.setattr(box, "ensure_box", ensure_box)
    monkeypatch.setattr(box, "find", lambda store: there)
    return asked


@pytest.fixture
def topology(tmp_path: Path) -> Path:
    """One machine with a database."""
    path = tmp_path / "small.yaml"
    path.write_text(
        "version: 1\nrelease: '2026.1'\nprovider: vagrant\n"
        "nodes: {one: {count: 1, roles: [control, network, compute]}}\n"
    )
    return path


def test_built_with_what_the_services_run_on(run: Run, made: list[str], topology: Path) -> None:
    done = run("images", "box", "--topology", str(topology))
    assert done.exit_code == 0, done.output
    assert {"mariadb-server", "keystone"} <= set(made)
    assert "openstack-base" not in made  # Nothing runs on that one itself.
    assert "devenv/node 0.1.0 (1 MiB" in done.stderr
    assert "was built" in done.stderr
    assert "is there" in run("images", "box", "--topology", str(topology)).stderr


def test_as_json(run: Run, made: list[str], topology: Path, tmp_path: Path) -> None:
    done = run("images", "box", "--topology", str(topology), "--output", "json")
    said = json.loads(done.stdout)
    assert said["file"] == str(tmp_path / "0.1.0.box")
    assert (said["name"], said["version"], said["size"]) == ("devenv/node", "0.1.0", 2**20)
    assert len(said["images"]) == len(made)
