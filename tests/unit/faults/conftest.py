"""Faults in memory, with records in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_fakes import FakeSite, World


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State and sockets are not the person's."""
    monkeypatch.setenv("DEVENV_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def world() -> World:
    """ctl1 (which has the virtual IP), ctl2, ctl3 and cmp1."""
    return World()


@pytest.fixture
def site(world: World) -> FakeSite:
    """Where faults are injected."""
    return world.site()
