"""The command line as a person types it, without an engine and away from the person's files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import FakeEnvironment, Run
from click.testing import CliRunner, Result

from devenv.cli.main import cli
from devenv.providers import discover
from devenv.providers.discover import Existing


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No option from the environment, no engine, and state in a temporary folder."""
    for name in [name for name in os.environ if name.startswith("DEVENV_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DEVENV_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    monkeypatch.setattr(discover, "_of", lambda provider: [])  # nor virtual machines


@pytest.fixture
def run() -> Run:
    """Runs ``devenv`` with these words."""

    def invoke(*words: str, **options: Any) -> Result:
        return CliRunner().invoke(cli, list(words), prog_name="devenv", **options)

    return invoke


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> list[Existing]:
    """The environments that the engine would tell of; none at first."""
    found: list[Existing] = []
    monkeypatch.setattr(discover, "existing", lambda: found)
    return found


@pytest.fixture
def fake(there: list[Existing], monkeypatch: pytest.MonkeyPatch) -> type[FakeEnvironment]:
    """An environment ``default`` on one node that does what it is told, and nothing real."""
    there.append(
        Existing("default", "local", "aio", ("aio",), 1, "me", "2026-01-02T03:04:05+00:00")
    )
    monkeypatch.setattr("devenv.environment.Environment", FakeEnvironment)
    monkeypatch.setattr(FakeEnvironment, "calls", [])
    monkeypatch.setattr(FakeEnvironment, "changed", ["aio/nova_api"])
    return FakeEnvironment
