"""Hosts that exist: looked at, locked, given an engine, and left as they were found.

Everything is done by plain SSH and shell scripts; nothing is asked of a host but that. What a
host is in an environment stands in a file on the host (`baremetal_lock`), what was changed there
in another (`baremetal_journal`). Here is only how to reach it (`baremetal_state`).
"""

from __future__ import annotations

import datetime
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from devenv.core.errors import InputError, NodeError, Unsupported
from devenv.core.events import Events
from devenv.core.wait import NotYet, wait_until
from devenv.host.capabilities import Privileges
from devenv.host.checks import Check, Probe
from devenv.host.engine import engine_check
from devenv.host.packages import packages_check
from devenv.images.store import Store
from devenv.nodes.keys import key_pair
from devenv.nodes.node import ExternalLink, Node
from devenv.providers import (
    baremetal_clean,
    baremetal_examine,
    baremetal_facts,
    baremetal_leave,
    baremetal_lock,
    baremetal_network,
    baremetal_prepare,
    baremetal_state,
)
from devenv.providers.baremetal_access import Access, on_all
from devenv.providers.baremetal_examine import Finding, Report, Wanted
from devenv.providers.baremetal_lock import Member, Place
from devenv.providers.baremetal_ssh import KeyRefused, Shell, Unreachable, where
from devenv.providers.baremetal_state import Known, Record
from devenv.providers.base import Inventory, PowerAction, Provider, refuse_change
from devenv.topology.load import LoadedTopology
from devenv.topology.machines import Host, Ironic

#: Seconds in which a reset takes effect.
RESET = 90.0


class BaremetalProvider(Provider):
    """Nodes that are hosts of the topology's section `baremetal`."""

    name: ClassVar[str] = "baremetal"

    def __init__(
        self, environment: str, state: Path, events: Events, privileges: Callable[[], Privileges]
    ) -> None:
        self._environment = environment
        self._state = state
        self._events = events
        self._access = Access(environment, state, events)

    # -- look --------------------------------------------------------------------------

    def check(self, wanted: LoadedTopology) -> Iterable[Probe]:
        """What this machine needs, and all hosts at the same time; each problem is a check."""
        here: list[Probe] = [
            lambda: packages_check({"ssh": "openssh-client", "ssh-keygen": "openssh-client"}),
            engine_check,  # Images are built here.
        ]
        if wanted.topology.baremetal.ironic or not here[0]().ok:
            return here
        reports = self._examine(self._wanted(wanted, wanted.topology.baremetal.hosts))
        found = self._findings(reports, wanted)
        bad = {one.host for one in found}
        checks = [
            Check(f"{one.host} {one.what}", False, one.found, one.remedy) for one in found
        ] + [
            Check(report.wanted.name, True, baremetal_examine.as_seen(report))
            for report in reports
            if report.wanted.name not in bad
        ]
        return [*here, *(lambda check=check: check for check in checks)]

    def nodes(self) -> Inventory | None:
        """From the lock files on the hosts; of one that does not answer, as it was last seen."""
        record = baremetal_state.load(self._state)
        if record is None:
            return None
        held = [known for known in record.hosts.values() if known.held]
        key_pair(self._state)  # Before the threads, of which each would make one of its own.

        def ask(known: Known) -> tuple[Place, Known] | None:
            shell = self._access.as_root(known.member.name, known.host)
            try:
                text = shell.run(f"cat {baremetal_lock.FILE} 2>/dev/null || true").out
            except KeyRefused:
                return None  # It was installed anew.
            except NodeError:
                return (record.place, known) if record.place else None
            lock = baremetal_lock.parse(text)
            if lock is None or not lock.belongs_to(self._environment):
                return None
            return lock.place, known.model_copy(update={"member": lock.member})

        found = [answer for answer in on_all(ask, held) if answer]
        return self._inventory(found[0][0], [known for _, known in found]) if found else None

    def _inventory(self, place: Place, hosts: Sequence[Known]) -> Inventory:
        return Inventory(
            environment=self._environment,
            source=place.source,
            nodes=tuple(
                self._node(known) for known in sorted(hosts, key=lambda one: one.member.order)
            ),
            api=place.api,
            external=place.external,
            vip=place.vip,
            gateway=place.gateway,
            virtual=place.virtual,
        )

    def _node(self, known: Known) -> Node:
        member = known.member
        return Node(
            name=member.name,
            roles=frozenset(member.roles),
            address=str(member.address),
            external=ExternalLink(member.interface, member.outside),
            ssh=self._access.target(known.host),
        )

    # -- examine -----------------------------------------------------------------------

    def _wanted(self, wanted: LoadedTopology, hosts: dict[str, Host]) -> list[Wanted]:
        """The host of each node.

        :raises InputError: when one has none, or two have the same.
        """
        specs = wanted.topology.node_specs()
        where = wanted.where("baremetal", "hosts")
        if missing := [spec.name for spec in specs if spec.name not in hosts]:
            raise InputError(
                f"{where}: no host for {', '.join(missing)}",
                remedy="baremetal: {hosts: {" + missing[0] + ": {address: ADDRESS}}}",
            )
        found = [Wanted(spec, hosts[spec.name]) for spec in specs]
        users: dict[object, str] = {}
        for one in found:
            outside = [one.host.external.address] if one.host.external else []
            for address in (one.host.address, *outside):
                if (other := users.setdefault(address, one.name)) != one.name:
                    raise InputError(f"{where}: {other} and {one.name} both have {address}")
        return found

    def _examine(self, wanted: Sequence[Wanted], cloud: str = "") -> list[Report]:
        # One after the other: both would write the same file.
        shells = [self._access.login(one.name, one.host) for one in wanted]

        def look(pair: tuple[Wanted, Shell]) -> Report:
            one, shell = pair
            try:
                return Report(one, baremetal_facts.gather(shell))
            except Unreachable as error:
                off = self._access.is_off(one.name, one.host, cloud)
                return Report(one, error=error, off=off)
            except NodeError as error:
                return Report(one, error=error)

        return on_all(look, list(zip(wanted, shells, strict=True)))

    def _findings(self, reports: Sequence[Report], wanted: LoadedTopology) -> list[Finding]:
        places = [
            lock.place
            for report in reports
            if report.ours(self._environment) and (lock := report.facts and report.facts.lock)
        ]
        return [
            *baremetal_examine.findings(reports, self._environment, force=self.force),
            *baremetal_network.findings(reports, wanted, places[0].api if places else None),
            # That of an environment which is there answers, of course.
            *(
                ()
                if places
                else baremetal_network.vip_findings(reports, wanted, self._access.login)
            ),
        ]

    # -- make --------------------------------------------------------------------------

    def create(self, wanted: LoadedTopology, store: Store) -> Inventory:
        """Look at all hosts, lock them, then make nodes of them, all at the same time."""
        there = self.nodes()
        refuse_change(there, wanted)
        _, public = key_pair(self._state)
        ironic = wanted.topology.baremetal.ironic
        cloud = ironic.cloud if ironic else ""
        hosts = self._allocate(ironic, wanted) if ironic else wanted.topology.baremetal.hosts
        reports = self._awake(self._examine(self._wanted(wanted, hosts), cloud), cloud)
        baremetal_examine.refuse(self._findings(reports, wanted))
        if there is None and (there := self._from_locks(reports)):
            refuse_change(there, wanted)
        place = baremetal_network.place(wanted, reports, there)
        members = baremetal_network.members(wanted, reports, place)
        self._remember(place, members, reports, cloud, held=False)
        on_all(lambda report: self._take(report, members[report.wanted.name], place), reports)
        self._remember(place, members, reports, cloud, held=True)
        self._let_go({report.wanted.name for report in reports})
        settings = baremetal_prepare.Settings(
            environment=self._environment,
            key=public,
            names={name: member.address for name, member in members.items()},
            peers=(
                *(str(member.address) for member in members.values()),
                *(_own_address(report.wanted.host) for report in reports[:1]),
            ),
        )
        on_all(lambda report: self._prepare(report, settings), reports)
        record = baremetal_state.load(self._state)
        assert record is not None
        return self._inventory(place, list(record.hosts.values()))

    def _allocate(self, ironic: Ironic, wanted: LoadedTopology) -> dict[str, Host]:
        """Machines from an Ironic, deployed and booted."""
        from devenv.providers import baremetal_ironic

        private, public = key_pair(self._state)
        if baremetal_state.load(self._state) is None:
            # Whatever a kill leaves allocated is given back by `down`.
            baremetal_state.save(self._state, Record(created=_now(), cloud=ironic.cloud))
        names = [spec.name for spec in wanted.topology.node_specs()]
        given = baremetal_ironic.allocate(ironic, names, self._environment, public, self._events)
        hosts = {name: host.model_copy(update={"key": private}) for name, host in given.items()}
        on_all(
            lambda name: self._access.await_boot(name, self._access.login(name, hosts[name])),
            list(hosts),
        )
        return hosts

    def _awake(self, reports: list[Report], cloud: str) -> list[Report]:
        """The reports with those hosts looked at that were off."""

        def wake(report: Report) -> Report:
            name, host = report.wanted.name, report.wanted.host
            if not report.off:
                return report
            self._access.wake(name, host, self._access.login(name, host), cloud)
            return self._examine([report.wanted], cloud)[0]

        return on_all(wake, reports)

    def _from_locks(self, reports: Sequence[Report]) -> Inventory | None:
        """The environment as the hosts know it, where this machine has forgotten it."""
        locks = [
            (report.wanted.host, lock)
            for report in reports
            if report.ours(self._environment) and (lock := report.facts and report.facts.lock)
        ]
        if not locks:
            return None
        hosts = [Known(host=host, member=lock.member, held=True) for host, lock in locks]
        return self._inventory(locks[0][1].place, hosts)

    def _remember(
        self,
        place: Place,
        members: dict[str, Member],
        reports: Sequence[Report],
        cloud: str,
        *,
        held: bool,
    ) -> None:
        """Write down how to reach the hosts: before they are taken, and that they were.

        Those that the topology lost are kept until they were let go.
        """
        before = baremetal_state.load(self._state)
        hosts = dict(before.hosts) if before else {}
        for report in reports:
            name = report.wanted.name
            was = hosts.get(name)
            hosts[name] = Known(
                host=report.wanted.host,
                member=members[name],
                held=held or (was is not None and was.held),
            )
        created = before.created if before else _now()
        record = Record(place=place, created=created, hosts=hosts, cloud=cloud)
        baremetal_state.save(self._state, record)

    def _take(self, report: Report, member: Member, place: Place) -> None:
        facts, name = report.facts, report.wanted.name
        assert facts is not None
        shell = self._access.login(name, report.wanted.host)
        other = facts.lock
        if other is not None and not other.belongs_to(self._environment):
            self._events.note(name, f"took it over from {other}", node=name, type="node")
            baremetal_clean.clear(shell, facts, other.environment)
            shell.run(baremetal_clean.leave_script(facts.changes, other.environment))
        baremetal_lock.take(shell, facts.held, self._environment, member, place)

    def _prepare(self, report: Report, settings: baremetal_prepare.Settings) -> None:
        facts, name, host = report.facts, report.wanted.name, report.wanted.host
        assert facts is not None
        shell = self._access.login(name, host)
        held = report.ours(self._environment)

        def work() -> None:
            changes = baremetal_prepare.begin(shell, facts, host, held=held)
            changes = baremetal_prepare.engine(shell, facts, changes, name)
            baremetal_prepare.settle(shell, facts, changes, settings)
            self._access.as_root(name, host).run("docker version >/dev/null")

        if why := baremetal_prepare.why(facts, held=held):
            with self._events.step(name, node=name, type="node", why=why):
                work()
        else:
            work()

    # -- power and the rest ------------------------------------------------------------

    def power(self, node: str, action: PowerAction) -> None:
        """By the host's own controller; what cannot be switched says so."""
        record = baremetal_state.load(self._state)
        known = record.hosts.get(node) if record else None
        if record is None or known is None or not known.held:
            raise NodeError(
                "no such node", node=node, remedy=f"devenv --name {self._environment} status"
            )
        if action in ("pause", "resume"):
            raise Unsupported("a host cannot be paused: its switch knows on and off", node=node)
        switch = self._access.switch(node, known.host, record.cloud)
        if switch is None:
            raise Unsupported(
                f"the topology names no `redfish` and no `ipmi` for this host, so nobody can "
                f"switch it {action if action != 'reset' else 'off and on'}",
                node=node,
            )
        before = self._access.boot(node, known.host) if action == "reset" else ""
        switch.act(action)

        def booted() -> None:
            if self._access.boot(node, known.host) == before:
                raise NotYet("it answers and has not booted")

        if before:
            # A controller cannot tell that a reset took place; the host can.
            wait_until(booted, what="it to be reset", timeout=RESET, node=node)

    def snapshot(self, name: str) -> None:
        """Not here: a host's memory and disks cannot be saved."""
        raise Unsupported("the bare metal provider has no snapshots: its nodes are real machines")

    def restore(self, name: str) -> None:
        """Not here: a host's memory and disks cannot be saved."""
        raise Unsupported("the bare metal provider has no snapshots: its nodes are real machines")

    def destroy(self) -> list[str]:
        """Take the environment off its hosts and give them back.

        With `restore_hosts` they are left as they were found. What cannot be reached keeps what
        it has: the others are done, and the error names it; with `force` it is forgotten.
        """
        record = baremetal_state.load(self._state)
        return self._give_back(record, list(record.hosts)) if record else []

    def collect_garbage(self) -> list[str]:
        """Hosts of an environment that was never made."""
        return [] if self.nodes() else self.destroy()

    def _let_go(self, wanted: set[str]) -> None:
        """Give back the hosts that the topology lost."""
        record = baremetal_state.load(self._state)
        gone = [name for name in record.hosts if name not in wanted] if record else []
        if record and gone:
            with self._events.step(
                "hosts", type="node", why=f"the topology lost {', '.join(gone)}"
            ):
                self._give_back(record, gone)

    def _give_back(self, record: Record, names: Sequence[str]) -> list[str]:
        return baremetal_leave.give_back(
            self._access, record, names, restore=self.restore_hosts, force=self.force
        )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _own_address(host: Host) -> str:
    """The address that this machine has for `host`: a datagram that is never sent tells."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((where(host), host.port))
        return str(probe.getsockname()[0])
