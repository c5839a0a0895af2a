"""The lock of what PyPI gives for an OpenStack release: every distribution, version and hash."""

from __future__ import annotations

import importlib.util
import re
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


def layers() -> list[Path]:
    """The image folders of services that install more than that, each from a lock of its own."""
    found = Path(str(files("devenv"))).glob("services/*/image/requirements.in")
    return sorted(path.parent for path in found)


def compile_lock(exclude_newer: str = EXCLUDE_NEWER, *, upgrade: bool = False) -> bool:
    """Write each ``requirements.lock`` from ``requirements.in``; returns whether one changed.

    A layer's lock has what the base's has not, in versions that go with those.

    :param exclude_newer: a date as of RFC 3339, ``2026-05-01``; later uploads do not count.
    :param upgrade: whether to choose anew what the lock already has.
    :raises BuildError: when uv finds no versions that go together; with its words.
    :raises HostError: when there is no uv.
    """
    base = folder()
    changed = _compile(base, exclude_newer, upgrade=upgrade)
    pins = re.findall(r"^([a-z0-9-]+)==", (base / "requirements.lock").read_text(), re.MULTILINE)
    beyond = ["--constraints", str(base / "requirements.lock")]
    beyond += [word for name in pins for word in ("--no-emit-package", name)]
    for layer in layers():
        changed |= _compile(layer, exclude_newer, *beyond, upgrade=upgrade)
    return changed


def _compile(where: Path, exclude_newer: str, *options: str, upgrade: bool) -> bool:
    lock = where / "requirements.lock"
    before = lock.read_text() if lock.exists() else ""
    command = [
        *_uv(), "pip", "compile", "requirements.in", "--output-file", "requirements.lock",
        "--python-version", PYTHON, "--exclude-newer", exclude_newer, "--generate-hashes",
        "--custom-compile-command", f"{COMMAND} --exclude-newer {exclude_newer}",
        "--quiet", *(["--upgrade"] if upgrade else []), *options,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=where, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(
            "uv could not lock the OpenStack release",
            detail=done.stderr,
            remedy=f"change {where / 'requirements.in'}, or --exclude-newer",
        )
    return lock.read_text() != before


def _uv() -> list[str]:
    found = shutil.which("uv")
    if found:
        return [found]
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    raise HostError("uv is not installed", remedy="pip install uv, or: pip install -e '.[dev]'")
