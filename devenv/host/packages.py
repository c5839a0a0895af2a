"""Commands that come from the distribution's packages."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from devenv.core.errors import HostError
from devenv.host.checks import Check, Fix
from devenv.host.system import family, is_root, search_path, sudo, system_name, tail, which

#: Debian's names on the left, Fedora's on the right, where they differ.
FEDORA = {
    "dnsmasq-base": "dnsmasq",
    "docker.io": "moby-engine",
    "iproute2": "iproute",
    "libvirt-clients": "libvirt-client",
    "libvirt-daemon-system": "libvirt-daemon",
    "openssh-client": "openssh-clients",
    "procps": "procps-ng",
    "qemu-system-x86": "qemu-system-x86-core",
    "qemu-utils": "qemu-img",
    "xz-utils": "xz",
}

# A package that is already here keeps its configuration; nothing is removed to make room;
# another apt that is at work is waited for (minutes, on a machine that has just booted).
_APT_OPTIONS = (
    "--yes",
    "--no-install-recommends",
    "--no-remove",
    "-oDPkg::Lock::Timeout=300",
    "-oDpkg::Options::=--force-confdef",
    "-oDpkg::Options::=--force-confold",
)


def packages_check(commands: Mapping[str, str], *, name: str = "commands") -> Check:
    """Whether every command is installed.

    :param commands: a command and the Debian package that has it.
    """
    missing = [command for command in commands if which(command) is None]
    if not missing:
        return Check(name, True, ", ".join(commands) or "none needed")
    packages = list(dict.fromkeys(commands[command] for command in missing))
    return Check(
        name,
        False,
        f"{', '.join(missing)} not found ({len(missing)} of {len(commands)})",
        remedy=install_remedy(packages),
        fix=install_fix(packages),
    )


def install_remedy(packages: Sequence[str]) -> str:
    """What a person does to get `packages` (Debian's names)."""
    if family() == "debian":
        return sudo(["apt-get", "install", "-y", "--no-install-recommends", *packages])
    fedora = [FEDORA.get(package, package) for package in packages]
    if family() == "fedora":
        return sudo(["dnf", "install", "-y", *fedora])
    return (
        f"install {', '.join(packages)} (named as on Debian; on Fedora {', '.join(fedora)}) "
        f"with the package manager of {system_name()}"
    )


def install_fix(packages: Sequence[str]) -> Fix | None:
    """How devenv installs `packages` itself: as root on Debian and Ubuntu, else not at all."""
    if family() != "debian" or not is_root():
        return None
    return Fix(
        f"installing {', '.join(packages)} with apt-get from {system_name()} (up to some minutes)",
        lambda: apt_install(packages),
    )


def apt_install(packages: Sequence[str]) -> None:
    """Install Debian `packages` and what they depend on, without a question.

    :raises HostError: with the last lines of apt's output.
    """
    # One broken third-party source fails `update` although the packages are to be had.
    lists = _apt("update")
    install = _apt("install", *_APT_OPTIONS, "--", *packages)
    if install.returncode == 0:
        return
    detail = tail(install.stdout)
    if lists.returncode != 0:
        detail = f"{tail(lists.stdout, 6)}\n{detail}"
    raise HostError(
        f"`apt-get install {' '.join(packages)}` failed with code {install.returncode}",
        detail=detail,
        remedy=f"mend what apt names, then {install_remedy(packages)}",
    )


def _apt(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": search_path(),
        "LC_ALL": "C",
        "DEBIAN_FRONTEND": "noninteractive",
        # It would restart services that use a library that was upgraded: not ours to do.
        "NEEDRESTART_SUSPEND": "1",
    }
    try:
        return subprocess.run(
            ["apt-get", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise HostError(f"apt-get could not be run: {error}") from error
