"""What killed processes left behind, and what is only kept to be fast."""

from __future__ import annotations

import contextlib
import datetime
import shutil
from typing import TYPE_CHECKING

from devenv.core import labels, paths
from devenv.core.errors import DevenvError
from devenv.host.capabilities import PROBE
from devenv.images.recipe import BASE, NAMESPACE
from devenv.images.store import locked

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

#: Seconds after which no devenv can still be using a probe or a helper: they wait 600 at most.
LONGEST = 600
#: Seconds in which somebody may still be between creating, starting and reading one.
YOUNG = 30


def remove_helpers(client: DockerClient) -> list[str]:
    """Remove probe, helper and builder containers that nobody waits for; says which.

    A builder is in use while the builders' lock is held, a probe or helper while it is young
    and running.
    """
    removed = []
    for kind in (PROBE, "helper"):
        removed += [_remove(one) for one in _of_kind(client, kind) if not _in_use(one)]
    with contextlib.suppress(DevenvError), locked(wait=False):
        removed += [_remove(one) for one in _of_kind(client, "builder")]
    return removed


def clear_cache(client: DockerClient) -> list[str]:
    """Remove image stores, the images of nodes and their base, and kept schemas; says which.

    Environments that run go on: their volumes hold the layers by links of their own. An image
    that a node runs on stays.

    :raises DevenvError: while images are being built.
    """
    import docker.errors

    removed = []
    with locked(wait=False):
        for volume in client.volumes.list(filters={"label": labels.CACHE}):
            volume.remove(force=True)
            removed.append(f"volume {volume.name}")
        for reference in sorted(_references(client)):
            with contextlib.suppress(docker.errors.APIError):  # 409: a node runs on it
                client.images.remove(reference)
                removed.append(f"image {reference}")
        for name in ("schemas", "stores", "builder", "boxes"):
            folder = paths.cache() / name
            if folder.exists():
                shutil.rmtree(folder)
                removed.append(f"folder {folder}")
    return removed


def _references(client: DockerClient) -> set[str]:
    """The images that devenv made on this engine: nodes' and their base, and nameless old ones."""
    prefixes = (f"{NAMESPACE}/node:", BASE)
    named = {tag for one in client.images.list() for tag in one.tags if tag.startswith(prefixes)}
    labelled = client.images.list(filters={"label": labels.RECIPE, "dangling": True})
    return named | {str(one.id) for one in labelled}


def _of_kind(client: DockerClient, kind: str) -> list[Container]:
    found: list[Container] = client.containers.list(
        all=True, filters={"label": f"{labels.KIND}={kind}"}, ignore_removed=True
    )
    return found


def _in_use(container: Container) -> bool:
    # Ten digits of a fraction are more than fromisoformat takes, and whole seconds will do.
    created = str(container.attrs["Created"])[:19] + "+00:00"
    made = datetime.datetime.fromisoformat(created)
    age = (datetime.datetime.now(datetime.UTC) - made).total_seconds()
    return age < YOUNG or (container.status == "running" and age < LONGEST)


def _remove(container: Container) -> str:
    import docker.errors

    with contextlib.suppress(docker.errors.NotFound):
        container.remove(force=True, v=True)
    return f"container {container.name}"
