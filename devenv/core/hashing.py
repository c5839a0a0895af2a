"""Content hashes: equal content, equal hash, on every machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def digest(*parts: object) -> str:
    """A hash of 16 hexadecimal digits over JSON-serialisable `parts` (bytes allowed)."""
    total = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:16]


def tree_digest(folder: Path) -> str:
    """A hash over names, modes (executable or not) and contents below `folder`.

    Version control folders and byte code do not count.
    """
    skipped = {".git", "__pycache__", ".tox", ".venv", ".mypy_cache", ".ruff_cache"}
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if skipped.intersection(relative.parts) or not (path.is_file() or path.is_symlink()):
            continue
        if path.is_symlink():
            data = str(path.readlink()).encode()
        else:
            data = path.read_bytes()
        executable = bool(path.lstat().st_mode & 0o111)
        total.update(f"{relative}\0{executable}\0{len(data)}\0".encode() + data)
    return total.hexdigest()[:16]
