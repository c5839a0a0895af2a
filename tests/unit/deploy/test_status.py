"""What ``devenv status`` and results say of an environment beyond what its engines list."""

from __future__ import annotations

import pytest

from devenv.deploy.status import release
from devenv.topology.load import load


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'version: 1\nrelease: "2025.2"\nnodes: {}\n', "2025.2"),
        (b"version: 1\nnodes: {}\n", load("aio").topology.release),
        (load("multinode").text.encode(), load("multinode").topology.release),
        (b"", ""),
    ],
)
def test_the_release_is_what_the_topology_says_or_means(text: bytes, said: str) -> None:
    assert release(text) == said
