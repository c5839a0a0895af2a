"""The guests on a compute node, as its hypervisor has them."""

from __future__ import annotations

import shlex

from devenv.core.errors import NodeError
from devenv.nodes.connection import Connection

#: The volume with libvirt's definitions of domains.
VOLUME = "libvirtd_qemu"
#: Nova writes a server's name into its domain. A guest that is off counts: its disk is there.
_SCRIPT = """
cd {folder} || exit 1
for file in *.xml; do
    [ -f "$file" ] || continue
    sed -n "/<nova:name>/{{s:.*<nova\\:name>\\(.*\\)</nova\\:name>.*:\\1:p;q}}" "$file" || exit 1
done
"""


def guests(connection: Connection) -> list[str]:
    """The names of the servers that a node has, also of those that are off.

    A node without libvirt's volume has none.

    :raises NodeError: when its engine or the volume cannot be read: guests may be there.
    """
    import docker.errors
    import requests

    try:
        volume = connection.docker.api.inspect_volume(VOLUME)
    except docker.errors.NotFound:
        return []
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise NodeError(
            f"its engine does not tell of the volume {VOLUME}, so its guests are not known",
            node=connection.node.name,
            detail=str(error),
        ) from error
    script = _SCRIPT.format(folder=shlex.quote(volume["Mountpoint"]))
    return connection.run(script).stdout.decode(errors="replace").splitlines()
