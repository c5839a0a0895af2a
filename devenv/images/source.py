"""A local checkout over a stock image, as one thin layer, built on the node that runs it."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

from devenv.core.errors import InputError
from devenv.core.hashing import SKIPPED, digest, tree_digest


class Source:
    """A checkout of a Python project that replaces what the stock images have.

    :param distribution: its name on PyPI.
    :raises InputError: when the folder is no Python project.
    """

    def __init__(self, distribution: str, folder: Path) -> None:
        if not any(
            (folder / name).exists() for name in ("setup.py", "setup.cfg", "pyproject.toml")
        ):
            raise InputError(
                f"--source: {folder} has no setup.py, setup.cfg or pyproject.toml",
                remedy="name the top folder of a checkout",
            )
        self.distribution = distribution
        self.folder = folder
        self._tree = tree_digest(folder)

    def hash(self, stock: str) -> str:
        """The hash of the layered image over the stock image's hash."""
        return digest(stock, self.distribution, self._tree)

    def context(self, stock_reference: str) -> bytes:
        """A build context: the checkout without version control, and the Dockerfile."""
        dockerfile = f"""FROM {stock_reference}
USER root
COPY src /src
RUN install_source {self.distribution} {self._version()} /src && rm -rf /src
"""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            entry = tarfile.TarInfo("Dockerfile")
            entry.size = len(dockerfile)
            archive.addfile(entry, io.BytesIO(dockerfile.encode()))
            archive.add(self.folder.resolve(), "src", filter=_wanted)
        return buffer.getvalue()

    def _version(self) -> str:
        """The version that pbr is told: the sdist's own, else one that says it is a checkout."""
        info = self.folder / "PKG-INFO"
        found = (
            re.search(r"^Version: (\S+)", info.read_text(), re.MULTILINE) if info.exists() else None
        )
        return found.group(1) if found else "9999.0.0"


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if SKIPPED.intersection(Path(entry.name).parts):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
