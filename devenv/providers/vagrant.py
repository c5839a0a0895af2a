"""Nodes as virtual machines that Vagrant makes, with libvirt or VirtualBox.

Vagrant makes machines and nothing else: what there is, the power, the snapshots and the end of
all are asked of what runs the machines. So a lost folder or a killed Vagrant loses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import ClassVar

from devenv.core.errors import DevenvError, HostError, InputError, NodeError
from devenv.core.events import Events
from devenv.host.capabilities import Privileges
from devenv.host.checks import Probe
from devenv.host.system import which
from devenv.images.store import Store
from devenv.nodes.container import write_known_hosts
from devenv.nodes.keys import key_pair
from devenv.nodes.node import ExternalLink, Node, SshTarget
from devenv.providers import places, subnets, vagrant_checks, vagrant_prepare
from devenv.providers.base import Inventory, PowerAction, Provider, refuse_change
from devenv.providers.vagrant_hypervisor import (
    API,
    EXTERNAL,
    KINDS,
    MANAGEMENT,
    Facts,
    Hypervisor,
    Machine,
    parallel,
)
from devenv.providers.vagrant_libvirt import Libvirt
from devenv.providers.vagrant_make import Maker
from devenv.providers.vagrant_plan import plan
from devenv.providers.vagrant_project import (
    Project,
)
from devenv.providers.vagrant_virtualbox import VirtualBox
from devenv.topology.load import LoadedTopology

#: How much slower a node is whose processor is emulated.
EMULATED_PACE = 20.0
#: Seconds until a node that runs answers; more where it is emulated.
_ANSWER = 60


class VagrantProvider(Provider):
    """Virtual machines on two private networks per environment, and a third for Vagrant."""

    name: ClassVar[str] = "vagrant"

    def __init__(
        self, environment: str, state: Path, events: Events, privileges: Callable[[], Privileges]
    ) -> None:
        self._environment = environment
        self._state = state
        self._events = events
        self._privileges = privileges
        self._project = Project(state / "vagrant")
        self._found: Hypervisor | None = None

    # -- what is there -----------------------------------------------------------------

    def check(self, wanted: LoadedTopology) -> Iterable[Probe]:
        """Vagrant, what runs the machines, and memory, disk and networks for `wanted`."""
        try:
            made_with = self._made_with()
        except HostError:  # One of the probes says why.
            made_with = None
        hypervisor = made_with or self._driver(wanted)
        machines = made_with.machines() if made_with else []
        running = sum(m.facts.memory for m in machines if m.facts and m.state != "off")
        return vagrant_checks.probes(wanted, hypervisor, running)

    def _driver(self, wanted: LoadedTopology) -> Hypervisor:
        chosen = VirtualBox if vagrant_checks.driver(wanted) == "virtualbox" else Libvirt
        return chosen(self._environment)

    def _made_with(self) -> Hypervisor | None:
        """What runs the environment's machines, if there are any."""
        if self._found is None:
            self._found = next((each for each, there in self._answering() if there), None)
        return self._found

    def _answering(self) -> Iterator[tuple[Hypervisor, list[Machine]]]:
        """What may run machines here, with the environment's; what does not answer has none.

        :raises HostError: when it is known to have some.
        """
        for command, kind in (("virsh", Libvirt), ("VBoxManage", VirtualBox)):
            if which(command) is not None:
                hypervisor: Hypervisor = kind(self._environment)
                try:
                    yield hypervisor, hypervisor.machines()
                except HostError:
                    if self._project.read().get("provider") == hypervisor.name:
                        raise

    def nodes(self) -> Inventory | None:
        """From what is written on the machines."""
        hypervisor = self._made_with()
        machines = hypervisor.machines() if hypervisor else []
        known = [machine for machine in machines if machine.facts]
        if hypervisor is None or not known:
            self._found = None
            return None
        self._reclaim(hypervisor, known)
        private, _ = key_pair(self._state)
        nodes = tuple(self._node(machine, private) for machine in known)
        first = _facts(known[0])
        control = [node for node in nodes if "control" in node.roles]
        api, external = first.api.network, first.outside.network
        own = control[0].address if control else str(api[places.VIP_OFFSET])
        return Inventory(
            environment=self._environment,
            source=first.source,
            nodes=nodes,
            api=api,
            external=external,
            vip=IPv4Address(first.vip or own),
            gateway=external[1],
            virtual=bool(first.vip),
            snapshots=tuple(self._snapshots(hypervisor, known)),
        )

    def _node(self, machine: Machine, private: Path) -> Node:
        facts = _facts(machine)
        return Node(
            name=facts.node,
            roles=frozenset(facts.roles),
            address=str(facts.api.ip),
            external=ExternalLink(facts.interface, facts.external),
            ssh=SshTarget(str(facts.api.ip), private, self._state / "known_hosts"),
            own_disk=True,
            pace=EMULATED_PACE if machine.emulated else 1.0,
        )

    def _reclaim(self, hypervisor: Hypervisor, known: list[Machine]) -> None:
        """Get back what a lost state folder had: the key, and the hosts' keys."""
        private = self._state / "id_ed25519"
        if not private.exists():
            kept = hypervisor.kept_key()
            if kept is None:
                raise HostError(
                    f"the SSH key of {self._environment!r} is lost, and {hypervisor.name} has none",
                    remedy=f"put it back as {private}; or devenv --name {self._environment} down",
                )
            _write_pair(private, kept)
        keys = {str(_facts(machine).api.ip): _facts(machine).host_key for machine in known}
        file = self._state / "known_hosts"
        text = "".join(f"{address} {key}\n" for address, key in sorted(keys.items()))
        if not file.exists() or file.read_text() != text:
            write_known_hosts(file, keys)

    def _snapshots(self, hypervisor: Hypervisor, known: list[Machine]) -> list[str]:
        """Those that all nodes have: one that lacks it came later."""
        each = parallel(hypervisor.snapshots, [machine.node for machine in known])
        return [name for name in each[0] if all(name in found for found in each)]

    # -- make --------------------------------------------------------------------------

    def create(self, wanted: LoadedTopology, store: Store) -> Inventory:
        """Networks, then all missing machines in one `vagrant up`; what is there is mended."""
        hypervisor = self._made_with() or self._driver(wanted)
        self._refuse(hypervisor, wanted)
        self._project.end_orphan()
        machines = {m.node: m for m in hypervisor.machines() if m.facts}
        if not machines:
            # Parts without a node have no data that could be kept.
            self._sweep(hypervisor)
        specs = wanted.topology.node_specs()
        self._remove_lost(hypervisor, {spec.name for spec in specs} & machines.keys())
        self._found = hypervisor
        hypervisor.prepare()
        networks = self._ensure_networks(hypervisor, wanted)
        hypervisor.keep_key(key_pair(self._state)[0].read_text())
        planned = plan(self._environment, wanted, specs, machines, networks)
        for name, facts in planned.items():
            if name in machines:
                self._mend(hypervisor, machines[name], facts)
        missing = [name for name in planned if name not in machines]
        if missing:
            maker = Maker(self._state, self._project, hypervisor, self._events, self._privileges)
            maker.make(wanted, store, planned, missing)
        inventory = self._inventory()
        self._tell(inventory, planned)
        return inventory

    def _refuse(self, hypervisor: Hypervisor, wanted: LoadedTopology) -> None:
        """All that can be wrong with `wanted` here, while nothing is changed."""
        refuse_change(self.nodes(), wanted)
        places.refuse_crowd(wanted)
        sizes = {spec.name: spec.disk for spec in wanted.topology.node_specs()}
        for machine in hypervisor.machines():
            disk = sizes.get(machine.node)
            if machine.facts and disk and disk != machine.facts.disk:
                raise InputError(
                    f"{wanted.where('nodes')}: the disk of {machine.node!r} cannot change",
                    remedy=f"devenv --name {self._environment} down; or another node set",
                )

    def _sweep(self, hypervisor: Hypervisor) -> list[str]:
        """Remove all that there is, nodes or not."""
        machines = [machine.node for machine in hypervisor.machines()]
        removed = [text for found in parallel(hypervisor.remove, machines) for text in found]
        removed += hypervisor.remove_rest()
        self._project.forget()
        return removed

    def _remove_lost(self, hypervisor: Hypervisor, stay: set[str]) -> None:
        """Remove the nodes that are not in `stay`, and what a kill left of others."""
        for machine in hypervisor.machines():
            if machine.node not in stay:
                why = "the topology lost it" if machine.facts else "it was left half made"
                with self._events.step(machine.node, node=machine.node, type="node", why=why):
                    hypervisor.remove(machine.node)

    def _ensure_networks(
        self, hypervisor: Hypervisor, wanted: LoadedTopology
    ) -> dict[str, IPv4Network]:
        present, networks = hypervisor.networks(), wanted.topology.networks
        given: dict[str, IPv4Network | str] = {
            MANAGEMENT: "auto",
            API: networks.api.cidr,
            EXTERNAL: networks.external.cidr,
        }
        used = vagrant_checks.taken(hypervisor)
        for kind in KINDS:
            if kind not in present:
                free = hypervisor.candidates(kind)
                subnet = subnets.choose(given[kind], free, used, f"networks.{kind}.cidr")
                hypervisor.make_network(kind, subnet)
                present[kind] = subnet
                used.append((subnet, f"the network {hypervisor.network(kind)}"))
        return present

    def _mend(self, hypervisor: Hypervisor, machine: Machine, facts: Facts) -> None:
        """Have a machine that is there be what the topology says, and run."""
        had, name, state = _facts(machine), machine.node, machine.state
        facts = replace(facts, interface=had.interface, host_key=had.host_key, disk=had.disk)
        if (had.memory, had.cpus) != (facts.memory, facts.cpus):
            with self._events.step(name, node=name, type="node", why="its size was another"):
                if state != "off":
                    hypervisor.plug(name, "kill")
                    state = "off"
                hypervisor.resize(name, facts.memory, facts.cpus)
        if facts != had:
            hypervisor.describe(name, facts)
        if state != "running":
            with self._events.step(name, node=name, type="node", why=f"it is {state}"):
                hypervisor.plug(name, "start" if state == "off" else "resume")

    def _inventory(self) -> Inventory:
        inventory = self.nodes()
        if inventory is None:
            raise HostError("the nodes vanished while they were made")
        return inventory

    def _tell(
        self, inventory: Inventory, names: Iterable[str], clock: Callable[[], float] | None = None
    ) -> None:
        """Wait for the nodes in `names`, and have them know all."""
        hosts = {node.name: node.address for node in inventory.nodes}

        def tell(node: Node) -> None:
            now = clock() if clock else None
            vagrant_prepare.again(node, hosts, timeout=_ANSWER * min(node.pace, 5), clock=now)

        parallel(tell, [node for node in inventory.nodes if node.name in names])

    # -- power -------------------------------------------------------------------------

    def power(self, node: str, action: PowerAction) -> None:
        """The plug, the button and the freezer of a machine; nothing shuts down."""
        hypervisor = self._made_with()
        machines = {m.node: m for m in (hypervisor.machines() if hypervisor else [])}
        if hypervisor is None or node not in machines:
            raise NodeError(
                "no such node", node=node, remedy=f"devenv --name {self._environment} status"
            )
        state = machines[node].state
        if action in ("pause", "resume") and state == "off":
            raise NodeError(
                f"it is off: there is nothing to {action}",
                node=node,
                remedy="turn it on; `devenv up` does",
            )
        if action == "on" and state == "paused":
            raise NodeError("it is on, and paused", node=node, remedy="resume it; `devenv up` does")
        if action == "off" and state != "off":
            hypervisor.plug(node, "kill")
        elif action in ("on", "reset") and state == "off":
            hypervisor.plug(node, "start")
        elif action == "reset":
            hypervisor.plug(node, "reset")
            if state == "paused":
                hypervisor.plug(node, "resume")
        elif action == "pause" and state == "running":
            hypervisor.plug(node, "pause")
        elif action == "resume" and state == "paused":
            hypervisor.plug(node, "resume")

    # -- snapshots ---------------------------------------------------------------------

    def snapshot(self, name: str) -> None:
        """All pause, are saved, and go on: what one has sent the others have, or none has."""
        hypervisor, machines = self._all_nodes()
        have = [m.node for m in machines if name in hypervisor.snapshots(m.node)]
        if have:
            raise InputError(
                f"there is a snapshot {name!r} of {', '.join(have)}", remedy="choose another name"
            )
        running = [machine.node for machine in machines if machine.state == "running"]
        with self._events.step(name, type="snapshot", why=f"{len(machines)} nodes"):
            try:
                parallel(lambda node: hypervisor.plug(node, "pause"), running)
                parallel(lambda node: hypervisor.save(node, name), [m.node for m in machines])
            finally:
                paused = {m.node for m in hypervisor.machines() if m.state == "paused"}
                back = [node for node in running if node in paused]
                parallel(lambda node: hypervisor.plug(node, "resume"), back)

    def restore(self, name: str) -> None:
        """All are put back, then go on; memory, disks and, by SSH, today's time and names."""
        hypervisor, machines = self._all_nodes()
        saved = {machine.node: hypervisor.snapshots(machine.node) for machine in machines}
        lack = [node for node, found in saved.items() if name not in found]
        if lack:
            known = self._snapshots(hypervisor, machines)
            raise InputError(
                f"there is no snapshot {name!r} of {', '.join(lack)}",
                remedy=f"there are: {', '.join(known)}" if known else "there is none of all nodes",
            )
        with self._events.step(name, type="restore", why=f"{len(machines)} nodes"):
            nodes = [machine.node for machine in machines]
            running = [machine.node for machine in machines if machine.state == "running"]
            parallel(lambda node: hypervisor.plug(node, "pause"), running)
            parallel(lambda node: hypervisor.revert(node, name), nodes)
            # A snapshot has what was written on the machine in its day.
            for machine in machines:
                hypervisor.describe(machine.node, _facts(machine))
            on = [node for node, found in saved.items() if found[name]]
            parallel(lambda node: hypervisor.plug(node, "resume"), on)
            self._tell(self._inventory(), on, time.time)

    def _all_nodes(self) -> tuple[Hypervisor, list[Machine]]:
        hypervisor = self._made_with()
        machines = [m for m in (hypervisor.machines() if hypervisor else []) if m.facts]
        if hypervisor is None or not machines:
            raise InputError(
                f"there is no environment {self._environment!r}", remedy="devenv list; devenv up"
            )
        return hypervisor, machines

    # -- the end -----------------------------------------------------------------------

    def destroy(self) -> list[str]:
        """Machines, volumes, networks with their leases, the kept key, Vagrant's folder."""
        self._project.end_orphan()
        removed = []
        for hypervisor, _ in self._answering():
            removed += self._sweep(hypervisor)
        (self._state / "known_hosts").unlink(missing_ok=True)
        self._found = None
        return removed

    def collect_garbage(self) -> list[str]:
        """Parts of an environment that has no node: what a kill in `vagrant up` left."""
        hypervisor = self._made_with()
        if hypervisor and any(machine.facts for machine in hypervisor.machines()):
            return []
        return self.destroy()


def _facts(machine: Machine) -> Facts:
    if machine.facts is None:
        raise DevenvError("the machine is no node yet", node=machine.node)
    return machine.facts


def _write_pair(private: Path, text: str) -> None:
    """A private key and the public one that goes with it."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_ssh_private_key(text.encode(), None)
    line = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    private.touch(mode=0o600)
    private.write_text(text)
    private.with_suffix(".pub").write_text(f"{line.decode()} devenv\n")
