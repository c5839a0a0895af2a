"""Fixtures for the tests of images."""

from __future__ import annotations

from pathlib import Path

import pytest
from kolla_container import Container


@pytest.fixture
def container(tmp_path: Path) -> Container:
    """An empty container."""
    return Container(tmp_path / "root")
