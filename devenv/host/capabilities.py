"""What an engine grants to a container that is a whole node, found by running one.

``--privileged`` is not used: where a capability is outside the bounding set of the
engine's machine, runc cannot apply it and no privileged container starts. Asking for all
capabilities except those does start.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from devenv.core import labels
from devenv.core.errors import HostError
from devenv.host.system import sudo

if TYPE_CHECKING:
    from docker import DockerClient

#: In the order of their numbers, from 0: linux/capability.h of Linux 5.9 and later.
_NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
    SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
    SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
    WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = tuple(_NAMES.split())

#: The value of the label `devenv.kind` on the containers made here.
PROBE = "probe"


@dataclass(frozen=True)
class Privileges:
    """What a node container is created with. :meth:`host_config` is the whole of it."""

    cap_add: list[str] = field(default_factory=lambda: ["ALL"])
    cap_drop: list[str] = field(default_factory=list)
    security_opt: list[str] = field(
        default_factory=lambda: ["seccomp=unconfined", "apparmor=unconfined"]
    )
    device_cgroup_rules: list[str] = field(default_factory=lambda: ["c *:* rwm", "b *:* rwm"])
    devices: list[str] = field(default_factory=lambda: ["/dev/net/tun"])

    def host_config(self) -> dict[str, Any]:
        """The fields of the Engine API's HostConfig (docs.docker.com/engine/api).

        The two empty lists are the command line's ``--security-opt
        systempaths=unconfined``: the engine refuses that word (measured on 20.10), the
        command line translates it, and docker-py has no argument for it.
        """
        return {
            "CapAdd": list(self.cap_add),
            "CapDrop": list(self.cap_drop),
            "SecurityOpt": list(self.security_opt),
            "MaskedPaths": [],
            "ReadonlyPaths": [],
            "DeviceCgroupRules": list(self.device_cgroup_rules),
            "Devices": [
                {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}
                for path in self.devices
            ],
        }

    def __str__(self) -> str:
        lacking = f" but {', '.join(self.cap_drop)}" if self.cap_drop else ""
        return f"all capabilities{lacking}"


def missing_capabilities(cap_bnd_hex: str, last: int = len(CAPABILITIES) - 1) -> list[str]:
    """The names of the capabilities that are not in a bounding set.

    :param cap_bnd_hex: CapBnd as proc_pid_status(5) has it, hexadecimal.
    :param last: the highest number that the kernel knows (/proc/sys/kernel/cap_last_cap).
    """
    bounding = int(cap_bnd_hex, 16)
    return [
        name for number, name in enumerate(CAPABILITIES[: last + 1]) if not bounding & (1 << number)
    ]


def probe(client: DockerClient, image: str) -> Privileges:
    """Find what the engine behind `client` grants, by running `image` with it.

    First with every capability. If the engine refuses, without those that its own
    processes do not have. That second step is for old engines (20.10); a later one (26.1)
    leaves such capabilities out of ALL by itself and refuses to have them named in CapDrop.

    :param image: an image that the engine has, with ``sh`` and ``cat``.
    :raises HostError: with the engine's answer, when not even that starts.
    """
    granted = Privileges()
    looked = False
    while True:
        refusal = _try(client, image, granted)
        if refusal is None:
            return granted
        unknown = [name for name in granted.cap_drop if re.search(rf"\bCAP_{name}\b", refusal)]
        if unknown:
            # The engine is older than the capability and cannot grant what it cannot name.
            drop = [name for name in granted.cap_drop if name not in unknown]
        elif not looked:
            looked = True
            drop = _missing_at_engine(client, image)
        else:
            drop = granted.cap_drop
        if drop == granted.cap_drop:
            raise HostError(
                f"the Docker Engine refuses a container with what a node needs ({granted})",
                detail=refusal,
                remedy=sudo(["modprobe", "tun"])
                if "/dev/net/tun" in refusal
                else "use an engine that runs as root, outside an unprivileged container",
            )
        granted = Privileges(cap_drop=drop)


def _try(client: DockerClient, image: str, privileges: Privileges) -> str | None:
    """Run a container with `privileges`; why it did not start, or None."""
    try:
        _run(client, image, ["true"], privileges.host_config())
    except _Refused as refused:
        return str(refused)
    return None


def _missing_at_engine(client: DockerClient, image: str) -> list[str]:
    """What the engine's own processes lack.

    Read from the parent of a container's first process. That is the engine's shim, which
    has the engine's bounding set, wherever the engine runs; this process's own may differ.
    """
    script = 'cat "/proc/$PPID/status" /proc/sys/kernel/cap_last_cap'
    try:
        output = _run(client, image, ["sh", "-c", script], {"PidMode": "host"})
    except _Refused as refused:
        raise HostError(
            "the Docker Engine does not run a plain container", detail=str(refused)
        ) from refused
    bounding = re.search(r"^CapBnd:\s*([0-9a-f]+)$", output, re.MULTILINE)
    if bounding is None:
        raise HostError("the bounding set of the Docker Engine cannot be read", detail=output)
    return missing_capabilities(bounding[1], int(output.split()[-1]))


class _Refused(Exception):
    """The engine's words for not running a container, or the container's own."""


def _run(
    client: DockerClient, image: str, command: Sequence[str], host_config: dict[str, Any]
) -> str:
    """Run a short container without network and remove it; its output.

    :raises HostError: if the engine does not have `image`.
    """
    from docker.errors import APIError, ImageNotFound, NotFound

    config = {
        "Image": image,
        "Entrypoint": list(command),
        "Labels": {
            labels.KIND: PROBE,
            labels.CREATED: datetime.now(UTC).isoformat(timespec="seconds"),
        },
        "HostConfig": {"NetworkMode": "none", **host_config},
    }
    name = f"devenv-probe-{secrets.token_hex(4)}"
    try:
        client.api.create_container_from_config(config, name)
        client.api.start(name)
        code = client.api.wait(name, timeout=60)["StatusCode"]
        output = client.api.logs(name).decode(errors="replace")
    except ImageNotFound as error:
        raise HostError(f"the Docker Engine has no image {image} to probe with") from error
    except APIError as error:
        raise _Refused(str(error.explanation or error)) from error
    finally:
        # By name: a create that timed out here may still have been carried out there.
        with suppress(NotFound):
            client.api.remove_container(name, force=True, v=True)
    if code != 0:
        raise _Refused(f"exit code {code}: {output.strip()}")
    return str(output)
