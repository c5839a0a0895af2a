"""An engine and a rack of hosts in memory, and asserts of the suite that explain themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite("provider_contract")

from baremetal_fakes import NODES, Rack, topology  # noqa: E402 - rewriting has to come first
from fake_engine import Engine  # noqa: E402
from local_fakes import install, provider  # noqa: E402

from devenv.providers.local import LocalProvider  # noqa: E402
from devenv.topology.load import LoadedTopology  # noqa: E402


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


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rack:
    """Two hosts that the bare metal provider sees."""
    made = Rack(tmp_path / "rack", ("ctl", "cmp"))
    made.install(monkeypatch)
    return made


@pytest.fixture
def wanted(rack: Rack, tmp_path: Path) -> LoadedTopology:
    """What is to be made of them."""
    return topology(tmp_path, NODES + rack.section())
