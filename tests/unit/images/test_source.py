"""A checkout as a layer over a stock image."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from devenv.core.errors import InputError
from devenv.images.source import Source


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "nova"
    for name in ("setup.cfg", "nova/api.py", ".git/HEAD", "nova/__pycache__/api.pyc", ".tox/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def opened(context: bytes) -> tuple[dict[str, tarfile.TarInfo], str]:
    with tarfile.open(fileobj=io.BytesIO(context)) as archive:
        dockerfile = archive.extractfile("Dockerfile")
        assert dockerfile is not None
        return {entry.name: entry for entry in archive}, dockerfile.read().decode()


def test_context(checkout: Path) -> None:
    (checkout / "nova/api.py").chmod(0o755)
    entries, dockerfile = opened(Source("nova", checkout).context("devenv/nova-api:2026.1"))
    files = {name for name, entry in entries.items() if entry.isfile()}
    assert files == {"Dockerfile", "src/setup.cfg", "src/nova/api.py"}
    assert entries["src/nova/api.py"].mode & 0o777 == 0o755
    assert {(entry.uid, entry.gid) for entry in entries.values()} == {(0, 0)}
    assert dockerfile.startswith("FROM devenv/nova-api:2026.1\n")
    assert "install_source nova 9999.0.0 /src" in dockerfile


def test_a_worktree_has_a_git_file(checkout: Path) -> None:
    (checkout / ".git/HEAD").unlink()
    (checkout / ".git").rmdir()
    (checkout / ".git").write_text("gitdir: elsewhere")
    entries, _ = opened(Source("nova", checkout).context("x"))
    assert "src/.git" not in entries


def test_a_link_to_a_checkout_is_the_checkout(checkout: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(checkout)
    entries, _ = opened(Source("nova", link).context("x"))
    assert "src/nova/api.py" in entries
    assert Source("nova", link).hash("stock") == Source("nova", checkout).hash("stock")


def test_the_version_of_an_sdist_is_its_own(checkout: Path) -> None:
    (checkout / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: nova\nVersion: 33.0.1.dev5\n")
    _, dockerfile = opened(Source("nova", checkout).context("x"))
    assert "install_source nova 33.0.1.dev5 /src" in dockerfile


def test_a_pkg_info_without_a_version(checkout: Path) -> None:
    (checkout / "PKG-INFO").write_text("Name: nova\n")
    assert "9999.0.0" in opened(Source("nova", checkout).context("x"))[1]


def test_hash(checkout: Path) -> None:
    before = Source("nova", checkout).hash("stock")
    assert Source("nova", checkout).hash("stock") == before
    assert Source("nova", checkout).hash("other stock") != before
    assert Source("glance", checkout).hash("stock") != before
    (checkout / ".git/HEAD").write_text("another branch")
    assert Source("nova", checkout).hash("stock") == before
    (checkout / "nova/api.py").write_text("fixed")
    assert Source("nova", checkout).hash("stock") != before


@pytest.mark.parametrize("name", ["setup.py", "setup.cfg", "pyproject.toml"])
def test_what_a_project_has(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"has no setup\.py, setup\.cfg or pyproject\.toml"):
        Source("nova", tmp_path)
    (tmp_path / name).touch()
    Source("nova", tmp_path)
