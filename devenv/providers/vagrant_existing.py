"""The environments on this machine whose nodes are virtual machines of Vagrant's."""

from __future__ import annotations

import re

from devenv.core.errors import HostError
from devenv.host.system import which
from devenv.providers.discover import Existing
from devenv.providers.vagrant_hypervisor import Hypervisor
from devenv.providers.vagrant_libvirt import Libvirt
from devenv.providers.vagrant_virtualbox import VirtualBox

_MACHINE = re.compile(r"devenv-([a-z0-9-]+)_[a-z0-9-]+")
_NETWORK = re.compile(r"devenv-([a-z0-9-]+)-(management|api|external)")


def existing() -> list[Existing]:
    """All of them by name, also those of which only parts are left; none without a backend."""
    found = []
    for command, kind in (("virsh", Libvirt), ("VBoxManage", VirtualBox)):
        if which(command) is not None:
            try:
                names = sorted({match[1] for name in kind.names() if (match := _match(name))})
                found += [_one(kind(name)) for name in names]
            except HostError:  # It does not answer, or is not in use here.
                continue
    return found


def _match(name: str) -> re.Match[str] | None:
    return _MACHINE.fullmatch(name) or _NETWORK.fullmatch(name)


def _one(hypervisor: Hypervisor) -> Existing:
    nodes = [(m, m.facts) for m in hypervisor.machines() if m.facts]
    return Existing(
        name=hypervisor.environment,
        provider="vagrant",
        topology=next((facts.source for _, facts in nodes), ""),
        nodes=tuple(facts.node for _, facts in nodes),
        running=sum(machine.state == "running" for machine, _ in nodes),
        owner=next((facts.owner for _, facts in nodes), ""),
        created=min((facts.created for _, facts in nodes), default=""),
    )
