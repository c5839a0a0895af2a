"""The Docker Engine of this machine: where it is, whether it answers, which one it is."""

from __future__ import annotations

import getpass
import grp
import os
import re
import socket
from typing import TYPE_CHECKING, Any

from devenv.core.errors import HostError
from devenv.host import start
from devenv.host.checks import Check, Fix
from devenv.host.packages import install_fix, install_remedy
from devenv.host.system import is_root, sudo, which

if TYPE_CHECKING:
    from docker import DockerClient

SOCKET = "/var/run/docker.sock"
MINIMUM = (20, 10)
#: Debian's packages; containerd and runc are dependencies, containerd is started by dockerd.
PACKAGES = ("docker.io", "iptables")

_ANSWER_TIMEOUT = 10
_REGISTRY_TIMEOUT = 5


def address() -> str:
    """Where the engine is: DOCKER_HOST, else the socket that the docker command uses."""
    return os.environ.get("DOCKER_HOST") or f"unix://{SOCKET}"


def connect(timeout: int = 60) -> DockerClient:
    """A client of the engine. It is not thread-safe: make one for each thread.

    :param timeout: seconds for one answer.
    :raises HostError: saying why there is no usable engine, and what to do.
    """
    import docker
    from docker.errors import DockerException

    check = engine_check()
    if not check.ok:
        raise HostError(check.found, remedy=check.remedy or None)
    try:
        return docker.DockerClient(**_arguments(address()), timeout=timeout)
    except (OSError, DockerException) as error:
        raise HostError(f"the Docker Engine at {address()} stopped answering: {error}") from error


def engine_check(minimum: tuple[int, int] = MINIMUM) -> Check:
    """Whether an engine answers and is at least version `minimum`.

    An engine that answers is never touched. A fix is offered only for this machine's own
    engine, and only to root: one to install it, one to start it.
    """
    where = address()
    try:
        answer = _version(where)
    except PermissionError:
        return _denied(where)
    except _Silent as silent:
        return _silent(where, str(silent))
    version = str(answer.get("Version", "of unknown version"))
    names = " ".join(str(part.get("Name", "")) for part in answer.get("Components") or [])
    if "podman" in names.lower():
        return _failed(
            f"Podman {version} answers at {where}, not a Docker Engine",
            "set DOCKER_HOST to the socket of a Docker Engine",
        )
    numbers = re.match(r"(\d+)\.(\d+)", version)
    # A version without numbers is a build from source: new enough until it fails.
    if numbers and (int(numbers[1]), int(numbers[2])) < minimum:
        wanted = ".".join(str(number) for number in minimum)
        return _failed(
            f"Docker Engine {version} at {where} is too old, {wanted} or later is needed",
            "upgrade it: docs.docker.com/engine/install; devenv does not touch a running engine",
        )
    return Check("docker", True, f"Docker Engine {version} at {where}")


def registry_reachable(reference: str, client: DockerClient) -> bool:
    """Whether the engine can get image `reference` from its registry; asks for 5 s at most."""
    from docker.errors import DockerException

    before = client.api.timeout
    client.api.timeout = _REGISTRY_TIMEOUT
    try:
        client.api.inspect_distribution(reference)
    except (OSError, DockerException):
        return False
    finally:
        client.api.timeout = before
    return True


class _Silent(Exception):
    """Nothing that speaks the Engine API answered; the text says what happened instead."""


def _version(where: str) -> dict[str, Any]:
    """The engine's answer to GET /version.

    :raises PermissionError: if this user may not open its socket.
    """
    import docker
    from docker.constants import DEFAULT_DOCKER_API_VERSION
    from docker.errors import DockerException

    try:
        if where.startswith("unix://"):
            # docker-py wraps what goes wrong here in words; the plain errors tell it apart.
            with socket.socket(socket.AF_UNIX) as plain:
                plain.settimeout(_ANSWER_TIMEOUT)
                plain.connect("/" + where.removeprefix("unix://").lstrip("/"))
        # With a version given, the client does not ask for one, which an old engine fails.
        client = docker.APIClient(
            **_arguments(where), version=DEFAULT_DOCKER_API_VERSION, timeout=_ANSWER_TIMEOUT
        )
        try:
            answer = client.version(api_version=False)
        finally:
            client.close()
    except PermissionError:
        raise
    except (OSError, DockerException) as error:
        raise _Silent(getattr(error, "strerror", None) or str(error)) from error
    if not isinstance(answer, dict):
        raise _Silent("the answer is not the Engine API's")
    return answer


def _arguments(where: str) -> dict[str, Any]:
    """A client's arguments for the engine at `where`, with TLS as the environment says."""
    from docker.utils import kwargs_from_env

    return {**kwargs_from_env(), "base_url": where}


def _failed(found: str, remedy: str, fix: Fix | None = None) -> Check:
    return Check("docker", False, found, remedy, fix)


def _denied(where: str) -> Check:
    user = getpass.getuser()
    try:
        group = grp.getgrnam("docker")
    except KeyError:
        socket_path = where.removeprefix("unix://")
        return _failed(
            f"{user} may not open {where}, and there is no group docker that may",
            "sudo groupadd --system docker"
            f" && sudo usermod -aG docker {user} && sudo chgrp docker {socket_path}"
            ", then log in again",
        )
    if user in group.gr_mem and group.gr_gid not in os.getgroups():
        return _failed(
            f"{user} is in group docker, but this session began before that",
            "log in again, or run: newgrp docker",
        )
    return _failed(
        f"{user} may not open {where}: not in group docker",
        f"sudo usermod -aG docker {user}, then log in again (or run: newgrp docker)",
    )


def _silent(where: str, why: str) -> Check:
    if where not in (f"unix://{SOCKET}", "unix:///run/docker.sock"):
        return _failed(
            f"no Docker Engine answers at DOCKER_HOST={where}: {why}",
            "start that engine, or unset DOCKER_HOST to use this machine's",
        )
    if which("dockerd") is None:
        return _failed(
            "the Docker Engine is not installed", install_remedy(PACKAGES), install_fix(PACKAGES)
        )
    if which("iptables") is None:
        return _failed(
            "the Docker Engine is installed, but not iptables, without which it does not start",
            install_remedy(["iptables"]),
            install_fix(["iptables"]),
        )
    pid = start.running()
    if pid is not None:
        return _failed(
            f"the Docker Engine runs (process {pid}) but does not answer at {where}: {why}",
            f"wait if it has just been started, else see {start.log_command()}",
            Fix(f"waiting for the Docker Engine (process {pid})", lambda: start.wait(_answers)),
        )
    command = start.command()
    fix = Fix(f"starting the Docker Engine: {command}", lambda: start.start(_answers))
    return _failed(
        "the Docker Engine is installed but does not run",
        sudo(["sh", "-c", f"'{command}'"]) if "&" in command else sudo([command]),
        fix if is_root() else None,
    )


def _answers() -> bool:
    try:
        _version(f"unix://{SOCKET}")
    except (PermissionError, _Silent):
        return False
    return True
