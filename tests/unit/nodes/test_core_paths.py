"""Where things are kept, and that others cannot look."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from devenv.core import paths

#: sun_path of Linux has 108 bytes with the NUL at the end (unix(7)).
LONGEST_SOCKET = 107


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DEVENV_HOME", "DEVENV_CACHE", "XDG_RUNTIME_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    return tmp_path


def private(path: Path) -> bool:
    return path.is_dir() and stat.S_IMODE(path.stat().st_mode) == 0o700


def test_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert paths.home() == Path("/home/me/.local/share/devenv")
    monkeypatch.setenv("DEVENV_HOME", "/elsewhere")
    assert paths.home() == Path("/elsewhere")


def test_state_folders(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVENV_HOME", str(clean / "home"))
    found = paths.environment("lab")
    assert found == clean / "home/environments/lab"
    assert private(found)
    assert paths.environment("lab") == found


def test_cache(clean: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths.cache() == clean / "cache/devenv"
    monkeypatch.setenv("DEVENV_CACHE", str(clean / "own"))
    assert paths.cache() == clean / "own"
    assert private(clean / "own")


def test_sockets_are_near_the_root_however_deep_home_is(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVENV_HOME", str(clean / ("long/" * 40)))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(clean))
    found = paths.sockets("an-environment-with-a-long-name")
    assert found.parent == clean
    assert private(found)
    assert len(f"/run/user/1000/{found.name}/ctl1.4194304.docker") < LONGEST_SOCKET


def test_without_a_runtime_folder_they_are_in_the_temporary_one(clean: Path) -> None:
    assert paths.sockets("lab").parent == clean / "t"


def test_sockets_of_environments_and_homes_differ(
    clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {paths.sockets("a"), paths.sockets("b")}
    monkeypatch.setenv("DEVENV_HOME", str(clean / "other"))
    assert len(found | {paths.sockets("a")}) == 3
    assert paths.sockets("a") == paths.sockets("a")
