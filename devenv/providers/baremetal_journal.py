"""What was changed on a host, written there before each change."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from devenv.providers.baremetal_lock import FOLDER

FILE = f"{FOLDER}/changes.json"
#: The packages that were there before an installation that is under way.
PENDING = f"{FOLDER}/packages.before"

SYSCTL_FILE = "/etc/sysctl.d/60-devenv.conf"
#: So that a peer that was switched off is noticed in seconds: see devenv/nodes/container.py.
SYSCTLS = {
    "net.ipv4.tcp_keepalive_time": "5",
    "net.ipv4.tcp_keepalive_intvl": "2",
    "net.ipv4.tcp_keepalive_probes": "3",
    "net.ipv4.tcp_retries2": "5",
}

#: What devenv, an engine or our containers make. Of these a host keeps those that it had.
CANDIDATES = (
    "/etc/docker",
    "/etc/docker/daemon.json",
    "/etc/containerd",
    "/etc/kolla",
    SYSCTL_FILE,
    "/etc/sysctl.d",
    "/lib/modules",
    "/opt/containerd",
    "/root/.docker",
    "/root/.ssh/authorized_keys",
    "/root/.ssh",
    "/run/adduser",
    "/run/containerd",
    "/run/docker",
    "/run/docker.pid",
    "/run/docker.sock",
    "/run/libvirt",
    "/run/netns",
    "/run/openvswitch",
    "/run/ovn",
    "/run/xtables.lock",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/libvirt",
    "/var/lib/nova",
    "/var/log/devenv-dockerd.log",
)
#: Groups that an engine's package makes.
GROUPS = ("docker",)


class Changes(BaseModel):
    """The file's content: how the host was, and what was done to it.

    :param absent: of :data:`CANDIDATES`, those that were not there.
    :param groups: of :data:`GROUPS`, those that were not there.
    :param sysctls: the values that there were.
    :param packages: what was installed, dependencies too.
    :param installed: whether the engine is of our making.
    :param started: whether the engine was there, and off.
    :param sources: addresses that firewalld or ufw were told to accept.
    :param addresses: by external device the addresses that it had, with their prefixes; they
        move to a bridge while the environment is there.
    :param down: the external devices that were down.
    """

    model_config = ConfigDict(frozen=True)

    absent: tuple[str, ...]
    groups: tuple[str, ...] = ()
    sysctls: dict[str, str] = Field(default_factory=dict)
    packages: tuple[str, ...] = ()
    installed: bool = False
    started: bool = False
    sources: tuple[str, ...] = ()
    addresses: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    down: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Changes | None:
        """The journal in a file's text; None if there is none that is complete."""
        try:
            return cls.model_validate_json(text) if text.strip() else None
        except ValidationError:
            return None
