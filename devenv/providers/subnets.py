"""Free networks on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from devenv.core.errors import HostError, InputError
from devenv.host import resources
from devenv.host.checks import Check

if TYPE_CHECKING:
    from docker import DockerClient


def taken(client: DockerClient) -> list[tuple[IPv4Network, str]]:
    """Networks in use, each with what uses it: the engine's networks and this machine's routes."""
    found: list[tuple[IPv4Network, str]] = []
    for network in client.networks.list():
        for config in network.attrs.get("IPAM", {}).get("Config") or []:
            subnet = config.get("Subnet", "")
            if subnet and ":" not in subnet:
                found.append((IPv4Network(subnet), f"the Docker network {network.name}"))
    found += [(network, f"a route on {device}") for device, network in resources.routes()]
    return found


def check(wanted: Mapping[str, IPv4Network | str], used: list[tuple[IPv4Network, str]]) -> Check:
    """Whether networks that somebody chose are free; ``auto`` always is.

    :param wanted: by the place in the topology file, ``FILE:LINE``.
    """
    taken = []
    for where, cidr in wanted.items():
        users = [
            user
            for network, user in used
            if isinstance(cidr, IPv4Network) and network.overlaps(cidr)
        ]
        if users:
            taken.append(f"{where}: {cidr} is taken by {' and '.join(users)}")
    found = "; ".join(taken) or "free"
    return Check("networks", not taken, found, "choose another cidr, or `auto`")


def choose(
    wanted: IPv4Network | str,
    candidates: Iterable[IPv4Network],
    used: list[tuple[IPv4Network, str]],
    key: str,
) -> IPv4Network:
    """`wanted` if it is free, or the first free candidate for ``auto``.

    :param key: the topology's key, for the error.
    :raises InputError: when `wanted` is taken; it says by what.
    """
    if isinstance(wanted, IPv4Network):
        for network, user in used:
            if network.overlaps(wanted):
                raise InputError(
                    f"{key}: {wanted} is taken: {user} has {network}",
                    remedy="choose another network, or `auto`",
                )
        return wanted
    for candidate in candidates:
        if not any(candidate.overlaps(network) for network, _ in used):
            return candidate
    raise HostError(f"{key}: no free network is left", remedy="devenv list, then devenv down")


def private(second: int) -> Iterator[IPv4Network]:
    """The /24 networks of 172.`second`.0.0/16."""
    return IPv4Network(f"172.{second}.0.0/16").subnets(new_prefix=24)


def make(
    client: DockerClient,
    name: str,
    wanted: IPv4Network | str,
    candidates: Iterable[IPv4Network],
    key: str,
    labels: Callable[[IPv4Network], dict[str, str]],
) -> None:
    """Make a bridge network on a free subnet, this machine at its first address.

    :param labels: the network's labels, by the subnet that was chosen.
    :raises InputError: when `wanted` is taken.
    :raises HostError: when the engine refuses.
    """
    from docker.errors import APIError
    from docker.types import IPAMConfig, IPAMPool

    used = taken(client)
    candidates = list(candidates)
    while True:
        subnet = choose(wanted, candidates, used, key)
        pool = IPAMPool(subnet=str(subnet), gateway=str(subnet.network_address + 1))
        try:
            client.networks.create(
                name,
                driver="bridge",
                labels=labels(subnet),
                ipam=IPAMConfig(pool_configs=[pool]),
            )
            return
        except APIError as error:
            # Another process took it in between: the next free one does as well.
            if wanted != "auto" or "overlap" not in str(error):
                raise HostError(f"{key}: the network {subnet} was refused: {error}") from error
            used.append((subnet, "the engine"))
