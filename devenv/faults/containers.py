"""Faults on a container: kill, stop, pause."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from devenv.core import labels
from devenv.core.errors import InputError
from devenv.core.wait import NotYet
from devenv.faults.fault import Fault
from devenv.faults.site import Site

if TYPE_CHECKING:
    from docker.models.containers import Container


@dataclass(frozen=True)
class ContainerFault(Fault):
    """A fault on the container called `container`."""

    container: str

    def describe(self) -> str:
        """``kill haproxy on ctl2``."""
        return f"{self.verb} {self.container} on {self.node}"

    def prepare(self, site: Site) -> Self:
        """The container has to be there and run.

        :raises InputError: when it is not, or when the node does not answer.
        """
        super().prepare(site)
        api = site.connection(self.node).docker.api
        label = f"{labels.ENVIRONMENT}={site.environment}"
        states = {
            str(entry["Names"][0]).lstrip("/"): str(entry["State"])
            for entry in api.containers(all=True, filters={"label": label})
        }
        if self.container not in states:
            near = difflib.get_close_matches(self.container, states, n=1)
            raise InputError(
                f"there is no container {self.container!r}"
                + (f"; did you mean {near[0]}?" if near else ""),
                node=self.node,
                remedy=f"containers: {', '.join(sorted(states)) or 'none'}",
            )
        if states[self.container] != "running":
            raise InputError(
                f"`{self.describe()}` was not tried: {self.container} is "
                f"{states[self.container]} already",
                node=self.node,
                remedy="`devenv up` starts what should run",
            )
        return self

    def inject(self, site: Site) -> None:
        """Done by the node's engine."""
        self._act(site.connection(self.node).docker.api)

    @abstractmethod
    def _act(self, api: Any) -> None: ...

    def confirm(self, site: Site) -> None:
        """It does not run, and the engine is not about to start it again."""
        state = site.connection(self.node).docker.api.inspect_container(self.container)["State"]
        if state["Running"] or state["Restarting"]:
            raise NotYet(f"{self.container} is {state['Status']}")

    def heal(self, site: Site) -> None:
        """Start it or let it go on; nothing to do if it runs or is gone."""
        container = self._find(site)
        if container is not None and container.status == "paused":
            container.unpause()
        elif container is not None:
            container.start()  # The engine does nothing if it runs.

    def _find(self, site: Site) -> Container | None:
        import docker.errors

        try:
            found: Container = site.connection(self.node).docker.containers.get(self.container)
        except docker.errors.NotFound:
            return None
        return found


@dataclass(frozen=True)
class KillContainer(ContainerFault):
    """SIGKILL. The engine takes it for a stop by hand: its restart policy does not start it."""

    verb: ClassVar[str] = "kill"

    def _act(self, api: Any) -> None:
        api.kill(self.container)


@dataclass(frozen=True)
class StopContainer(ContainerFault):
    """SIGTERM, then SIGKILL after the service's own time."""

    verb: ClassVar[str] = "stop"

    def _act(self, api: Any) -> None:
        from devenv.services.catalogue import catalogue

        told = api.inspect_container(self.container)["Config"]["Labels"]
        service = catalogue().get(told.get(labels.SERVICE, ""))
        spec = service.containers.get(self.container) if service else None
        api.stop(self.container, timeout=spec.stop_timeout if spec else 10)


@dataclass(frozen=True)
class PauseContainer(ContainerFault):
    """All its processes are frozen: it keeps its connections and says nothing."""

    verb: ClassVar[str] = "pause"

    def _act(self, api: Any) -> None:
        api.pause(self.container)

    def confirm(self, site: Site) -> None:
        """The engine refuses to run a command in it, as it does in what is paused."""
        import docker.errors

        api = site.connection(self.node).docker.api
        try:
            api.exec_start(api.exec_create(self.container, ["true"])["Id"])
        except docker.errors.APIError as error:
            if "paused" in str(error.explanation or error):
                return
            raise
        raise NotYet(f"{self.container} still runs commands")
