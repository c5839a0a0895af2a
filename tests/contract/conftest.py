"""An engine in memory, and asserts that explain themselves in the suite, which is no test file."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite("provider_contract")

from fake_engine import Engine  # noqa: E402 - the rewriting has to come first
from local_fakes import install, provider  # noqa: E402

from devenv.providers.local import LocalProvider  # noqa: E402


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """What the local provider and this machine's checks see."""
    made = Engine()
    install(made, monkeypatch)
    return made


@pytest.fixture
def lab(engine: Engine, tmp_path: Path) -> LocalProvider:
    """The environment ``lab``."""
    return provider("lab", tmp_path / "state")
