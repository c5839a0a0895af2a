"""Certificates that builds trust beyond the distribution's."""

from __future__ import annotations

from pathlib import Path

import pytest

from devenv.core.errors import InputError
from devenv.images import trust


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(trust, "FOLDERS", (tmp_path / "debian", tmp_path / "fedora"))
    monkeypatch.delenv("DEVENV_CA_BUNDLE", raising=False)
    return tmp_path


def test_none_is_empty() -> None:
    assert trust.extra_certificates() == b""


def test_all_of_both_folders_each_on_lines_of_its_own(folder: Path) -> None:
    for name, text in {
        "debian/b.crt": "B",
        "debian/a/a.crt": "A\n",
        "fedora/c.pem": "C\n",
        "fedora/README": "no certificate",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert trust.extra_certificates() == b"A\nB\nC\n"


def test_a_named_bundle_stands_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "debian").mkdir()
    (folder / "debian/a.crt").write_text("A\n")
    (folder / "own.pem").write_text("OWN\n")
    monkeypatch.setenv("DEVENV_CA_BUNDLE", str(folder / "own.pem"))
    assert trust.extra_certificates() == b"OWN\n"


def test_a_named_bundle_that_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEVENV_CA_BUNDLE", str(folder / "gone.pem"))
    with pytest.raises(InputError, match=r"gone\.pem: No such file or directory"):
        trust.extra_certificates()
