"""What building images needs, and what the engine grants to the nodes that run them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from devenv.core.errors import HostError
from devenv.host import capabilities
from devenv.host.checks import Check
from devenv.host.engine import connect, engine_check, registry_reachable
from devenv.host.packages import packages_check
from devenv.images.base_image import REGISTRY_IMAGE
from devenv.images.recipe import BASE, Cookbook
from devenv.images.store import node_recipe

if TYPE_CHECKING:
    from docker import DockerClient


def base_check() -> Check:
    """Where the Debian image below all others comes from: it is here, a registry, or mmdebstrap."""
    if not engine_check().ok:
        return _no_engine("base image")
    client = connect()
    if _has(client, BASE):
        return Check("base image", True, f"{BASE} is there")
    if registry_reachable(REGISTRY_IMAGE, client):
        return Check("base image", True, f"{REGISTRY_IMAGE} from its registry")
    tool = packages_check({"mmdebstrap": "mmdebstrap"})
    if tool.ok:
        return Check("base image", True, "no registry answers: mmdebstrap makes it")
    found = f"no registry has {REGISTRY_IMAGE}, and {tool.found}"
    return Check("base image", False, found, tool.remedy, tool.fix)


def privileges_check() -> Check:
    """What the engine grants to a node, found by running a container; nothing is built for it."""
    if not engine_check().ok:
        return _no_engine("privileges")
    client = connect()
    candidates = (f"devenv/node:{Cookbook([node_recipe()]).hash('node')}", BASE)
    image = next((name for name in candidates if _has(client, name)), None)
    if image is None:
        return Check("privileges", True, "not probed before the base image is there", fatal=False)
    try:
        return Check("privileges", True, str(capabilities.probe(client, image)))
    except HostError as error:
        detail = f": {error.detail}" if error.detail else ""
        return Check("privileges", False, f"{error.message}{detail}", error.remedy or "")


def _no_engine(name: str) -> Check:
    return Check(name, False, "not looked at: no Docker Engine answers", fatal=False)


def _has(client: DockerClient, reference: str) -> bool:
    import docker.errors

    with contextlib.suppress(docker.errors.ImageNotFound):
        client.images.get(reference)
        return True
    return False
