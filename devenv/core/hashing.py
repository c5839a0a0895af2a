"""Content hashes: equal content, equal hash, on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path


def digest(*parts: object) -> str:
    """A hash of 16 hexadecimal digits over JSON-serialisable `parts` (bytes allowed)."""
    total = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:16]


#: Folders that tools leave behind; they are no part of what a folder says.
SKIPPED = frozenset(
    {
        ".git",
        ".tox",
        ".venv",
        "__pycache__",
        ".mypy_cache",
        ".ruff_cache",
        ".stestr",
        ".pytest_cache",
    }
)


def tree_files(folder: Path) -> Iterator[Path]:
    """The files and links below `folder` that count, in order."""
    for path in sorted(folder.rglob("*")):
        skipped = SKIPPED.intersection(path.relative_to(folder).parts)
        if not skipped and (path.is_file() or path.is_symlink()):
            yield path


def tree_digest(folder: Path) -> str:
    """A hash over names, modes (executable or not) and contents below `folder`.

    Version control folders and what tools leave behind do not count.
    """
    total = hashlib.sha256()
    for path in tree_files(folder):
        data = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        executable = bool(path.lstat().st_mode & 0o111)
        name = path.relative_to(folder)
        total.update(f"{name}\0{executable}\0{len(data)}\0".encode() + data)
    return total.hexdigest()[:16]
