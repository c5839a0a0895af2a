"""The lock is made by uv from the requirements, for the images' Python and up to a date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devenv.core.errors import BuildError, HostError
from devenv.images import lock

UV = """#!/bin/sh
printf '%s\\n' "$@" > arguments
cat requirements.in > requirements.lock
[ -e broken ] && { echo 'no versions go together' >&2; exit 1; }
exit 0
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with requirements, and a uv that writes down what it was asked."""
    (tmp_path / "bin").mkdir()
    uv = tmp_path / "bin" / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    (tmp_path / "requirements.in").write_text("nova\n")
    monkeypatch.setenv("PATH", f"{uv.parent}:/usr/bin:/bin")
    monkeypatch.setattr(lock, "folder", lambda: tmp_path)
    monkeypatch.setattr(lock, "layers", list)
    return tmp_path


def test_it_says_whether_the_lock_changed(folder: Path) -> None:
    assert lock.compile_lock()
    assert not lock.compile_lock()
    words = (folder / "arguments").read_text().split()
    assert words[words.index("--exclude-newer") + 1] == lock.EXCLUDE_NEWER
    assert words[words.index("--python-version") + 1] == lock.PYTHON
    assert "--generate-hashes" in words
    assert "--upgrade" not in words


def test_another_date_is_in_the_command_that_the_lock_names(folder: Path) -> None:
    lock.compile_lock("2026-06-01", upgrade=True)
    words = (folder / "arguments").read_text()
    assert "\n--exclude-newer\n2026-06-01\n" in words
    assert "devenv images lock --exclude-newer 2026-06-01" in words
    assert "--upgrade" in words


def test_a_layers_lock_is_made_beyond_the_bases(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = folder / "layer"
    layer.mkdir()
    (layer / "requirements.in").write_text("heat\n")
    (folder / "requirements.in").write_text("nova==33.0.1 \\\noslo-db==18.0.0 \\\n")
    monkeypatch.setattr(lock, "layers", lambda: [layer])
    assert lock.compile_lock()
    words = (layer / "arguments").read_text().split()
    assert words[words.index("--constraints") + 1] == str(folder / "requirements.lock")
    left_out = [words[i + 1] for i, word in enumerate(words) if word == "--no-emit-package"]
    assert left_out == ["nova", "oslo-db"]
    assert "--no-emit-package" not in (folder / "arguments").read_text()
    assert not lock.compile_lock()


def test_uvs_words_are_shown(folder: Path) -> None:
    (folder / "broken").touch()
    with pytest.raises(BuildError, match="no versions go together"):
        lock.compile_lock()


def test_without_uv(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "bin" / "uv").unlink()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(folder / "bin"))
    with pytest.raises(HostError, match="uv is not installed"):
        lock.compile_lock()


def test_the_committed_lock_is_of_the_committed_requirements() -> None:
    """Every requirement is in the lock, within its bounds, as one that was asked for."""
    from packaging.requirements import Requirement

    folder = lock.folder()
    text = (folder / "requirements.lock").read_text()
    assert f"--exclude-newer {lock.EXCLUDE_NEWER}" in text.partition("\n\n")[0][:300]
    pins = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", text, re.MULTILINE))
    asked = {
        block.split("==")[0]
        for block in re.split(r"\n(?=[a-z0-9])", text)
        if "-r requirements.in" in block
    }
    wanted = [
        Requirement(line)
        for line in (folder / "requirements.in").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert {one.name.lower() for one in wanted} == asked
    for one in wanted:
        assert pins[one.name.lower()] in one.specifier, one
