"""The disk of a machine: what is put together for it, and what is left when that fails."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest

from devenv.core.errors import BuildError, DevenvError
from devenv.core.events import Events
from devenv.images import disk
from devenv.images.store import Store, StoredImage, locked

STORE = Store(
    "devenv-images-1",
    {"mariadb": StoredImage("mariadb", "devenv/mariadb:1", "a", "sha256:1", 1)},
    1,
)


class Engine:
    """An engine with containers and volumes, and a builder's images; it keeps a diary."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.diary: list[str] = []
        self.used: list[str] = []
        self.there: set[str] = set()
        self.references = ["devenv/mariadb:1", "devenv/base:1"]
        images = SimpleNamespace(get=lambda _: None)
        self.client: Any = SimpleNamespace(
            images=images, volumes=self, containers=self.Containers(self)
        )

    def create(self, name: str, **_: Any) -> None:
        assert name not in self.there
        self.there.add(name)
        self.diary.append("volume")

    def get(self, name: str) -> Any:
        if name not in self.there:
            raise docker.errors.NotFound(name)

        def remove(force: bool) -> None:
            assert not self.used, "409: volume is in use"
            self.there.remove(name)

        return SimpleNamespace(remove=remove)

    class Containers:
        """Those on the volume."""

        def __init__(self, engine: Engine) -> None:
            self.engine = engine

        def list(self, *, all: bool, filters: dict[str, str]) -> list[Any]:
            assert all
            return [self.one(name) for name in self.engine.used]

        def one(self, name: str) -> Any:
            return SimpleNamespace(
                remove=lambda **_: self.engine.used.remove(name),
                start=lambda: self.engine.diary.append("start"),
                wait=lambda **_: {"StatusCode": self.engine.code},
                logs=lambda **_: b"mke2fs: no space left\n",
            )

        def create(self, image: str, **options: Any) -> Any:
            with pytest.raises(DevenvError), locked(wait=False):
                pass  # `gc` must see that somebody is at work.
            self.engine.used.append(options["name"])
            self.engine.diary.append(" ".join(options["volumes"]))
            return self.one(options["name"])


class FakeStores:
    """Clones by name, and opens a builder on what was cloned."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def clone(self, source: str, volume: str, _: Any) -> None:
        assert volume in self.engine.there
        self.engine.diary.append(f"clone {source}")

    @contextmanager
    def builder(self, volume: str) -> Iterator[Any]:
        def remove(reference: str, force: bool) -> None:
            self.engine.references.remove(reference)

        entries = [{"RepoTags": [name], "Labels": {}} for name in self.engine.references]
        yield SimpleNamespace(
            docker=SimpleNamespace(
                api=SimpleNamespace(images=lambda: entries),
                images=SimpleNamespace(remove=remove, prune=lambda filters: None),
            )
        )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVENV_CACHE", str(tmp_path / "cache"))


def make(engine: Engine, target: Path) -> None:
    stores: Any = FakeStores(engine)
    disk.make_disk(engine.client, stores, STORE, target, Events())


def test_only_the_topologys_images_go_onto_it(tmp_path: Path) -> None:
    engine = Engine()
    make(engine, tmp_path / "out" / "a.qcow2")
    assert engine.references == ["devenv/mariadb:1"]
    mounts = f"devenv-disk:/volume {tmp_path}/out:/target"
    assert engine.diary == ["volume", "clone devenv-images-1", mounts, "start"]
    assert (engine.used, engine.there) == ([], set())


def test_what_a_kill_left_goes_first(tmp_path: Path) -> None:
    engine = Engine()
    engine.used, engine.there = ["devenv-builder", "devenv-disk-clone"], {"devenv-disk"}
    make(engine, tmp_path / "a.qcow2")
    assert (engine.used, engine.there) == ([], set())


def test_a_failure_shows_the_last_lines_and_leaves_nothing(tmp_path: Path) -> None:
    engine = Engine(code=1)
    with pytest.raises(BuildError, match=r"a\.qcow2") as caught:
        make(engine, tmp_path / "a.qcow2")
    assert "no space left" in str(caught.value)
    assert (engine.used, engine.there) == ([], set())


def test_the_engines_folder_is_set_apart_from_the_rest(tmp_path: Path) -> None:
    """The helper's script, run here with another `build`."""
    for name in ("overlay2/layer/diff", "image/overlay2", "tree/old"):
        (tmp_path / name).mkdir(parents=True)
    for name in (".devenv-cloned", "engine-id"):
        (tmp_path / name).touch()
    build = "/usr/local/bin/build"
    script = disk._SCRIPT.replace("cd /volume", f"cd {tmp_path}").replace(f"sh {build}", "echo")
    done = subprocess.run(
        ["sh", "-c", script, "build", "a.qcow2"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["/volume/tree", "/volume/docker", "/target/a.qcow2"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == [
        "docker",
        "tree",
    ]
    assert (tmp_path / "docker" / "overlay2" / "layer" / "diff").is_dir()
    assert {path.name for path in (tmp_path / "docker").iterdir()} >= {"overlay2", "image"}
    assert list((tmp_path / "tree").iterdir()) == []
