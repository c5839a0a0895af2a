"""The Debian image below all others: from the registry, else from Debian's packages."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from devenv.core import labels
from devenv.core.errors import BuildError
from devenv.core.events import Events
from devenv.host.engine import registry_reachable
from devenv.images.recipe import BASE

if TYPE_CHECKING:
    from docker import DockerClient

#: Debian's own image in the public registry.
REGISTRY_IMAGE = "debian:trixie"


def ensure_base(client: DockerClient, events: Events) -> None:
    """Have :data:`BASE` on the engine: pulled if the registry answers, else made by mmdebstrap.

    :raises BuildError: when neither works.
    """
    import docker.errors

    with contextlib.suppress(docker.errors.ImageNotFound):
        client.images.get(BASE)
        return
    if registry_reachable(REGISTRY_IMAGE, client):
        # A registry may answer and still refuse, for having been asked too often, say.
        with (
            contextlib.suppress(docker.errors.APIError),
            events.step("debian", type="image", why=f"pull {REGISTRY_IMAGE} from the registry"),
        ):
            client.images.pull(REGISTRY_IMAGE).tag(BASE)
            return
    with events.step("debian", type="image", why="no registry answers: mmdebstrap trixie"):
        _bootstrap(client)


def _bootstrap(client: DockerClient) -> None:
    if not shutil.which("mmdebstrap"):
        raise BuildError(
            f"no registry has {REGISTRY_IMAGE} and mmdebstrap is not installed",
            remedy="devenv doctor --fix, or: apt-get install mmdebstrap",
        )
    with tempfile.TemporaryDirectory(prefix="devenv-") as folder:
        archive = Path(folder) / "trixie.tar"
        command = [
            "mmdebstrap", "--variant=minbase", "--include=ca-certificates",
            "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--customize-hook=rm -rf $1/var/lib/apt/lists/* $1/var/cache/apt/*",
            "trixie", str(archive),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildError(
                "mmdebstrap could not make the Debian base",
                detail="\n".join(done.stderr.splitlines()[-15:]),
                remedy="check that Debian's mirror answers: apt-get update",
            )
        name, tag = BASE.split(":")
        client.api.import_image_from_file(
            str(archive), name, tag, changes=[f"LABEL {labels.RECIPE}=debian-trixie"]
        )
