"""The power switch of a node that is a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devenv.core.errors import HostError, NodeError
from devenv.providers.base import PowerAction

if TYPE_CHECKING:
    from docker.models.containers import Container

#: The statuses of a node that is on: it has its memory and its processes.
_ON = ("running", "paused")


def change(container: Container, node: str, action: PowerAction) -> bool:
    """Do `action`, unless it was done; says whether the node was started.

    :raises NodeError: when a machine in this state cannot do it.
    :raises HostError: when the engine refuses.
    """
    from docker.errors import APIError

    before = container.status
    if action in ("pause", "resume") and before not in _ON:
        raise NodeError(
            f"it is off ({before}): there is nothing to {action}",
            node=node,
            remedy="turn it on; `devenv up` does",
        )
    if action == "on" and before == "paused":
        raise NodeError("it is on, and paused", node=node, remedy="resume it; `devenv up` does")
    starts = action == "reset" or (action == "on" and before != "running")
    try:
        if action in ("off", "reset") and before in _ON:
            # Not the engine's restart: even with no time to stop it sends SIGTERM first.
            container.kill()
        if starts:
            container.start()
        if action == "pause" and before != "paused":
            container.pause()
        if action == "resume" and before == "paused":
            container.unpause()
    except APIError as error:
        raise HostError(
            f"the engine refused to {action} it: {error.explanation}", node=node
        ) from error
    return starts
