"""What the commands do, top to bottom: read it as the documentation of `up` and `down`."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from devenv.access import clouds
from devenv.access.clouds import Cloud
from devenv.core import paths
from devenv.core.errors import DevenvError, InputError
from devenv.core.events import Events
from devenv.core.parallel import Timeline
from devenv.core.redact import Redactor
from devenv.core.secrets import Secrets
from devenv.deploy import delivery, hypervisor, limits, records
from devenv.deploy.actual import NodeState, inspect_all
from devenv.deploy.cluster import Clusters, stop_all
from devenv.deploy.converge import Converge
from devenv.deploy.plan import plan
from devenv.deploy.status import Guest, Status, release
from devenv.faults.inject import heal_all
from devenv.faults.records import all_records
from devenv.faults.site import Site
from devenv.host import capabilities
from devenv.host.capabilities import Privileges
from devenv.host.checks import raise_for
from devenv.host.engine import connect
from devenv.images import leftovers
from devenv.images.recipe import Cookbook
from devenv.images.store import Stores, ensure_node_image
from devenv.nodes.connection import Connection, File, connected
from devenv.nodes.keys import key_pair
from devenv.nodes.node import Node
from devenv.providers.base import Inventory, Provider, leaving, refuse_change
from devenv.providers.registry import provider_class
from devenv.report.timeline import BETWEEN, CRITICAL
from devenv.services.catalogue import catalogue, cookbook, enabled
from devenv.services.model import Service
from devenv.services.render import Place, Renderer
from devenv.topology.load import LoadedTopology

#: Where the master secret is kept on each control node; Kolla's folder for such things.
_SECRET_FILE = "/etc/kolla/devenv-secret"  # noqa: S105 - a path
_TOPOLOGY_FILE = "/etc/kolla/topology.yaml"
#: The part of the external network that floating IPs come from: .102 to .249 of a /24.
_POOL = (0.4, 0.976)

#: Seconds in which a node answers again after it was put back to a snapshot.
_BACK = 120

#: The job that makes the first guest, and a port that the guest answers on.
GUEST_JOB, GUEST_PORT = "cloud_guest", 7


@dataclass(frozen=True)
class Outcome:
    """What an `up` did.

    :param changed: ids (node/container) of what was made, started or removed.
    """

    status: Status
    timeline: Timeline
    changed: list[str] = field(default_factory=list)


class Environment:
    """One environment by name, with all that devenv does to it."""

    def __init__(self, name: str, provider: str, events: Events, redact: Redactor) -> None:
        self.name = name
        self.state = paths.environment(name)
        self.events = events
        self._redact = redact
        self.provider: Provider = provider_class(provider)(
            name, self.state, events, self.privileges
        )

    # -- up ----------------------------------------------------------------------------

    def up(
        self, wanted: LoadedTopology, sources: Mapping[str, Path], *, force: bool = False
    ) -> Outcome:
        """Make what is missing, change what differs, touch nothing else.

        :param sources: checkouts that replace a service's stock code, by service name.
        :param force: take nodes away that the topology lost, also with guests on them; and
            machines that are in other use.
        :raises DevenvError: when the environment has another topology; and what each part raises.
        """
        services = enabled(wanted)
        recipes = required_images(wanted)
        images = delivery.choose(services, recipes, sources)
        self.provider.force = force
        with self.locked():
            try:
                existing = self.provider.nodes()
                self._same_topology(existing, wanted)
                limits.check(wanted)
                refuse_change(existing, wanted)
                raise_for(probe() for probe in self.provider.check(wanted))
            except DevenvError:
                self._leave_no_trace()
                raise
            going = leaving(existing, wanted)
            if existing and going and not force:
                self._refuse_guests(existing, going)
            store = self.stores.ensure(recipes)
            if existing and going:
                self._retire(wanted, services, existing, going, images)
            # Of the whole catalogue's images those that run here: all there is to bring to a node.
            used = {name: kept for name, kept in store.images.items() if name in images}
            inventory = self.provider.create(wanted, replace(store, images=used))
            with connected(inventory.nodes, self._sockets) as connections:
                self._heal(inventory, connections)
                secrets = self._secrets(connections, inventory, wanted.text)
                renderer = self._renderer(wanted, services, inventory, secrets, images)
                rendered = [
                    renderer.render(service, name, node)
                    for service in services
                    for name, spec in service.containers.items()
                    for node in renderer.nodes_for(spec)
                ]
                needed: dict[str, set[str]] = {}
                for item in rendered:
                    needed.setdefault(item.node, set()).add(item.spec.image)
                delivery.Delivery(self.stores, store, self.events).ensure(
                    needed, images, connections
                )
                states = inspect_all(connections, self.name)
                clusters = Clusters(renderer, connections, self.events)
                clusters.forget_wiped(states)
                again = clusters.lost(states)
                if again:  # Members were stopped.
                    states = inspect_all(connections, self.name)
                again = again or self._again(states, connections)
                actions = plan(rendered, states, again)
                hashes = {name: image.recipe for name, image in images.items()}
                timeline = Converge(self.name, connections, hashes, self.events).run(actions)
                path = BETWEEN.join(timed.id for timed in timeline.critical_path())
                self.events.note("up", path, type=CRITICAL)
                clouds.add(self.cloud(inventory, secrets), clouds.user_file())
                changed = [action.id for action in actions if action.verb != "check"]
                status = self._status(inventory, connections)
                records.share(rendered, status.states, connections)
                return Outcome(status, timeline, changed)

    def _again(
        self, states: Mapping[str, NodeState], connections: Mapping[str, Connection]
    ) -> dict[str, str]:
        """Jobs that were done and whose work is gone: a guest that does not answer any more."""
        found = self._guest(states, connections)
        if found is None or found[1].answers:
            return {}
        why = f"the guest at {found[1].address} does not answer"
        # Whichever of them runs the job now: a record may be all that is left of the one that did.
        return {f"{node}/{GUEST_JOB}": why for node in states}

    def _guest(
        self, states: Mapping[str, NodeState], connections: Mapping[str, Connection]
    ) -> tuple[str, Guest] | None:
        """The node of the job that made the first guest, and what became of that."""
        for name, state in states.items():
            done = state.containers.get(GUEST_JOB)
            if done and done.exit_code == 0:
                lines = connections[name].docker.api.logs(done.id, tail=1).decode()
            elif GUEST_JOB in state.records:
                lines = state.records[GUEST_JOB].said
            else:
                continue
            if lines.startswith("{"):
                told = json.loads(lines)
                answers = connections[name].reaches(told["address"], GUEST_PORT)
                return name, Guest(**told, answers=answers)
        return None

    def _leave_no_trace(self) -> None:
        """Input that cannot be used changes nothing: a state folder made for it goes again."""
        if not (self.state / "id_ed25519").exists():
            shutil.rmtree(self.state, ignore_errors=True)

    def _same_topology(self, existing: Inventory | None, wanted: LoadedTopology) -> None:
        if existing and existing.source != wanted.source:
            raise InputError(
                f"environment {self.name!r} exists with the topology {existing.source!r}, "
                f"not {wanted.source!r}",
                remedy=f"choose another --name, or: devenv --name {self.name} down",
            )

    def _heal(self, inventory: Inventory, connections: Mapping[str, Connection]) -> None:
        """End the faults that somebody left behind: nothing converges against them."""
        with closing(Site(self.name, self.provider, inventory, connections, self.events)) as site:
            heal_all(all_records(self.name, connections), site)

    def _refuse_guests(self, existing: Inventory, going: tuple[Node, ...]) -> None:
        """Refuse to lose guests with their nodes: every server, the first guest as well.

        A name does not tell the guest that the seed job made from a server of the user's own, and
        the job keeps no id of it.
        """
        with connected(going, self._sockets, 5, lenient=True) as connections:
            found = {name: hypervisor.guests(c) for name, c in connections.items()}
        for node in going:
            if "compute" in node.roles and node.name not in found:
                raise InputError(
                    f"the topology has no node {node.name} any more, and it does not answer: "
                    "guests may run there",
                    remedy="bring it back, or lose them with the node: devenv up --force",
                )
        for name, guests in found.items():
            if guests:
                raise InputError(
                    f"the topology has no node {name} any more, and guests run there: "
                    f"{', '.join(guests)}",
                    remedy="delete them, or lose them with the node: devenv up --force",
                )

    def _retire(
        self,
        wanted: LoadedTopology,
        services: list[Service],
        existing: Inventory,
        going: tuple[Node, ...],
        images: Mapping[str, delivery.Image],
    ) -> None:
        """Have the nodes in `going` leave their clusters, while they are still there.

        Killed in between, it is done again: the nodes go only after it.
        """
        staying = tuple(node for node in existing.nodes if node not in going)
        with connected(existing.nodes, self._sockets, 15, lenient=True) as connections:
            secrets = self._secrets(connections, existing, "")
            place = replace(existing, nodes=staying)
            renderer = self._renderer(wanted, services, place, secrets, images)
            states = inspect_all(connections, self.name)
            for node in going:
                if node.name in connections:
                    why = "the topology lost it"
                    with self.events.step(node.name, node=node.name, type="stop", why=why):
                        stop_all(connections[node.name], states[node.name])
            Clusters(renderer, connections, self.events).forget(going, states)

    def _renderer(
        self,
        wanted: LoadedTopology,
        services: list[Service],
        inventory: Inventory,
        secrets: Secrets,
        images: Mapping[str, delivery.Image],
    ) -> Renderer:
        _, public_key = key_pair(self.state)
        external = {
            "cidr": str(inventory.external),
            "gateway": str(inventory.gateway),
            "start": str(inventory.external[int(inventory.external.num_addresses * _POOL[0])]),
            "end": str(inventory.external[int(inventory.external.num_addresses * _POOL[1])]),
        }
        place = Place(inventory.nodes, str(inventory.vip), external, public_key)
        references = {name: (image.reference, image.recipe) for name, image in images.items()}
        return Renderer(wanted.topology, services, place, secrets, references)

    def _secrets(
        self, connections: Mapping[str, Connection], inventory: Inventory, topology: str
    ) -> Secrets:
        """The master secret from here, else from a node, else new; then kept in both places."""
        path = self.state / "secret"
        control = [
            connections[node.name]
            for node in inventory.with_role("control")
            if node.name in connections
        ]
        held = {c.node.name: c.read(_SECRET_FILE) for c in control}
        master = path.read_text().strip() if path.exists() else ""
        kept = next((value.decode().strip() for value in held.values() if value), "")
        # The nodes hold the truth: what was made there was made with their secret.
        master = kept or master or Secrets.new_master()
        path.touch(mode=0o600)
        path.write_text(master + "\n")
        for connection in control:
            if (held[connection.node.name] or b"").decode().strip() != master:
                connection.put([File(_SECRET_FILE, f"{master}\n".encode())])
            if topology and connection.read(_TOPOLOGY_FILE) != topology.encode():
                connection.put([File(_TOPOLOGY_FILE, topology.encode())])
        return Secrets(master, self._redact)

    # -- look --------------------------------------------------------------------------

    def inventory(self) -> Inventory:
        """The environment's nodes.

        :raises InputError: when there is no such environment.
        """
        found = self.provider.nodes()
        if found is None:
            raise InputError(
                f"there is no environment {self.name!r}", remedy="devenv list; devenv up"
            )
        return found

    @contextmanager
    def connections(self, nodes: tuple[Node, ...] | None = None) -> Iterator[dict[str, Connection]]:
        """Connections to `nodes`, or to all of the environment's."""
        with connected(self.inventory().nodes if nodes is None else nodes, self._sockets) as opened:
            yield opened

    def status(self) -> Status:
        """What runs where, as the nodes tell it; nodes that do not answer are left out."""
        inventory = self.inventory()
        with connected(inventory.nodes, self._sockets, 5, lenient=True) as connections:
            return self._status(inventory, connections)

    def _status(self, inventory: Inventory, connections: Mapping[str, Connection]) -> Status:
        states = inspect_all(connections, self.name)
        found = self._guest(states, connections)
        control = (connections.get(node.name) for node in inventory.with_role("control"))
        kept = next((text for one in control if one and (text := one.read(_TOPOLOGY_FILE))), b"")
        return Status(inventory, states, found[1] if found else None, release(kept))

    def secrets(self) -> Secrets:
        """Passwords and keys: from here, else from a control node."""
        path = self.state / "secret"
        if path.exists():
            return Secrets(path.read_text().strip(), self._redact)
        inventory = self.inventory()
        with self.connections(inventory.with_role("control")) as connections:
            return self._secrets(connections, inventory, "")

    def cloud(self, inventory: Inventory | None = None, secrets: Secrets | None = None) -> Cloud:
        """How to log in to the environment's cloud."""
        inventory = inventory or self.inventory()
        secrets = secrets or self.secrets()
        return Cloud(self.name, f"http://{inventory.vip}:5000/v3", secrets.password("admin"))

    # -- snapshots ---------------------------------------------------------------------

    def snapshot(self, name: str) -> None:
        """Save all nodes at one moment as `name`.

        :raises Unsupported: when the provider cannot.
        """
        with self.locked(), self.events.step(name, type="snapshot", why="all nodes at one moment"):
            self.inventory()
            self.provider.snapshot(name)

    def restore(self, name: str) -> None:
        """Put all nodes back to `name`, and wait until each answers.

        :raises Unsupported: when the provider cannot.
        :raises InputError: when nothing was saved under that name.
        """
        with self.locked():
            inventory = self.inventory()
            with self.events.step(name, type="restore", why=f"back to {name}"):
                self.provider.restore(name)
                with connected(inventory.nodes, self._sockets, _BACK):
                    pass

    # -- down --------------------------------------------------------------------------

    def down(self, *, force: bool = False, restore_hosts: bool = False) -> list[str]:
        """Remove everything of this environment; says what it removed.

        :param force: forget hosts that do not answer.
        :param restore_hosts: take back what was changed on hosts that were there before.
        """
        self.provider.force, self.provider.restore_hosts = force, restore_hosts
        with self.locked():
            removed = self.provider.destroy()
            return [*removed, *leftovers.remove_helpers(connect()), *self._forget()]

    def collect_garbage(self) -> list[str]:
        """Remove what a kill left of an environment that has no node; says what it removed."""
        with self.locked():
            removed = self.provider.collect_garbage()
            return [*removed, *self._forget()] if removed else []

    def _forget(self) -> list[str]:
        removed = []
        if clouds.remove(f"devenv-{self.name}", clouds.user_file()):
            removed.append(f"cloud devenv-{self.name} from {clouds.user_file()}")
        sockets = self._sockets
        if sockets.exists():
            shutil.rmtree(sockets)
        if self.state.exists():
            shutil.rmtree(self.state)
            removed.append(f"state in {self.state}")
        return removed

    # -- parts -------------------------------------------------------------------------

    @cached_property
    def stores(self) -> Stores:
        """The image stores on this machine's engine."""
        return Stores(connect(timeout=600), self.privileges, self.events)

    @cached_property
    def _privileges(self) -> Privileges:
        client = connect()
        return capabilities.probe(client, ensure_node_image(client, self.events))

    def privileges(self) -> Privileges:
        """What this machine's engine grants to a node; probed once."""
        return self._privileges

    @property
    def _sockets(self) -> Path:
        return paths.sockets(self.name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One change at a time; the kernel drops the lock when the process dies."""
        path = paths.home() / f"{self.name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DevenvError(
                    f"another devenv is changing environment {self.name!r}",
                    remedy="wait for it to end, or choose another --name",
                ) from error
            yield


def required_images(wanted: LoadedTopology) -> Cookbook:
    """The recipes of the whole catalogue, checked for what a topology needs.

    All, so that environments with different services share one store.
    """
    enabled(wanted)
    return cookbook(list(catalogue().values()), wanted.topology.release)
