"""Power switches of machines: what a switch does, whatever controller is behind it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from importlib.util import find_spec
from typing import Literal, Protocol

from devenv.core.errors import HostError, InputError, Unsupported
from devenv.core.wait import NotYet, wait_until
from devenv.providers.base import PowerAction
from devenv.topology.machines import Bmc, Host

State = Literal["on", "off"]
Press = Literal["on", "off", "reset"]
#: The variable that has the password of every controller without a file of its own.
PASSWORD_VARIABLE = "DEVENV_BMC_PASSWORD"  # noqa: S105
#: Seconds for a machine to be on or off after its controller was asked; servers take up to
#: half a minute before they apply power.
LIMIT = 90.0


class Power(Protocol):
    """The power switch of one machine. Safe to use from several threads."""

    def act(self, action: PowerAction) -> None:
        """Change the power as :meth:`~devenv.providers.base.Provider.power` says.

        Returns when the controller reports the state asked for. It cannot tell when a reset
        took place: only another boot id on the host itself proves one.

        :raises Unsupported: ``pause`` and ``resume``: hardware has no such switch.
        :raises NodeError: the controller refused, or does not answer.
        :raises WaitTimeout: it accepted, and nothing happened within :data:`LIMIT`.
        """

    def state(self) -> State:
        """What the controller reports.

        :raises NodeError: it does not answer, or does not know.
        """


class Controller(Protocol):
    """An open connection to what holds a machine's power. Raises NodeError."""

    def state(self) -> State:
        """The state that the machine is in; ``off`` as well until it is fully on."""

    def press(self, action: Press) -> None:
        """Ask for a change; it may take effect later."""


class Switch:
    """A power switch behind a controller that is connected to for each use.

    :param connect: opens a connection; controllers have few sessions, so none is kept open.
    """

    def __init__(
        self, node: str, connect: Callable[[], AbstractContextManager[Controller]]
    ) -> None:
        self._node = node
        self._connect = connect

    def state(self) -> State:
        """See :meth:`Power.state`."""
        with self._connect() as controller:
            return controller.state()

    def act(self, action: PowerAction) -> None:
        """See :meth:`Power.act`."""
        if action == "pause" or action == "resume":
            raise Unsupported(
                f"the power switch of a machine cannot {action} it: it is on or off",
                node=self._node,
            )
        target: State = "off" if action == "off" else "on"
        with self._connect() as controller:
            before = controller.state()
            if action != "reset" and before == target:
                return
            if action == "reset" and before == "off":
                # Controllers refuse the reset of what is off, or ignore it.
                action = "on"
            controller.press(action)

            def reached() -> None:
                if (now := controller.state()) != target:
                    raise NotYet(now)

            wait_until(
                reached, what=f"its power to be {target}", timeout=LIMIT, node=self._node, longest=3
            )


def power_for(name: str, host: Host) -> Power | None:
    """The switch of the host behind node `name`; None if the topology gives it none.

    :raises HostError: the library for it is not installed.
    """
    if host.redfish:
        _need("sushy", name)
        from devenv.providers.baremetal_redfish import connect as by_redfish

        return Switch(name, partial(by_redfish, name, host.redfish))
    if host.ipmi:
        _need("pyghmi", name)
        from devenv.providers.baremetal_ipmi import connect as by_ipmi

        return Switch(name, partial(by_ipmi, name, host.ipmi))
    return None


def _need(library: str, node: str) -> None:
    if find_spec(library) is None:
        raise HostError(
            f"to switch its power takes the Python library {library}, which is not installed",
            node=node,
            remedy="pip install 'openstack-devenv[baremetal]'",
        )


def password(node: str, bmc: Bmc) -> str:
    """The password for `bmc`: its file's first line, or that of the environment variable.

    :raises InputError: neither has one.
    """
    file = bmc.password_file
    try:
        text = file.read_text() if file else os.environ.get(PASSWORD_VARIABLE, "")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the password of its power controller cannot be read from {file}",
            node=node,
            remedy="make it a text file that you can read",
        ) from error
    if found := next(iter(text.splitlines()), ""):
        return found
    raise InputError(
        f"no password for {bmc.username} at its power controller {bmc.address}: "
        + (f"the first line of {file} is empty" if file else f"{PASSWORD_VARIABLE} is not set"),
        node=node,
        remedy=f"write it into {file}"
        if file
        else f"set {PASSWORD_VARIABLE}, or name a password_file in the topology",
    )
