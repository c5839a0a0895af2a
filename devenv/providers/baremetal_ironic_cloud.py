"""What an Ironic is asked by everything here: a connection, a look at a machine, its power."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from devenv.core.errors import DevenvError, HostError, InputError, NodeError
from devenv.core.wait import NotYet, wait_until
from devenv.providers.baremetal_power import Press, State

if TYPE_CHECKING:
    from openstack.baremetal.v1._proxy import Proxy
    from openstack.baremetal.v1.allocation import Allocation
    from openstack.baremetal.v1.node import Node as Machine
    from openstack.connection import Connection

#: The keys in the `extra` of an allocation that say whose it is.
ENVIRONMENT, NODE, NETWORK = "devenv_environment", "devenv_node", "devenv_network"
#: Seconds for a change of power.
POWER_LIMIT = 120.0


@contextmanager
def connected(cloud: str, node: str | None = None) -> Iterator[Connection]:
    """The cloud of that name in clouds.yaml.

    :raises InputError: there is none.
    :raises HostError: for all that its API refuses within the context, and that has no better
        error.
    """
    import openstack
    from keystoneauth1.exceptions import ClientException
    from openstack.exceptions import ConfigException, SDKException

    try:
        connection = openstack.connect(cloud=cloud)
    except (ConfigException, ClientException) as error:
        raise InputError(
            f"the cloud {cloud!r} of baremetal.ironic cannot be used: {error}",
            remedy=f"`openstack --os-cloud {cloud} baremetal node list` must work; see clouds.yaml",
        ) from error
    try:
        yield connection
    except (SDKException, ClientException) as error:
        raise HostError(
            f"the Ironic of the cloud {cloud!r}: {error}",
            node=node,
            remedy=f"try: openstack --os-cloud {cloud} baremetal node list",
        ) from error
    finally:
        connection.close()


def ours(bare: Proxy, environment: str) -> dict[str, Allocation]:
    """The environment's allocations, by the name of the node."""
    return {
        each.extra[NODE]: each
        for each in bare.allocations()
        if (each.extra or {}).get(ENVIRONMENT) == environment and NODE in each.extra
    }


def look(bare: Proxy, ident: str) -> Machine:
    """The machine now; an API that does not answer for a moment ends no wait.

    :raises NotYet: it does not answer.
    """
    from keystoneauth1.exceptions import RetriableConnectionFailure

    try:
        return bare.get_node(ident)
    except RetriableConnectionFailure as error:
        raise NotYet(str(error)) from error


def label(machine: Machine) -> str:
    """What people call it."""
    return str(machine.name or machine.id)


def failed(node: str, machine: Machine, what: str) -> NodeError:
    """An error about `machine` with Ironic's own reason."""
    return NodeError(
        what,
        node=node,
        detail=machine.last_error or "Ironic gives no reason",
        remedy=f"see `openstack baremetal node show {machine.id}`; `devenv up` tries again, "
        "`devenv down` gives it back",
    )


@contextmanager
def collected(problems: list[DevenvError]) -> Iterator[None]:
    """One machine's problem is no reason to leave the others."""
    try:
        yield
    except DevenvError as error:
        problems.append(error)


def raise_all(problems: list[DevenvError]) -> None:
    """Raise the problem, or one error that has them all."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise NodeError(
            f"{len(problems)} machines have problems",
            detail="\n".join(map(str, problems)),
            remedy="`devenv up` tries again, `devenv down` gives them back",
        )


class _MachinePower:
    """A machine's power, see :class:`~devenv.providers.baremetal_power.Controller`."""

    def __init__(self, node: str, bare: Proxy, ident: str) -> None:
        self._node, self._bare, self._ident = node, bare, ident

    def state(self) -> State:
        machine = self._bare.get_node(self._ident)
        # "rebooting" counts as off: what was on before the reset is not what comes after it.
        if machine.power_state == "power on" and machine.target_power_state in (None, "power off"):
            return "on"
        if machine.power_state in ("power on", "power off"):
            return "off"
        raise failed(
            self._node, machine, f"Ironic does not know the power state of {label(machine)}"
        )

    def press(self, action: Press) -> None:
        wanted = {"on": "power on", "off": "power off", "reset": "rebooting"}[action]
        self._bare.set_node_power_state(self._ident, wanted)

        def settled() -> Machine:
            if (machine := self._bare.get_node(self._ident)).target_power_state:
                raise NotYet(f"{machine.power_state}, on its way to {machine.target_power_state}")
            return machine

        what = f"Ironic to do {wanted!r}"
        machine = wait_until(settled, what=what, timeout=POWER_LIMIT, node=self._node, longest=2)
        if machine.last_error:
            raise failed(self._node, machine, f"Ironic could not do {wanted!r} on {label(machine)}")


@contextmanager
def power_of(name: str, environment: str, cloud: str) -> Iterator[_MachinePower]:
    """The power of the machine that node `name` has.

    :raises NodeError: it has none.
    """
    with connected(cloud, name) as connection:
        allocation = ours(connection.baremetal, environment).get(name)
        if allocation is None or not allocation.node_id:
            raise NodeError("it has no machine from Ironic", node=name, remedy="devenv up")
        yield _MachinePower(name, connection.baremetal, allocation.node_id)
