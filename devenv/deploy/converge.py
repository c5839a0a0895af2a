"""Carries out a plan on the nodes."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from devenv.core import labels
from devenv.core.errors import DeployError, NodeError, NodeLost
from devenv.core.events import Events
from devenv.core.parallel import Step, Timeline, run_steps
from devenv.core.wait import NotYet, wait_until
from devenv.deploy.plan import Action
from devenv.deploy.schemas import Schemas
from devenv.nodes.connection import Connection, File
from devenv.services.catalogue import catalogue
from devenv.services.render import Rendered

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Steps at a time. Few, so that those on the critical path, which go first, do not share the
#: processors with those that nobody waits for.
WORKERS = 4
#: Seconds that a one-shot job may take.
JOB_TIMEOUT = 600
#: Lines of a failed container's log that an error shows.
LOG_LINES = 25
#: An untouched container that was ready once is given this many seconds to answer, unless it was
#: started within as many seconds as `_YOUNG`: its node booted, and it may be as slow as a new one.
CHECK_TIMEOUT = 60
_YOUNG = 300
#: Ask again and again inside the container for a few seconds: an exec costs the node's engine more
#: than the question itself, and while services start, processors are what everybody waits for.
_UNTIL = """
until said=$(bash -c "$1" 2>&1); do
    (( SECONDS < 5 )) || { echo "$said"; exit 1; }
    sleep 0.3
done
"""
#: How often a container may have restarted before it counts as dead.
RESTARTS = 3


class Converge:
    """Does what a plan says.

    :param recipes: the hash of what each image was built from, by image name.
    """

    def __init__(
        self,
        environment: str,
        connections: Mapping[str, Connection],
        recipes: Mapping[str, str],
        events: Events,
    ) -> None:
        self._environment = environment
        self._connections = connections
        self._recipes = recipes
        self._events = events
        self._failing = threading.Event()

    def run(self, actions: list[Action]) -> Timeline:
        """Carry out `actions` in parallel, each after what it comes after.

        :raises DeployError: with the service, the node and the container's last log lines.
        """
        types = {"run": "job", "check": "ready", "remove": "remove"}
        steps = [
            Step(
                id=action.id,
                name=action.name,
                type=types.get(action.verb, "container"),
                node=action.node,
                why=action.why,
                run=lambda action=action: self._do(action),  # type: ignore[misc]
                after=action.after,
            )
            for action in actions
        ]
        return run_steps(steps, self._events, workers=WORKERS)

    def _do(self, action: Action) -> None:
        import docker.errors
        import requests

        try:
            self._act(action)
        except (docker.errors.DockerException, requests.RequestException, NodeError) as error:
            self._refuse_lost(action, error)
            self._failing.set()
            if isinstance(error, NodeError):
                raise
            service = action.wanted.service if action.wanted else action.name
            raise DeployError(
                f"{service}: the engine could not {action.verb} {action.name}: {error}",
                node=action.node,
                remedy=f"devenv --name {self._environment} up, which goes on from here",
            ) from error
        except BaseException:
            self._failing.set()
            raise

    def _refuse_lost(self, action: Action, error: Exception) -> None:
        """Tell a node that answers no more from one where something failed.

        :raises NodeLost: when nobody can log in to it.
        """
        try:
            asked = self._connections[action.node].run(["true"], check=False, timeout=20)
            if asked.returncode == 0:
                return
        except NodeError:
            pass
        raise NodeLost(
            f"it answers no more; {action.name} could not be seen to",
            node=action.node,
            detail=str(error),
            remedy=f"when it is back: devenv --name {self._environment} up goes on from here",
        ) from error

    def _act(self, action: Action) -> None:
        connection = self._connections[action.node]
        if action.verb == "remove":
            connection.docker.api.stop(action.name)
            connection.docker.api.remove_container(action.name, force=True, v=True)
            return
        wanted = action.wanted
        if wanted is None:
            raise DeployError(f"nothing says how {action.name} is made", node=action.node)
        if action.verb == "run":
            self._job(connection, wanted, action)
            return
        if action.verb in ("create", "replace"):
            self._create(connection, wanted, replace=action.actual is not None)
            connection.docker.api.start(wanted.name)
        elif action.verb == "start":
            container = connection.docker.containers.get(wanted.name)
            container.unpause() if container.status == "paused" else container.start()
        timeout = CHECK_TIMEOUT if action.verb == "check" and not _young(action) else None
        self.wait_ready(connection, wanted, timeout)

    # -- containers --------------------------------------------------------------------

    def _create(
        self, connection: Connection, wanted: Rendered, *, replace: bool, restored: bool = False
    ) -> None:
        folder = f"/etc/kolla/{wanted.name}"
        connection.put(File(f"{folder}/{name}", data) for name, data in wanted.files.items())
        api, spec = connection.docker.api, wanted.spec
        if replace:
            api.stop(wanted.name, timeout=spec.stop_timeout)
            api.remove_container(wanted.name, force=True, v=True)
        self._volumes(connection, wanted)
        options: dict[str, Any] = {
            "network_mode": "host",
            "binds": [f"{folder}:/var/lib/kolla/config_files:ro", *spec.volumes],
            "cap_add": list(spec.capabilities),
            "devices": list(spec.devices),
            "restart_policy": {"Name": "no" if spec.is_job else "unless-stopped"},
        }
        if spec.pid:
            options["pid_mode"] = spec.pid
        host_config = api.create_host_config(**options)
        host_config["CgroupnsMode"] = spec.cgroupns
        if spec.unconfined:
            host_config["SecurityOpt"] = ["seccomp=unconfined", "apparmor=unconfined"]
            host_config["MaskedPaths"] = host_config["ReadonlyPaths"] = []
        api.create_container(
            wanted.image,
            name=wanted.name,
            entrypoint=["true"] if restored else None,
            environment=dict(wanted.environment),
            labels={
                labels.ENVIRONMENT: self._environment,
                labels.SERVICE: wanted.service,
                labels.KIND: "job" if spec.is_job else "container",
                labels.HASH: wanted.hash,
            },
            stop_signal="SIGTERM",
            host_config=host_config,
        )

    def _volumes(self, connection: Connection, wanted: Rendered) -> None:
        for volume in wanted.spec.volumes:
            name = volume.split(":")[0]
            if not name.startswith("/"):
                connection.docker.api.create_volume(
                    name,
                    labels={labels.ENVIRONMENT: self._environment, labels.SERVICE: wanted.service},
                )

    def wait_ready(
        self, connection: Connection, wanted: Rendered, timeout: float | None = None
    ) -> None:
        """Wait until the container gives the right answer; its death ends the wait.

        :param timeout: seconds; the service's own if None.
        :raises DeployError: with the last log lines.
        """
        container = connection.docker.containers.get(wanted.name)
        # Restarts of long ago, when the node booted, say, are nobody's business now.
        before = container.attrs["RestartCount"]

        def answers() -> None:
            container.reload()
            state = container.attrs["State"]
            if (
                container.status in ("exited", "dead")
                or container.attrs["RestartCount"] - before >= RESTARTS
            ):
                raise self._failed(connection, wanted, f"exited with {state['ExitCode']}")
            if container.status != "running":
                raise NotYet(f"the container is {container.status}")
            if not wanted.ready:
                return
            if self._failing.is_set():
                raise DeployError("no longer waited for: another step failed", node=wanted.node)
            code, output = container.exec_run(["bash", "-c", _UNTIL, "ready", wanted.ready])
            if code != 0:
                raise NotYet(
                    f"`{wanted.ready}` said: {output.decode(errors='replace').strip()[-300:]}"
                )

        limit = timeout or (wanted.spec.ready.timeout if wanted.spec.ready else 30)
        limit *= connection.node.pace
        try:
            wait_until(
                answers,
                what=f"{wanted.name} to answer",
                timeout=limit,
                interval=0.2,
                longest=0.5,
                node=wanted.node,
            )
        except DeployError:
            raise
        except Exception as error:
            raise self._failed(connection, wanted, str(error)) from error

    def _failed(self, connection: Connection, wanted: Rendered, what: str) -> DeployError:
        container: Container = connection.docker.containers.get(wanted.name)
        return DeployError(
            f"{wanted.service}: {wanted.name} {what}",
            node=wanted.node,
            detail=container.logs(tail=LOG_LINES).decode(errors="replace"),
            remedy=f"devenv --name {self._environment} logs {wanted.name} --node {wanted.node}; "
            "after a change, `devenv up` goes on from here",
        )

    # -- jobs --------------------------------------------------------------------------

    def _job(self, connection: Connection, wanted: Rendered, action: Action) -> None:
        actual = action.actual
        if actual and actual.state == "running" and actual.hash == wanted.hash:
            # Started by a devenv that was killed: it is neither stopped half-way nor done twice.
            self._finish(connection, wanted)
            return
        replace = actual is not None
        if wanted.spec.schemas and self._restored(connection, wanted):
            self._create(connection, wanted, replace=replace, restored=True)
            self._finish(connection, wanted)
            return
        self._create(connection, wanted, replace=replace)
        if not wanted.spec.schemas:
            self._finish(connection, wanted)
            return
        schemas, names, path = self._schemas(connection, wanted)
        fresh = schemas.is_empty(names)
        self._finish(connection, wanted)
        if fresh:
            schemas.save(path, names)

    def _finish(self, connection: Connection, wanted: Rendered) -> None:
        api = connection.docker.api
        api.start(wanted.name)
        code = int(api.wait(wanted.name, timeout=JOB_TIMEOUT * connection.node.pace)["StatusCode"])
        if code != 0:
            raise self._failed(connection, wanted, f"exited with {code}")

    def _restored(self, connection: Connection, wanted: Rendered) -> bool:
        schemas, names, path = self._schemas(connection, wanted)
        if not path.exists() or not schemas.is_empty(names):
            return False
        self._events.note(wanted.name, "restoring the kept schema", node=wanted.node, type="job")
        schemas.restore(path, names)
        return True

    def _schemas(self, connection: Connection, wanted: Rendered) -> tuple[Schemas, list[str], Any]:
        database = catalogue()[wanted.service].database
        if database is None:
            raise DeployError(f"{wanted.service} makes schemas and names no database")
        schemas = Schemas(connection, self._recipes["mariadb-server"])
        return (
            schemas,
            database.names,
            schemas.path(self._recipes[wanted.spec.image], database.names),
        )


def _young(action: Action) -> bool:
    """Whether a container was started a short while ago, in the engine's words."""
    found = (
        re.match(r"Up (\d+|About a|Less than a) (second|minute)", action.actual.status)
        if action.actual
        else None
    )
    if not found:
        return False
    count = int(found[1]) if found[1].isdigit() else 1
    return found[2] == "second" or count * 60 <= _YOUNG
