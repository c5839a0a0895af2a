"""The lock of what PyPI gives for an OpenStack release: every distribution, version and hash."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from devenv.core.errors import BuildError, HostError

#: What was on PyPI at the end of this day; PyPI itself has no set of versions that go together.
EXCLUDE_NEWER = "2026-05-01"
#: The Python of the images, which is Debian trixie's and not this process's.
PYTHON = "3.13"
COMMAND = "devenv images lock"


def folder() -> Path:
    """Where ``requirements.in`` and ``requirements.lock`` are."""
    return Path(str(files("devenv.images"))) / "openstack-base"


def compile_lock(exclude_newer: str = EXCLUDE_NEWER, *, upgrade: bool = False) -> bool:
    """Write ``requirements.lock`` from ``requirements.in``; returns whether it changed.

    :param exclude_newer: a date as of RFC 3339, ``2026-05-01``; later uploads do not count.
    :param upgrade: whether to choose anew what the lock already has.
    :raises BuildError: when uv finds no versions that go together; with its words.
    :raises HostError: when there is no uv.
    """
    lock = folder() / "requirements.lock"
    before = lock.read_text() if lock.exists() else ""
    command = [
        *_uv(), "pip", "compile", "requirements.in", "--output-file", "requirements.lock",
        "--python-version", PYTHON, "--exclude-newer", exclude_newer, "--generate-hashes",
        "--custom-compile-command", f"{COMMAND} --exclude-newer {exclude_newer}",
        "--quiet", *(["--upgrade"] if upgrade else []),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(
            "uv could not lock the OpenStack release",
            detail=done.stderr,
            remedy=f"change {folder() / 'requirements.in'}, or --exclude-newer",
        )
    return lock.read_text() != before


def _uv() -> list[str]:
    found = shutil.which("uv")
    if found:
        return [found]
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    raise HostError("uv is not installed", remedy="pip install uv, or: pip install -e '.[dev]'")
