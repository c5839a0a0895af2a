"""What a topology may say and this version does not do: refused, never ignored."""

from __future__ import annotations

from ipaddress import IPv4Address

from devenv.core.errors import InputError
from devenv.topology.load import LoadedTopology

#: The release that the lock is of.
RELEASE = "2026.1"


def check(wanted: LoadedTopology) -> None:
    """Refuse what would silently do something else.

    :raises InputError: with the file and line.
    """
    topology = wanted.topology
    if topology.release != RELEASE:
        raise InputError(
            f"{wanted.where('release')}: there are no images of release {topology.release} yet",
            remedy=f'release: "{RELEASE}"',
        )
    if topology.images.source != "source":
        raise InputError(
            f"{wanted.where('images', 'from')}: images from {topology.images.source} are not "
            "supported yet",
            remedy="images: {from: source}",
        )
    if isinstance(topology.networks.api.vip, IPv4Address):
        raise InputError(
            f"{wanted.where('networks', 'api', 'vip')}: a virtual IP needs several control nodes, "
            "which are not supported yet",
            remedy="vip: auto",
        )
    # Databases and queues do not form clusters yet: three of each would be three clouds.
    control = [spec.name for spec in topology.node_specs() if "control" in spec.roles]
    if len(control) > 1:
        raise InputError(
            f"{wanted.where('nodes')}: {len(control)} nodes have the role control "
            f"({', '.join(control)}); more than one is not supported yet",
            remedy="give one node the role control",
        )
