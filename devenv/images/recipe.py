"""What an image is built from, and the hash that says whether a built one is still right."""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from devenv.core.errors import BuildError
from devenv.core.hashing import digest, tree_digest, tree_files

#: Where the images' names start; Kolla's names follow.
NAMESPACE = "devenv"
#: The Debian image that all others start from.
BASE = f"{NAMESPACE}/debian:trixie"

_FROM = re.compile(r"^FROM\s+(\S+)(?:\s+AS\s+(\S+))?\s*$", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Recipe:
    """An image by Kolla's name, and the folder with its Dockerfile.

    :param target: the stage of the Dockerfile; empty for the last one.
    """

    name: str
    release: str
    folder: Path
    target: str = ""

    @property
    def reference(self) -> str:
        """The image's full name, ``devenv/nova-api:2026.1``."""
        return f"{NAMESPACE}/{self.name}:{self.release}"

    @cached_property
    def parents(self) -> frozenset[str]:
        """Names of the images of ours that the Dockerfile starts from."""
        text = (self.folder / "Dockerfile").read_text()
        stages = {alias for _, alias in _FROM.findall(text) if alias}
        pattern = re.compile(rf"{NAMESPACE}/([a-z0-9-]+):\$\{{RELEASE\}}")
        return frozenset(
            match.group(1)
            for image, _ in _FROM.findall(text)
            if image not in stages and (match := pattern.fullmatch(image))
        )

    def context(self, extra: dict[str, bytes]) -> bytes:
        """The build context as a tar, with `extra` files; owners and times do not vary."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            files = {
                str(path.relative_to(self.folder)): (path.read_bytes(), path.stat().st_mode & 0o755)
                for path in tree_files(self.folder)
            }
            for name, data in extra.items():
                files[name] = (data, 0o644)
            for name, (data, mode) in files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(data), mode
                archive.addfile(entry, io.BytesIO(data))
        return buffer.getvalue()


class Cookbook:
    """All recipes of a release, with the hash of each over everything below it."""

    def __init__(self, recipes: list[Recipe]) -> None:
        self.recipes = {recipe.name: recipe for recipe in recipes}
        self._hashes: dict[str, str] = {}

    def hash(self, name: str) -> str:
        """The hash of what image `name` is made of: its folder, its stage, and its parents'.

        :raises BuildError: when a Dockerfile starts from an image that no recipe makes.
        """
        if name not in self._hashes:
            recipe = self.recipes.get(name)
            if recipe is None:
                raise BuildError(f"no recipe makes the image {name!r}")
            parents = [self.hash(parent) for parent in sorted(recipe.parents)]
            self._hashes[name] = digest(
                BASE,
                recipe.name,
                recipe.release,
                recipe.target,
                tree_digest(recipe.folder),
                parents,
            )
        return self._hashes[name]

    def hashes(self) -> dict[str, str]:
        """The hash of every image, by name."""
        return {name: self.hash(name) for name in sorted(self.recipes)}

    def with_parents(self, names: set[str]) -> Cookbook:
        """The recipes of `names` and of all that they start from."""
        wanted: set[str] = set()
        pending = set(names)
        while pending:
            name = pending.pop()
            self.hash(name)
            wanted.add(name)
            pending |= self.recipes[name].parents - wanted
        return Cookbook([self.recipes[name] for name in sorted(wanted)])
