"""Where devenv keeps what it knows: a cache and a journal. Losing them loses nothing else."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import platformdirs

from devenv.core.errors import HostError


def home() -> Path:
    """The folder of all environments' state: ``$DEVENV_HOME`` or the user's data folder."""
    chosen = os.environ.get("DEVENV_HOME")
    return Path(chosen) if chosen else platformdirs.user_data_path("devenv")


def cache() -> Path:
    """What can be made again: ``$DEVENV_CACHE`` or the user's cache folder."""
    chosen = os.environ.get("DEVENV_CACHE")
    return _private(Path(chosen) if chosen else platformdirs.user_cache_path("devenv"))


def environment(name: str) -> Path:
    """The state folder of environment `name`, made with mode 0700 if it is not there."""
    return _private(home() / "environments" / name)


def sockets(name: str) -> Path:
    """A folder for the sockets of `name`: short, since a socket's path has 107 bytes at most.

    :raises HostError: when somebody else made a folder of that name in a shared one.
    """
    key = hashlib.sha256(str(home() / name).encode()).hexdigest()[:8]
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder = _private(base / f"devenv-{os.getuid()}-{key}")
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise HostError(f"{folder} is not this user's alone", remedy=f"remove {folder}")
    return folder


def _private(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path
