"""Garbage goes; what somebody may be using stays."""

from __future__ import annotations

import datetime
import fcntl
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from devenv.core import paths
from devenv.core.errors import DevenvError
from devenv.images import leftovers


class Thing:
    """A container or a volume."""

    def __init__(self, name: str, kind: str = "", status: str = "", age: float = 0) -> None:
        made = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
        self.name, self.kind, self.status = name, kind, status
        # Nanoseconds, as the engine has them.
        self.attrs = {"Created": made.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")}
        self.removed = False

    def remove(self, **_: Any) -> None:
        self.removed = True


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEVENV_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def building() -> Iterator[None]:
    """Another devenv is building images."""
    with (paths.cache() / "builder.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def engine(*containers: Thing, **more: Any) -> Any:
    def find(*, filters: dict[str, str], **_: Any) -> list[Thing]:
        return [one for one in containers if filters["label"] == f"devenv.kind={one.kind}"]

    return SimpleNamespace(containers=SimpleNamespace(list=find), **more)


def test_helpers_that_nobody_waits_for_go() -> None:
    things = [
        Thing("dead probe", "probe", "exited", age=40),
        Thing("young probe", "probe", "exited", age=5),
        Thing("old helper", "helper", "running", age=700),
        Thing("builder", "builder", "running"),
        Thing("node", "", "running", age=7000),
        Thing("young helper", "helper", "running", age=5),
    ]
    removed = leftovers.remove_helpers(engine(*things))
    assert removed == ["container dead probe", "container old helper", "container builder"]
    assert [one.removed for one in things] == [True, False, True, True, False, False]


def test_a_builder_at_work_stays(building: None) -> None:
    builder = Thing("builder", "builder", "running", age=7000)
    assert leftovers.remove_helpers(engine(builder)) == []
    assert not builder.removed


def test_the_cache_is_not_cleared_under_a_build(building: None) -> None:
    with pytest.raises(DevenvError, match="is building images"):
        leftovers.clear_cache(engine())


def test_the_cache_goes_but_what_nodes_run_on_and_other_peoples_images(cache: Path) -> None:
    (cache / "schemas").mkdir()
    (cache / "mine").mkdir()
    store, gone = Thing("devenv-images-1"), []

    def images(*, filters: dict[str, Any] | None = None) -> list[Any]:
        if filters:
            return [SimpleNamespace(id="sha256:nameless", tags=[])]
        names = [
            "devenv/node:1",
            "devenv/node:2",
            "devenv/debian:trixie",
            "devenv/site:1",
            "debian:12",
        ]
        return [SimpleNamespace(id=name, tags=[name]) for name in names]

    def remove(reference: str) -> None:
        if reference == "devenv/node:2":
            raise docker.errors.APIError("a container is using it")
        gone.append(reference)

    client = engine(
        volumes=SimpleNamespace(list=lambda filters: [store]),
        images=SimpleNamespace(list=images, remove=remove),
    )
    removed = leftovers.clear_cache(client)
    assert store.removed
    assert gone == ["devenv/debian:trixie", "devenv/node:1", "sha256:nameless"]
    assert f"folder {cache / 'schemas'}" in removed
    assert not (cache / "schemas").exists()
    assert (cache / "mine").exists()
    assert "image devenv/node:2" not in removed
