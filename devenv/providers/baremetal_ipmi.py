"""A machine's power by IPMI 2.0: the commands Get Chassis Status and Chassis Control."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from devenv.core.errors import NodeError
from devenv.providers.baremetal_power import Press, State, password
from devenv.topology.machines import Ipmi

if TYPE_CHECKING:
    from pyghmi.ipmi.command import Command
    from pyghmi.ipmi.private.session import Session

#: The library keeps all its sessions in one table and on one socket: one use at a time.
_ONE_AT_A_TIME = threading.RLock()


class _Chassis:
    def __init__(self, command: Command) -> None:
        self._command = command

    def state(self) -> State:
        with _ONE_AT_A_TIME:
            return "on" if self._command.get_power()["powerstate"] == "on" else "off"

    def press(self, action: Press) -> None:
        with _ONE_AT_A_TIME:
            self._command.set_power(action)


@contextmanager
def connect(node: str, bmc: Ipmi) -> Iterator[_Chassis]:
    """The chassis behind `bmc`, in a session that ends with the context.

    :raises NodeError: no answer, a password that is refused, a request that is refused.
    :raises InputError: there is no password.
    """
    from pyghmi.exceptions import PyghmiException
    from pyghmi.ipmi.command import Command

    secret = password(node, bmc)
    command = None
    try:
        with _ONE_AT_A_TIME:
            command = Command(bmc.address, bmc.username, secret, bmc.port)
        yield _Chassis(command)
    except PyghmiException as error:
        raise NodeError(
            f"the IPMI controller {bmc.address}, UDP port {bmc.port}: "
            # The library's words for a timeout are none.
            + (str(error) if str(error) not in ("", "None") else "no answer"),
            node=node,
            remedy="check that it answers from here, that IPMI over LAN is enabled for "
            f"{bmc.username} (administrator or operator), and the password",
        ) from error
    finally:
        if command is not None:
            with suppress(PyghmiException), _ONE_AT_A_TIME:
                _close(command.ipmi_session)


def _close(session: Session) -> None:
    session.logout()
    # pyghmi 1.6 would hand the closed session out again to the next who logs in.
    for key in [key for key, each in session.initting_sessions.items() if each is session]:
        del session.initting_sessions[key]
