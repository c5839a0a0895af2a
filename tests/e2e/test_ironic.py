"""Machines from a real Ironic, whose hardware is fake."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ironic_lab import RealIronic, real_ironic

sys.path.append(str(Path(__file__).parents[1] / "unit/providers"))
pytest.register_assert_rewrite("ironic_cases")
from ironic_cases import IronicCases  # noqa: E402


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealIronic]:
    """Installed and started; a few seconds each."""
    folder = tmp_path_factory.mktemp("ironic")
    with real_ironic(folder) as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(folder / "clouds.yaml"))
        yield made


class TestIronic(IronicCases):
    """The cases that the fake one passes, too."""
