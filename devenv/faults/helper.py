"""A small container on a node that changes the node's network, and marks that somebody did.

Nothing is asked of the node but its engine: the container is made from the image of any container
of the environment, with the node's network, and with NET_ADMIN. It is there before the fault and
as long as it: its label holds the fault's record, so that the truth is on the node.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devenv.core import labels
from devenv.core.errors import NodeError, Unsupported
from devenv.nodes.connection import Connection

if TYPE_CHECKING:
    from docker.models.containers import Container

    from devenv.faults.fault import Fault

#: On helpers: the fault as JSON.
LABEL = labels.PREFIX + "fault"


@dataclass(frozen=True)
class Helper:
    """The helper of one fault."""

    connection: Connection
    container: Container

    def run(self, script: str, environment: Mapping[str, str] | None = None) -> str:
        """Run a bash script as root; its standard output.

        :raises NodeError: when it fails.
        """
        code, (out, err) = self.container.exec_run(
            ["bash", "-ec", script], user="root", environment=dict(environment or {}), demux=True
        )
        said = (err or b"").decode(errors="replace") + (out or b"").decode(errors="replace")
        node = self.connection.node.name
        if code != 0:
            raise NodeError("its network could not be changed", node=node, detail=said)
        return (out or b"").decode(errors="replace")

    def require(self, probe: str, environment: Mapping[str, str] | None = None) -> None:
        """Try what the kernel and the image have to know, before anything is changed.

        :param probe: a script that leaves nothing behind. What fails after it is a defect of ours
            or of the node, and is not to be taken for something that the kernel lacks.
        :raises Unsupported: when it fails.
        """
        try:
            self.run(probe, environment)
        except NodeError as error:
            what = (error.detail or "").strip().partition("\n")[0]
            raise Unsupported(
                f"the node cannot break its network in this way: {what}", node=error.node
            ) from error

    def remove(self) -> None:
        """Take it away, and with it the mark."""
        _remove(self.connection.docker.api, str(self.container.id))


def create(connection: Connection, environment: str, fault: Fault) -> Helper:
    """Make and start the helper of `fault`.

    :raises NodeError: when the node has no container of the environment.
    """
    client = connection.docker
    name = f"devenv-fault-{fault.id}"
    _remove(client.api, name)
    made = client.api.create_container(
        _image(connection, environment),
        name=name,
        user="root",
        entrypoint=["sleep"],
        command=["infinity"],
        labels={LABEL: json.dumps(fault.to_data())},
        # Gone with a boot of the node, as its effects are.
        host_config=client.api.create_host_config(
            network_mode="host", cap_add=["NET_ADMIN"], auto_remove=True, init=True
        ),
    )
    client.api.start(made["Id"])
    return Helper(connection, client.containers.get(made["Id"]))


def find(connection: Connection, fault: Fault) -> Helper | None:
    """The running helper of `fault`, if it is there."""
    import docker.errors

    try:
        container = connection.docker.containers.get(f"devenv-fault-{fault.id}")
    except docker.errors.NotFound:
        return None
    return Helper(connection, container) if container.status == "running" else None


def faults_on(connection: Connection) -> list[dict[str, Any]]:
    """The faults, as JSON has them, that helpers on the node tell of."""
    entries = connection.docker.api.containers(all=True, filters={"label": LABEL})
    return [json.loads(entry["Labels"][LABEL]) for entry in entries]


def _image(connection: Connection, environment: str) -> str:
    """The image of any container of the environment; of one that runs, if there is one."""
    label = f"{labels.ENVIRONMENT}={environment}"
    entries = connection.docker.api.containers(all=True, filters={"label": label})
    if not entries:
        raise NodeError(
            f"no container of environment {environment!r} is there, so no image to work with",
            node=connection.node.name,
            remedy="devenv up",
        )
    running = [entry for entry in entries if entry["State"] == "running"]
    return str(min(running or entries, key=lambda entry: entry["Names"])["ImageID"])


def _remove(api: Any, name: str) -> None:
    import docker.errors

    try:
        api.remove_container(name, force=True)
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code != 409:  # It is being removed: killed a moment ago, say.
            raise
