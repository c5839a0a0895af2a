"""The providers by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from devenv.core.errors import InputError
from devenv.core.events import Events
from devenv.host.capabilities import Privileges
from devenv.providers.base import Provider

#: Makes a provider for an environment: its name, its state folder, the events, and what this
#: machine's engine grants to containers.
ProviderFactory = Callable[[str, Path, Events, Callable[[], Privileges]], Provider]


def provider_class(name: str) -> ProviderFactory:
    """The provider called `name`.

    :raises InputError: when there is none.
    """
    if name == "local":
        from devenv.providers.local import LocalProvider

        return LocalProvider
    if name == "vagrant":
        from devenv.providers.vagrant import VagrantProvider

        return VagrantProvider
    if name == "baremetal":
        from devenv.providers.baremetal import BaremetalProvider

        return BaremetalProvider
    raise InputError(
        f"the provider {name!r} is not there yet", remedy="providers: local, vagrant, baremetal"
    )
