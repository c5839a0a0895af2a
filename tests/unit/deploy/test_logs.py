"""Logs of several containers come line by line, whole."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from devenv.deploy.actual import Actual
from devenv.deploy.logs import logs
from devenv.deploy.places import Place


def place(name: str, *chunks: bytes) -> Place:
    """A container whose engine hands its log out in these pieces."""

    def read(**_: Any) -> Iterator[bytes]:
        return iter(chunks)

    containers = SimpleNamespace(get=lambda id: SimpleNamespace(logs=read))
    connection: Any = SimpleNamespace(docker=SimpleNamespace(containers=containers))
    return Place(connection, Actual(name, name, "s", "i", "h", False, "running", "Up", None))


def test_lines_are_whole_whatever_the_pieces() -> None:
    one = place("one", b"fir", b"st\nsec", b"ond\n\nno end")
    lines = [line for _, line in logs([one], tail=None, follow=False)]
    assert lines == [b"first", b"second", b"", b"no end"]


def test_followed_logs_are_all_read_to_their_ends() -> None:
    places = [place("one", b"1\n2\n"), place("none"), place("two", b"3\n4")]
    found: dict[str, list[bytes]] = {}
    for source, line in logs(places, tail=None, follow=True):
        found.setdefault(source.container.name, []).append(line)
    assert found == {"one": [b"1", b"2"], "two": [b"3", b"4"]}
