"""The secrets of an environment, which nothing that scenarios leave behind may hold."""

from __future__ import annotations

import re

from devenv.core.hashing import tree_files
from devenv.core.secrets import Secrets
from devenv.services.catalogue import catalogue

#: How a service's files ask for one: ``password("rabbitmq")``.
_ASKED = re.compile(r"\b(password|fernet_key)\(\s*([\"'])(\w+)\2\s*\)")


def derive_all(secrets: Secrets) -> None:
    """Derive every password and key that any service uses: then their redactor knows them.

    One that only a container's log holds is hidden, too, though nobody asked for it here.
    """
    for service in catalogue().values():
        if service.database:
            secrets.password(f"{service.database.user}_database")
        if service.identity.user:
            secrets.password(f"{service.identity.user}_keystone")
        for path in tree_files(service.folder):
            if path.name == "service.yaml" or "templates" in path.parts:
                for kind, _, name in _ASKED.findall(path.read_text("utf-8")):
                    derive = secrets.password if kind == "password" else secrets.fernet_key
                    derive(name)
