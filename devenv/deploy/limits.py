"""What a topology may say and this version does not do: refused, never ignored."""

from __future__ import annotations

from devenv.core.errors import InputError
from devenv.services.catalogue import enabled
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
    services = {service.name: service for service in enabled(wanted)}
    behind = [name for name, one in services.items() if one.frontends or one.database]
    if len(topology.control_specs()) > 1 and behind and "loadbalancer" not in services:
        raise InputError(
            f"{wanted.where('services', 'disable')}: with several control nodes {behind[0]} is "
            "reached through the virtual IP, which is loadbalancer's",
            remedy="do not disable loadbalancer, or disable all that need it",
        )
