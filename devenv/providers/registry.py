"""The providers by name."""

from __future__ import annotations

from devenv.core.errors import InputError
from devenv.providers.base import Provider


def provider_class(name: str) -> type[Provider]:
    """The provider called `name`.

    :raises InputError: when there is none.
    """
    if name == "local":
        from devenv.providers.local import LocalProvider

        return LocalProvider
    raise InputError(
        f"the provider {name!r} is not there yet", remedy="providers: local"
    )
