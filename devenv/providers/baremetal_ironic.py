"""Machines without a system, from an Ironic: taken, deployed, switched and given back.

What belongs to an environment is what its allocations say: their `extra` has the environment and
the node, and Ironic itself sees to it that a machine has one allocation at most.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from devenv.core.errors import DevenvError, InputError, NodeError
from devenv.core.events import Events
from devenv.core.wait import NotYet, wait_until
from devenv.providers import baremetal_vif as vif
from devenv.providers.baremetal_ironic_cloud import (
    ENVIRONMENT,
    NETWORK,
    NODE,
    collected,
    connected,
    failed,
    label,
    look,
    ours,
    power_of,
    raise_all,
)
from devenv.providers.baremetal_power import Power, Switch
from devenv.topology.machines import Host, Ironic

if TYPE_CHECKING:
    from openstack.baremetal.v1._proxy import Proxy
    from openstack.baremetal.v1.allocation import Allocation
    from openstack.baremetal.v1.node import Node as Machine
    from openstack.connection import Connection

#: Seconds. A server needs minutes for its self-test alone, and boots twice in a deploy.
ALLOCATE_LIMIT, DEPLOY_LIMIT, RELEASE_LIMIT = 120.0, 3600.0, 1800.0
#: Seconds between two looks, at most.
_LONGEST = 5.0

#: Provision states, https://docs.openstack.org/ironic/latest/user/states.html
_DEPLOYING = ("deploying", "wait call-back", "deploy hold")
_MAY_DEPLOY = ("available", "deploy failed")
_MAY_UNDEPLOY = ("active", "deploy failed", "wait call-back", "error")


def allocate(
    ironic: Ironic,
    names: Sequence[str],
    environment: str,
    public_key: str,
    events: Events | None = None,
) -> dict[str, Host]:
    """Take a machine for each of `names` and deploy the image on it; the hosts by those names.

    What was done already is kept, a deploy that is under way is waited for, one that failed is
    tried again. No machine is deployed unless there is one for every name. The hosts have no
    `key`: whoever has the private one of `public_key` adds it.

    :param events: told each state of each machine.
    :raises InputError: no such cloud; a machine whose address nobody knows.
    :raises NodeError: no machine is free, or one refused or failed to be deployed, with Ironic's
        own words; the others were deployed.
    :raises HostError: the Ironic does not answer, or refuses.
    """
    with connected(ironic.cloud) as connection:
        machines = _taken(connection.baremetal, ironic, names, environment)
        _deploy(connection, ironic, machines, environment, public_key, events or Events())
        return _hosts(connection, ironic, machines, environment)


def hosts(ironic: Ironic, environment: str) -> dict[str, Host]:
    """The hosts that `environment` has, by the nodes' names: machines that were deployed."""
    with connected(ironic.cloud) as connection:
        found = {
            name: connection.baremetal.get_node(allocation.node_id)
            for name, allocation in ours(connection.baremetal, environment).items()
            if allocation.node_id
        }
        there = {name: each for name, each in found.items() if each.provision_state == "active"}
        return _hosts(connection, ironic, there, environment)


def release(
    environment: str,
    cloud: str,
    names: Iterable[str] | None = None,
    events: Events | None = None,
) -> list[str]:
    """Undeploy and give back the machines of `environment`; says which.

    Returns when they are nobody's: Ironic may clean them for a long time after that.

    :param names: only those of these nodes.
    :raises NodeError: a machine that Ironic could not undeploy; the others were given back.
    """
    with connected(cloud) as connection:
        bare = connection.baremetal
        there = ours(bare, environment)
        chosen = {
            name: there[name] for name in (there if names is None else names) if name in there
        }
        problems: list[DevenvError] = []
        released = []
        for name, allocation in chosen.items():
            with collected(problems):
                if allocation.extra.get(NETWORK):
                    # First, since a kill after the undeploy would leave nothing that names it.
                    vif.remove(connection, environment, name)
                released.append(_undeploy(bare, name, allocation))
        for name, allocation in chosen.items():
            with collected(problems):
                _wait_released(bare, name, allocation, events or Events())
        raise_all(problems)
        return released


def power(name: str, environment: str, cloud: str) -> Power:
    """The switch of the machine behind node `name`, by Ironic."""
    return Switch(name, partial(power_of, name, environment, cloud))


def _taken(
    bare: Proxy, ironic: Ironic, names: Sequence[str], environment: str
) -> dict[str, Machine]:
    """A machine for each of `names`; on failure those that were taken here are given back."""
    had = ours(bare, environment)
    machines = {}
    made: list[Allocation] = []
    try:
        # One after the other: an Ironic on SQLite fails allocations that are made at once.
        for name in names:
            allocation = had.get(name)
            if allocation and allocation.state == "error":
                bare.delete_allocation(allocation)
                allocation = None
            if allocation is None:
                allocation = _allocation(bare, ironic, name, environment)
                made.append(allocation)
            machines[name] = bare.get_node(_wait_allocated(bare, ironic, name, allocation))
            if ironic.network is None:
                _address(ironic, name, machines[name])
    except Exception:
        for each in made:
            bare.delete_allocation(each)
        raise
    return machines


def _allocation(bare: Proxy, ironic: Ironic, name: str, environment: str) -> Allocation:
    wanted = f"devenv-{environment}-{name}"
    if any(each.name == wanted for each in bare.allocations()):
        raise NodeError(
            f"Ironic has an allocation {wanted} that is not this environment's",
            node=name,
            remedy="choose another name for the environment",
        )
    return bare.create_allocation(
        name=wanted,
        resource_class=ironic.resource_class,
        extra={ENVIRONMENT: environment, NODE: name, NETWORK: ironic.network},
    )


def _wait_allocated(bare: Proxy, ironic: Ironic, name: str, allocation: Allocation) -> str:
    def decided() -> Allocation:
        now = bare.get_allocation(allocation.id)
        if now.state == "allocating":
            raise NotYet(now.state)
        return now

    what = "Ironic to find a machine"
    now = wait_until(decided, what=what, timeout=ALLOCATE_LIMIT, node=name, longest=_LONGEST)
    if now.state == "active":
        return str(now.node_id)
    free = list(
        bare.nodes(
            resource_class=ironic.resource_class,
            provision_state="available",
            is_maintenance=False,
            associated=False,
        )
    )
    raise NodeError(
        f"Ironic has no machine of the class {ironic.resource_class!r} for it; free: {len(free)}",
        node=name,
        detail=now.last_error,
        remedy=f"openstack --os-cloud {ironic.cloud} baremetal node list "
        f"--resource-class {ironic.resource_class}",
    )


def _deploy(
    connection: Connection,
    ironic: Ironic,
    machines: dict[str, Machine],
    environment: str,
    public_key: str,
    events: Events,
) -> None:
    """Start what is to be deployed, then wait for all together."""
    problems: list[DevenvError] = []
    started = []
    for name, machine in machines.items():
        with collected(problems):
            if machine.provision_state in _MAY_DEPLOY:
                if ironic.network:
                    vif.attach(connection, machine, ironic.network, environment, name)
                _start(connection.baremetal, ironic, name, machine, public_key)
            elif machine.provision_state not in (*_DEPLOYING, "active"):
                raise NodeError(
                    f"{label(machine)} cannot be deployed: it is {machine.provision_state}",
                    node=name,
                    remedy=f"openstack baremetal node show {machine.id}",
                )
            started.append(name)
    waiting = {name: str(machines[name].id) for name in started}
    seen: dict[str, str] = {}

    def settled() -> None:
        for name, ident in list(waiting.items()):
            machine = look(connection.baremetal, ident)
            if seen.get(name) != machine.provision_state:
                seen[name] = str(machine.provision_state)
                events.note("machines", f"{label(machine)}: {seen[name]}", node=name, type="node")
            if machine.provision_state in _DEPLOYING:
                continue
            del waiting[name]
            if machine.provision_state != "active":
                problems.append(
                    failed(name, machine, f"{label(machine)}: {machine.provision_state}")
                )
        if waiting:
            raise NotYet(", ".join(f"{name} {seen[name]}" for name in waiting))

    wait_until(settled, what="Ironic to deploy", timeout=DEPLOY_LIMIT, longest=_LONGEST)
    raise_all(problems)


def _start(bare: Proxy, ironic: Ironic, name: str, machine: Machine, public_key: str) -> None:
    from openstack.exceptions import HttpException

    info = {"image_source": ironic.image}
    if ironic.checksum and "/" not in ironic.checksum:
        info |= {"image_os_hash_algo": "sha256", "image_os_hash_value": ironic.checksum}
    elif ironic.checksum:
        info["image_checksum"] = ironic.checksum
    try:
        bare.update_node(machine, instance_info=info)
        bare.set_node_provision_state(
            machine, "active", config_drive=config_drive(name, ironic.user, public_key)
        )
    except HttpException as error:
        raise NodeError(
            f"Ironic refuses to deploy {ironic.image} on {label(machine)}",
            node=name,
            detail=str(error.details or error),
            remedy=f"openstack --os-cloud {ironic.cloud} baremetal node validate {machine.id}",
        ) from error


def config_drive(hostname: str, user: str, public_key: str) -> dict[str, Any]:
    """What cloud-init reads on the machine: its name, and who logs in with which key.

    https://cloudinit.readthedocs.io/en/latest/reference/datasources/configdrive.html
    """
    person: dict[str, Any] = {"name": user, "ssh_authorized_keys": [public_key]}
    if user != "root":
        person |= {"sudo": "ALL=(ALL) NOPASSWD:ALL", "shell": "/bin/bash", "lock_passwd": True}
    settings = {"disable_root": user != "root", "users": [person]}
    return {
        "meta_data": {"hostname": hostname, "name": hostname, "public_keys": {"0": public_key}},
        # JSON is YAML, too.
        "user_data": "#cloud-config\n" + json.dumps(settings) + "\n",
    }


def _undeploy(bare: Proxy, name: str, allocation: Allocation) -> str:
    """Ask for it; says what is given back."""
    from openstack.exceptions import HttpException

    if not allocation.node_id:
        bare.delete_allocation(allocation)
        return f"allocation {allocation.name}"

    def may() -> Machine:
        machine = look(bare, allocation.node_id)
        if machine.provision_state == "deploying":
            raise NotYet(machine.provision_state)
        return machine

    what = "its deploy to come to an end, for Ironic breaks none off"
    machine = wait_until(may, what=what, timeout=RELEASE_LIMIT, node=name, longest=_LONGEST)
    try:
        if machine.provision_state in _MAY_UNDEPLOY:
            bare.set_node_provision_state(machine, "deleted")
        elif machine.provision_state != "deleting":
            bare.delete_allocation(allocation)
    except HttpException as error:
        raise NodeError(
            f"Ironic refuses to give back {label(machine)} ({machine.provision_state})",
            node=name,
            detail=str(error.details or error),
            remedy=f"openstack baremetal node show {machine.id}",
        ) from error
    return f"machine {label(machine)} of {name}"


def _wait_released(bare: Proxy, name: str, allocation: Allocation, events: Events) -> None:
    from openstack.exceptions import NotFoundException

    def gone() -> None:
        try:
            bare.get_allocation(allocation.id)
            mine = True
        except NotFoundException:
            mine = False
        if not allocation.node_id:
            return
        machine = look(bare, allocation.node_id)
        # Its allocation goes before the undeploy is over.
        if not mine and machine.provision_state != "deleting":
            return
        if machine.provision_state == "error":
            raise failed(name, machine, f"{label(machine)} could not be undeployed")
        raise NotYet(str(machine.provision_state))

    wait_until(
        gone, what="Ironic to undeploy it", timeout=RELEASE_LIMIT, node=name, longest=_LONGEST
    )
    events.note("machines", "given back", node=name, type="node")


def _hosts(
    connection: Connection, ironic: Ironic, machines: dict[str, Machine], environment: str
) -> dict[str, Host]:
    return {
        name: Host(
            address=vif.address(connection, environment, name)
            if ironic.network
            else _address(ironic, name, machine),
            user=ironic.user,
        )
        for name, machine in machines.items()
    }


def _address(ironic: Ironic, name: str, machine: Machine) -> IPv4Address:
    if machine.name in ironic.addresses:
        return ironic.addresses[machine.name]
    raise InputError(
        f"Ironic gave it the machine {label(machine)}, and the topology has no address for that",
        node=name,
        remedy="add it to baremetal.ironic.addresses, or name a network",
    )
