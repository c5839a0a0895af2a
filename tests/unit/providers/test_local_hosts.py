"""/etc/hosts of a node that runs: what is changed in it, and what is not."""

from __future__ import annotations

from ipaddress import IPv4Network
from types import SimpleNamespace
from typing import Any, cast

import pytest
from docker.models.containers import Container
from hypothesis import given
from hypothesis import strategies as st

from devenv.core.errors import NodeError
from devenv.nodes.container import ensure_hosts, with_hosts

API = IPv4Network("172.30.0.0/24")
HOSTS = {"ctl1": "172.30.0.11", "cmp": "172.30.0.14"}
# As an engine writes it: what it was made with, then the node's own name on each network.
BEFORE = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
172.30.0.11\tctl1
172.30.0.12\tctl2
172.30.0.11\tctl1
172.31.0.11\tctl1
10.1.1.1\tmirror.example.org mirror  # by hand
# 172.30.0.12 was here
not-an-address ctl9
"""
AFTER = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
10.1.1.1\tmirror.example.org mirror  # by hand
# 172.30.0.12 was here
not-an-address ctl9
172.30.0.11\tctl1
172.30.0.14\tcmp
"""


def test_only_lines_on_nodes_change() -> None:
    assert with_hosts(BEFORE, HOSTS, API) == AFTER
    assert with_hosts(AFTER, HOSTS, API) == AFTER


@given(
    st.text("\n\t #:.0123abcctl1m", max_size=60),
    st.dictionaries(
        st.sampled_from(["ctl1", "ctl2", "cmp"]), st.integers(2, 99).map(API.__getitem__)
    ),
)
def test_once_is_enough(text: str, places: dict[str, Any]) -> None:
    hosts = {name: str(address) for name, address in places.items()}
    once = with_hosts(text, hosts, API)
    assert with_hosts(once, hosts, API) == once
    assert once.endswith("".join(f"{address}\t{name}\n" for name, address in hosts.items()))


def container(answers: list[tuple[int, bytes]], asked: list[tuple[Any, ...]]) -> Container:
    """Answers one command after the other."""

    def run(command: list[str], environment: dict[str, str]) -> tuple[int, bytes]:
        asked.append((command[0], environment))
        return answers.pop(0)

    return cast(Container, SimpleNamespace(exec_run=run, name="x", labels={"devenv.node": "ctl1"}))


def test_a_file_that_is_right_is_not_written() -> None:
    asked: list[tuple[Any, ...]] = []
    ensure_hosts(container([(0, AFTER.encode())], asked), HOSTS, API)
    assert asked == [("cat", {})]


def test_a_file_that_is_not_is_written_whole() -> None:
    asked: list[tuple[Any, ...]] = []
    ensure_hosts(container([(0, BEFORE.encode()), (0, b"")], asked), HOSTS, API)
    assert asked[1:] == [("sh", {"HOSTS": AFTER})]


def test_a_file_that_cannot_be_written() -> None:
    refusal = [(0, BEFORE.encode()), (2, b"sh: cannot create /etc/hosts: Read-only file system")]
    with pytest.raises(NodeError, match="Read-only") as caught:
        ensure_hosts(container(refusal, []), HOSTS, API)
    assert caught.value.node == "ctl1"
