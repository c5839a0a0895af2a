"""What a topology may say and this version does not do is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from devenv.core.errors import InputError
from devenv.deploy import limits
from devenv.topology.load import load

NODES = "nodes:\n  ctl: {roles: [control, network, compute]}\n"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('release: "2025.1"\n', ":5: there are no images of release 2025.1"),
        ("images: {from: distro}\n", ":5: images from distro"),
    ],
)
def test_refused(tmp_path: Path, more: str, said: str) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(f"version: 1\nprovider: local\n{NODES}{more}")
    with pytest.raises(InputError) as error:
        limits.check(load(file))
    assert said in str(error.value)


@pytest.mark.parametrize("preset", ["aio", "multinode"])
def test_a_preset_is_within_the_limits(preset: str) -> None:
    limits.check(load(preset))
