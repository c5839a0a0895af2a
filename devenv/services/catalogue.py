"""The catalogue: every folder here with a ``service.yaml`` is a service."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import ValidationError

from devenv.core.errors import DevenvError, InputError
from devenv.images.recipe import Cookbook, Recipe
from devenv.services.model import Service
from devenv.topology.load import LoadedTopology


@cache
def catalogue() -> dict[str, Service]:
    """All services by name.

    :raises DevenvError: when a folder's ``service.yaml`` is wrong.
    """
    root = Path(str(files("devenv.services")))
    found = {}
    for path in sorted(root.glob("*/service.yaml")):
        try:
            service = Service.model_validate(
                {**yaml.safe_load(path.read_text()), "folder": path.parent}
            )
        except (ValidationError, yaml.YAMLError) as error:
            raise DevenvError(f"{path}: {error}") from error
        found[service.name] = service
    return found


def enabled(loaded: LoadedTopology) -> list[Service]:
    """The services that `loaded` deploys, in the catalogue's order.

    :raises InputError: for names that are no service, and for a service that misses one it needs.
    """
    known = catalogue()
    choice = loaded.topology.services
    for key, names in (("enable", choice.enable), ("disable", choice.disable)):
        for position, name in enumerate(names):
            _known(name, loaded.where("services", key, position), f"services.{key}")
    for name in loaded.topology.overrides:
        _known(name, loaded.where("overrides", name), "overrides")
    _overridable(loaded)
    usual = {name for name, service in known.items() if not service.optional}
    deployed = (usual | set(choice.enable)) - set(choice.disable)
    roles = {role for spec in loaded.topology.node_specs() for role in spec.roles}
    services = [service for name, service in known.items() if name in deployed]
    for service in services:
        missing = [other for other in service.requires if other not in deployed]
        if missing:
            raise InputError(
                f"{loaded.where('services')}: {service.name} needs {', '.join(missing)}, "
                "which is disabled",
                remedy=f"enable it, or disable {service.name} as well",
            )
        for spec in service.containers.values():
            if not roles.isdisjoint(spec.roles):
                continue
            raise InputError(
                f"{loaded.where('nodes')}: {service.name} needs a node with the role "
                f"{' or '.join(spec.roles)}",
                remedy=f"give a node that role, or disable {service.name}",
            )
    return services


def _overridable(loaded: LoadedTopology) -> None:
    """An override that no file would take is an error and not ignored."""
    for name, override in loaded.topology.overrides.items():
        service = catalogue()[name]
        files = {Path(f.dest).name for spec in service.containers.values() for f in spec.files}
        if override.config and not service.config:
            raise InputError(
                f"{loaded.where('overrides', name, 'config')}: {name} has no main config file",
                remedy=f"its files: {', '.join(sorted(files)) or 'none'}",
            )
        for file in set(override.files or {}) - files:
            raise InputError(
                f"{loaded.where('overrides', name, 'files', file)}: {name} has no file {file!r}",
                remedy=f"its files: {', '.join(sorted(files)) or 'none'}",
            )


def _known(name: str, where: str, key: str) -> None:
    if name in catalogue():
        return
    near = difflib.get_close_matches(name, catalogue(), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(
        f"{where}: {key}: there is no service {name!r}{hint}",
        remedy=f"services: {', '.join(catalogue())}",
    )


def cookbook(services: list[Service], release: str) -> Cookbook:
    """The recipes of all images that `services` run on, and of what those start from."""
    images = Path(str(files("devenv.images")))
    recipes = [Recipe(name, release, images / name) for name in ("base", "openstack-base")]
    for service in services:
        recipes += [
            Recipe(name, release, service.folder / "image", name) for name in service.images
        ]
    used = {spec.image for service in services for spec in service.containers.values()}
    return Cookbook(recipes).with_parents(used)
