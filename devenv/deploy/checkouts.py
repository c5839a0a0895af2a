"""Which services run from a checkout: as the topology says, and as ``--source`` says over it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from devenv.core.errors import InputError
from devenv.services.catalogue import catalogue, enabled
from devenv.topology.load import LoadedTopology


def checkouts(wanted: LoadedTopology, given: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """The folder with the code of each service that does not run its stock code.

    :param given: services and folders; they win over the topology's ``overrides.NAME.source``.
    :raises InputError: no such service, one that is not deployed or has no Python code, a folder
        that is not there.
    """
    chosen: dict[str, Path] = {}
    for name, override in wanted.topology.overrides.items():
        if override.source:
            where = wanted.where("overrides", name, "source")
            chosen[name] = _checked(wanted, name, override.source, f"{where}: {name}")
    seen: set[str] = set()
    for name, folder in given:
        if name in seen:
            raise InputError(f"--source {name} was given twice")
        seen.add(name)
        chosen[name] = _checked(wanted, name, folder, f"--source {name}")
    return chosen


def _checked(wanted: LoadedTopology, name: str, folder: Path, what: str) -> Path:
    known = {service.name: service for service in catalogue().values() if service.pypi}
    if name not in catalogue():
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{what}: there is no such service{hint}", remedy=_choices(known))
    if name not in known:
        raise InputError(f"{what}: {name} has no Python code to replace", remedy=_choices(known))
    if name not in {service.name for service in enabled(wanted)}:
        raise InputError(f"{what}: the topology {wanted.source!r} does not deploy {name}")
    folder = folder.expanduser().absolute()
    if not folder.is_dir():
        reason = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{what}: {folder} {reason}", remedy="name the top folder of a checkout")
    return folder


def _choices(known: Iterable[str]) -> str:
    return f"services with code: {', '.join(known)}"
