"""What an image is built from, and what makes it another one."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from devenv.core.errors import BuildError
from devenv.images.recipe import Cookbook, Recipe

DOCKERFILE = """\
FROM devenv/debian:trixie AS tools
FROM devenv/base:${RELEASE} AS api-base
from api-base as api
COPY --from=tools /x /x
FROM devenv/openstack-base:${RELEASE}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """base <- api, worker; each with a file of its own."""
    for name, text in {
        "base/Dockerfile": "FROM devenv/debian:trixie\nCOPY start /start\n",
        "base/start": "#!/bin/sh\n",
        "api/Dockerfile": "FROM devenv/base:${RELEASE} AS api\nFROM api AS worker\n",
        "api/files/app.py": "print()\n",
        "other/Dockerfile": "FROM devenv/debian:trixie\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def book(folder: Path, release: str = "2026.1") -> Cookbook:
    return Cookbook(
        [
            Recipe("base", release, folder / "base"),
            Recipe("api", release, folder / "api", "api"),
            Recipe("worker", release, folder / "api", "worker"),
            Recipe("other", release, folder / "other"),
        ]
    )


def test_parents_are_our_images_and_not_stages(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    recipe = Recipe("api", "2026.1", tmp_path, "api")
    assert recipe.parents == {"base", "openstack-base"}
    assert recipe.reference == "devenv/api:2026.1"


def test_hashes_are_of_the_content(folder: Path) -> None:
    hashes = book(folder).hashes()
    assert hashes == book(folder).hashes()
    assert len(set(hashes.values())) == len(hashes) == 4


Change = Callable[[Path], object]


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (lambda f: (f / "api/files/app.py").write_text("print(1)\n"), {"api", "worker"}),
        (lambda f: (f / "api/files/app.py").chmod(0o755), {"api", "worker"}),
        (lambda f: (f / "api/files/new").touch(), {"api", "worker"}),
        (lambda f: (f / "api/files/app.py").rename(f / "api/files/b.py"), {"api", "worker"}),
        (lambda f: (f / "api/link").symlink_to("files/app.py"), {"api", "worker"}),
        (lambda f: (f / "base/start").write_text("#!/bin/bash\n"), {"base", "api", "worker"}),
        (lambda f: (f / "other/Dockerfile").write_text("FROM x\n"), {"other"}),
    ],
)
def test_a_change_of_a_folder_changes_what_stands_on_it(
    folder: Path, change: Change, changed: set[str]
) -> None:
    before = book(folder).hashes()
    change(folder)
    after = book(folder).hashes()
    assert {name for name in before if before[name] != after[name]} == changed


@pytest.mark.parametrize(
    "name",
    [".git/HEAD", "__pycache__/app.pyc", "files/__pycache__/app.pyc", ".mypy_cache/x", ".tox/x"],
)
def test_what_tools_leave_behind_does_not_count(folder: Path, name: str) -> None:
    before, context = book(folder).hashes(), book(folder).recipes["api"].context({})
    path = folder / "api" / name
    path.parent.mkdir(parents=True)
    path.write_text("left behind")
    assert book(folder).hashes() == before
    assert book(folder).recipes["api"].context({}) == context


def test_modes_beyond_executable_do_not_count(folder: Path) -> None:
    """Checkouts differ in them by umask."""
    (folder / "base/start").chmod(0o644)
    before = book(folder).hashes()
    (folder / "base/start").chmod(0o600)
    assert book(folder).hashes() == before


def test_release_and_stage_count(folder: Path) -> None:
    before, after = book(folder).hashes(), book(folder, "2026.2").hashes()
    assert not set(before.values()) & set(after.values())
    assert before["api"] != before["worker"]


def test_another_stage_is_another_image(folder: Path) -> None:
    first, second = (Recipe("api", "2026.1", folder / "other", stage) for stage in ("a", "b"))
    assert Cookbook([first]).hash("api") != Cookbook([second]).hash("api")


def test_an_image_that_nobody_makes(folder: Path) -> None:
    (folder / "api/Dockerfile").write_text("FROM devenv/nothing:${RELEASE} AS api\n")
    with pytest.raises(BuildError, match="no recipe makes the image 'nothing'"):
        book(folder).hash("api")


def test_with_parents(folder: Path) -> None:
    assert book(folder).with_parents({"worker"}).recipes.keys() == {"base", "worker"}
    assert book(folder).with_parents(set()).recipes == {}
    assert book(folder).with_parents({"worker"}).hash("worker") == book(folder).hash("worker")
    with pytest.raises(BuildError):
        book(folder).with_parents({"nothing"})


def test_context(folder: Path) -> None:
    (folder / "api/files/app.py").chmod(0o775)
    recipe = book(folder).recipes["api"]
    data = recipe.context({"extra-ca.crt": b"PEM"})
    assert recipe.context({"extra-ca.crt": b"PEM"}) == data
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        entries = {entry.name: entry for entry in archive}
        assert entries.keys() == {"Dockerfile", "files/app.py", "extra-ca.crt"}
        assert entries["files/app.py"].mode == 0o755
        assert entries["extra-ca.crt"].mode == 0o644
        assert {(e.uid, e.gid, e.uname, e.mtime) for e in entries.values()} == {(0, 0, "", 0)}
        content = archive.extractfile("extra-ca.crt")
        assert content is not None and content.read() == b"PEM"


def test_context_does_not_depend_on_when_and_by_whom(folder: Path) -> None:
    recipe = book(folder).recipes["api"]
    before = recipe.context({})
    path = folder / "api/files/app.py"
    text = path.read_text()
    path.unlink()
    path.write_text(text)
    (folder / "api/Dockerfile").touch()
    assert recipe.context({}) == before
