"""Making machines: one `vagrant up` of all that is missing, then one script on each by SSH."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from devenv.core.errors import HostError, NodeError
from devenv.core.events import Events
from devenv.host.capabilities import Privileges
from devenv.images.store import Store
from devenv.nodes.keys import key_pair
from devenv.providers import vagrant_box, vagrant_checks, vagrant_prepare
from devenv.providers.vagrant_hypervisor import (
    API,
    EXTERNAL,
    MANAGEMENT,
    Facts,
    Hypervisor,
    parallel,
)
from devenv.providers.vagrant_project import (
    MachineSpec,
    Network,
    Project,
    ProjectSpec,
    SshConfig,
    mac,
)
from devenv.topology.load import LoadedTopology

#: Seconds for a machine to boot, and to be prepared: Docker may be a download.
_BOOT, _PREPARE = 120, 900
#: And once, to copy a box into the storage of what runs the machines.
_COPY = 300
#: How much slower an emulated machine boots. It waits more than it computes.
_EMULATED = 5.0


@dataclass(frozen=True)
class Maker:
    """What making needs besides what is to be made.

    :param state: the environment's state folder, with its key.
    """

    state: Path
    project: Project
    hypervisor: Hypervisor
    events: Events
    privileges: Callable[[], Privileges]

    def make(
        self,
        wanted: LoadedTopology,
        store: Store,
        plan: Mapping[str, Facts],
        missing: list[str],
    ) -> None:
        """Make `missing`, all at the same time.

        :param plan: the facts of all nodes by name.
        :raises HostError: with Vagrant's words and those of the machines' consoles.
        :raises NodeError: when a machine that came up cannot be made a node.
        """
        emulated = self.hypervisor.name == "libvirt" and not vagrant_checks.kvm_boots()
        pace = _EMULATED if emulated else 1.0
        box = vagrant_box.ensure(wanted, store, self.hypervisor.name, self.privileges, self.events)
        networks = self.hypervisor.networks()
        specs = tuple(
            self._machine(facts, prepared=name not in missing) for name, facts in plan.items()
        )
        spec = ProjectSpec(
            provider=self.hypervisor.name,
            box=box.name,
            box_version=box.version,
            emulated=emulated,
            prefix=self.hypervisor.prefix,
            management={
                "name": self.hypervisor.network(MANAGEMENT),
                "cidr": str(networks.get(MANAGEMENT, "")),
            },
            boot_timeout=round(_BOOT * pace),
            key=str(self.state / "id_ed25519"),
            nodes=specs,
        )
        # What a kill left of a machine would be in the way of a new one of that name.
        parallel(self.hypervisor.remove, missing)
        self.project.write(spec)
        with ExitStack() as steps:
            for name in missing:
                step = self.events.step(name, node=name, type="node", why="it is not there")
                steps.enter_context(step)
            with self._explained(missing):
                timeout = _COPY + (_BOOT + 30 * len(missing)) * pace
                self.project.up(missing, self.hypervisor.name, timeout, self._say)
                config = self.project.ssh_config(missing)
            prepare = partial(self._prepare, config, plan, pace)
            parallel(prepare, missing)
        done = tuple(replace(machine, prepared=True) for machine in specs)
        self.project.write(replace(spec, nodes=done))

    def _say(self, node: str, text: str) -> None:
        self.events.note(node, text.splitlines()[0], node=node, type="node")

    @contextmanager
    def _explained(self, missing: list[str]) -> Iterator[None]:
        """Add to an error what the consoles of the machines said last."""
        try:
            yield
        except HostError as error:
            words = [error.detail or ""]
            for name in missing:
                last = self.hypervisor.console(name)
                if last:
                    words.append(f"the console of {name}:\n{last}")
            raise HostError(
                f"{error.message}: the machines {', '.join(missing)} did not all come up",
                detail="\n".join(word for word in words if word),
                remedy="devenv up makes them anew; devenv doctor --provider vagrant",
            ) from error

    def _machine(self, facts: Facts, *, prepared: bool) -> MachineSpec:
        networks = tuple(
            Network(
                self.hypervisor.network(kind),
                str(place.ip),
                str(place.netmask),
                mac(self.hypervisor, facts.node, kind),
            )
            for kind, place in ((API, facts.api), (EXTERNAL, facts.outside))
        )
        return MachineSpec(
            name=facts.node,
            cpus=facts.cpus,
            memory=facts.memory // 2**20,
            disk=math.ceil(facts.disk / 2**30) or None,
            networks=networks,
            console=self.hypervisor.console_path(facts.node),
            prepared=prepared,
        )

    def _prepare(
        self,
        config: Mapping[str, SshConfig],
        plan: Mapping[str, Facts],
        pace: float,
        name: str,
    ) -> None:
        """From a booted machine to a node; what is written on it in the end makes it one."""
        if name not in config:
            raise NodeError(
                "vagrant does not say how to reach it",
                node=name,
                detail=self.hypervisor.console(name),
            )
        facts = plan[name]
        _, public = key_pair(self.state)
        prepared = vagrant_prepare.first(
            name,
            config[name],
            key=public,
            cards={
                mac(self.hypervisor, name, API): facts.address,
                mac(self.hypervisor, name, EXTERNAL): facts.external,
            },
            hosts=facts.hosts,
            grow=bool(facts.disk),
            timeout=_PREPARE * pace,
        )
        self.hypervisor.describe(
            name, replace(facts, interface=prepared.interface, host_key=prepared.host_key)
        )
