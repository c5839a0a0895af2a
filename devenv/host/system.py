"""The few things that every check asks of this machine's system."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from typing import Literal

Family = Literal["debian", "fedora", "other"]

#: Debian keeps these off an ordinary user's PATH; the commands there are installed all the same.
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def search_path() -> str:
    """PATH with the system administrator's folders."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *_SBIN])


def which(command: str) -> str | None:
    """The full path of `command`, or None if it is not installed."""
    return shutil.which(command, path=search_path())


def is_root() -> bool:
    """Whether this process may install packages and start engines."""
    return os.geteuid() == 0


def family() -> Family:
    """Whose packages this machine uses, after ID and ID_LIKE of os-release(5)."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return "other"
    names = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    if names & {"debian", "ubuntu"}:
        return "debian"
    if names & {"fedora", "rhel", "centos"}:
        return "fedora"
    return "other"


def system_name() -> str:
    """What this machine's system calls itself."""
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "this system")
    except OSError:
        return "this system"


def tail(text: str, lines: int = 15) -> str:
    """The last `lines` lines of `text` that are not empty."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def sudo(command: Sequence[str]) -> str:
    """`command` as it is pasted into a shell, by root or not."""
    words = " ".join(command)
    return words if is_root() else f"sudo {words}"
