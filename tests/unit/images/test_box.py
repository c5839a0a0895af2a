"""A box is found by what is in it, built once, and there all at once."""

from __future__ import annotations

import json
import re
import tarfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devenv.core.errors import BuildError
from devenv.core.events import Events
from devenv.images import box, disk
from devenv.images.store import Store, StoredImage


def store(**recipes: str) -> Store:
    images = {
        name: StoredImage(name, f"devenv/{name}:1", recipe, f"sha256:{name}", 1)
        for name, recipe in recipes.items()
    }
    return Store("devenv-images-1", images, 1)


STORE = store(mariadb="a", keystone="b")


class Maker:
    """Stands for :func:`devenv.images.disk.make_disk`; writes a few bytes."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails = False

    def __call__(self, _: Any, __: Any, store: Store, target: Path, ___: Events) -> None:
        self.calls += 1
        target.with_name("disk.raw").write_text("half")
        if self.fails:
            raise BuildError("no space")
        target.write_text(" ".join(store.images))


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    monkeypatch.setenv("DEVENV_CACHE", str(tmp_path))
    made = Maker()
    monkeypatch.setattr(disk, "make_disk", made)
    return made


def ensure(wanted: Store = STORE) -> box.Box:
    nobody: Any = None
    return box.ensure_box(nobody, nobody, wanted, Events())


def test_the_version_tells_what_is_in_it(maker: Maker) -> None:
    version = box.find(STORE).version
    assert re.fullmatch(r"0\.\d{1,12}\.0", version)
    assert box.find(store(keystone="b", mariadb="a")).version == version
    others = [store(mariadb="a"), store(mariadb="a", keystone="c"), store()]
    assert version not in {box.find(one).version for one in others}
    # Where the images are kept is no part of them.
    assert box.find(replace(STORE, volume="devenv-images-2", disk=7)).version == version


def test_a_changed_system_is_another_version(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = box.find(STORE).version
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / "Dockerfile").write_text("FROM devenv/debian:trixie\n")
    monkeypatch.setattr(disk, "files", lambda _: tmp_path)
    assert box.find(STORE).version != before


def test_what_vagrant_libvirt_reads(maker: Maker) -> None:
    made = ensure()
    with tarfile.open(made.file) as archive:
        assert archive.getnames() == ["metadata.json", "Vagrantfile", "box.img"]
        image, metadata = archive.extractfile("box.img"), archive.extractfile("metadata.json")
        assert image and metadata
        assert image.read() == b"mariadb keystone"
        said = json.load(metadata)
    assert (said["provider"], said["format"]) == ("libvirt", "qcow2")
    script = Path(disk.__file__).parent / "machine" / "build"
    assert f"size={said['virtual_size'] * 1024} " in script.read_text()


def test_built_once(maker: Maker) -> None:
    first = ensure()
    assert ensure() == first
    assert maker.calls == 1


def test_two_at_a_time_build_one(maker: Maker) -> None:
    with disk.alone():
        both = [threading.Thread(target=ensure) for _ in range(2)]
        for one in both:
            one.start()
        assert not box.find(STORE).file.exists()
    for one in both:
        one.join()
    assert maker.calls == 1
    assert box.find(STORE).file.exists()


def test_a_build_that_fails_leaves_no_box_and_the_next_one_clears_up(maker: Maker) -> None:
    maker.fails = True
    with pytest.raises(BuildError, match="no space"):
        ensure()
    assert not box.find(STORE).file.exists()
    maker.fails = False
    (box.folder() / "0.1.0.new").write_text("half")
    made = ensure(store(other="x"))
    assert {file.name for file in box.folder().iterdir()} == {made.file.name, "disk.raw"}


def test_killed_while_it_is_packed(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            ensure()
    assert not box.find(STORE).file.exists()
    ensure()
    assert maker.calls == 2


def test_the_newest_boxes_stay(maker: Maker) -> None:
    made = [ensure(store(one=str(number))).file for number in range(4)]
    assert [file.exists() for file in made] == [False, False, True, True]
