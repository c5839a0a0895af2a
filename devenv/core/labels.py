"""The labels that carry the truth on containers, volumes, networks and images."""

from __future__ import annotations

PREFIX = "devenv."
ENVIRONMENT = PREFIX + "environment"
NODE = PREFIX + "node"
ROLES = PREFIX + "roles"
SERVICE = PREFIX + "service"
KIND = PREFIX + "kind"  # "container" or "job"
HASH = PREFIX + "hash"  # the hash of everything that made the object
OWNER = PREFIX + "owner"
CREATED = PREFIX + "created"  # ISO 8601, UTC
TOPOLOGY = PREFIX + "topology"  # the preset's name or the file's, as the user gave it
RECIPE = PREFIX + "recipe"  # on images: the hash of what they were built from
CACHE = PREFIX + "cache"  # on volumes that `down` keeps and `gc --cache` removes
