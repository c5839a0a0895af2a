"""What the tests of topology files share."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from devenv.core.errors import InputError
from devenv.topology.load import load


@pytest.fixture
def problems(tmp_path: Path) -> Callable[[str], list[str]]:
    """The problems of a topology file with this text, as LINE: WORDS."""

    def of(text: str) -> list[str]:
        path = tmp_path / "rack.yaml"
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        with pytest.raises(InputError) as caught:
            load(path)
        lines = (caught.value.detail or "").splitlines()
        assert all(line.startswith(f"{path}:") for line in lines), lines
        return [line.removeprefix(f"{path}:") for line in lines]

    return of
