"""Free networks: what is taken, and what is chosen."""

from __future__ import annotations

from ipaddress import IPv4Network
from types import SimpleNamespace
from typing import Any, cast

import pytest
from docker import DockerClient
from hypothesis import given
from hypothesis import strategies as st

from devenv.core.errors import HostError, InputError
from devenv.host import resources
from devenv.providers.subnets import choose, private, taken


def client(**networks: Any) -> DockerClient:
    listed = [
        SimpleNamespace(name=name, attrs={"IPAM": {"Config": config}} if config != "none" else {})
        for name, config in networks.items()
    ]
    return cast(DockerClient, SimpleNamespace(networks=SimpleNamespace(list=lambda: listed)))


def test_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's networks, with those that have no subnet, and the machine's routes."""
    monkeypatch.setattr(resources, "routes", lambda: [("eth0", IPv4Network("10.1.0.0/16"))])
    engine = client(
        bridge=[{"Subnet": "172.17.0.0/16"}],
        two=[{"Subnet": "172.30.0.0/24"}, {"Subnet": "fd00::/64"}],
        host=[],
        null=None,
        odd="none",
        empty=[{}],
    )
    assert taken(engine) == [
        (IPv4Network("172.17.0.0/16"), "the Docker network bridge"),
        (IPv4Network("172.30.0.0/24"), "the Docker network two"),
        (IPv4Network("10.1.0.0/16"), "a route on eth0"),
    ]


def test_the_first_free_candidate() -> None:
    used = [(IPv4Network("172.30.0.0/23"), "x"), (IPv4Network("172.30.3.128/25"), "y")]
    assert choose("auto", private(30), used, "k") == IPv4Network("172.30.2.0/24")
    assert choose("auto", private(30), [], "k") == IPv4Network("172.30.0.0/24")


def test_a_wanted_network_that_is_free() -> None:
    wanted = IPv4Network("10.5.0.0/28")
    used = [(IPv4Network("10.4.0.0/16"), "x")]
    assert choose(wanted, private(30), used, "k") == wanted


@pytest.mark.parametrize("other", ["10.5.0.0/16", "10.5.0.4/30", "0.0.0.0/1"])
def test_a_wanted_network_that_is_taken(other: str) -> None:
    used = [(IPv4Network("10.9.0.0/24"), "x"), (IPv4Network(other), "a route on eth0")]
    with pytest.raises(InputError) as caught:
        choose(IPv4Network("10.5.0.0/28"), private(30), used, "networks.api.cidr")
    assert caught.value.message == (
        f"networks.api.cidr: 10.5.0.0/28 is taken: a route on eth0 has {other}"
    )


def test_nothing_is_left() -> None:
    with pytest.raises(HostError, match=r"networks\.api\.cidr: no free network is left"):
        choose("auto", private(30), [(IPv4Network("172.30.0.0/15"), "x")], "networks.api.cidr")


NETWORKS = st.tuples(st.integers(0, 2**17 - 1), st.integers(20, 30)).map(
    lambda pair: IPv4Network((int(IPv4Network("172.30.0.0/15")[0]) + pair[0], 32)).supernet(
        new_prefix=pair[1]
    )
)


@given(st.lists(NETWORKS, max_size=8))
def test_what_is_chosen_overlaps_nothing(used: list[IPv4Network]) -> None:
    chosen = choose("auto", private(30), [(network, "x") for network in used], "k")
    assert not any(chosen.overlaps(network) for network in used)
    assert chosen in list(private(30))
