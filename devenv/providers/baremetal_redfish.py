"""A machine's power by Redfish (DMTF DSP0266): the action ComputerSystem.Reset."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from devenv.core.errors import InputError, NodeError
from devenv.providers.baremetal_power import Press, State, password
from devenv.topology.machines import Redfish

if TYPE_CHECKING:
    from sushy import Sushy
    from sushy.resources.system.system import System

#: Redfish's names, DSP2046 "Resource.ResetType". Shutting down first is none of them.
_RESET_TYPES: dict[Press, str] = {"on": "On", "off": "ForceOff", "reset": "ForceRestart"}
#: "Resource.PowerState": it has power until it is off, and is not on before it is.
_STATES: dict[str, State] = {
    "On": "on",
    "Paused": "on",
    "PoweringOff": "on",
    "PoweringOn": "off",
    "Off": "off",
}
#: Seconds; a controller that is there accepts a connection at once, but may answer slowly.
_CONNECT, _READ = 5, 60

_ADDRESS = "give the address of a Redfish service, https://NAME, as redfish.address"

# The library warns on its own about what is an error of ours, or no error.
logging.getLogger("sushy").addHandler(logging.NullHandler())


class _System:
    def __init__(self, node: str, system: System) -> None:
        self._node = node
        self._system = system

    def state(self) -> State:
        self._system.refresh(force=True)
        reported = getattr(self._system.power_state, "value", None)
        if reported not in _STATES:
            raise NodeError(
                f"{self._system.path} reports no power state ({reported})", node=self._node
            )
        return _STATES[reported]

    def press(self, action: Press) -> None:
        from sushy import ResetType

        wanted = ResetType(_RESET_TYPES[action])
        allowed = self._system.get_allowed_reset_system_values()
        if wanted not in allowed:
            names = ", ".join(sorted(each.value for each in allowed))
            raise NodeError(
                f"{self._system.path} does not allow {wanted.value}; it allows {names}",
                node=self._node,
                remedy="look for a setting or a newer firmware of its controller",
            )
        self._system.reset_system(wanted)


@contextmanager
def connect(node: str, bmc: Redfish) -> Iterator[_System]:
    """The system that `bmc` names, in a session that ends with the context.

    :raises NodeError: no answer, a certificate or a password that is refused, no such system,
        a request that is refused.
    :raises InputError: there is no password, or it is in the address, which errors show.
    """
    from requests.exceptions import RequestException
    from sushy import Sushy
    from sushy.auth import SessionOrBasicAuth
    from sushy.exceptions import SushyError

    if "@" in bmc.address:
        raise InputError("redfish.address has a name or a password", node=node, remedy=_ADDRESS)
    auth = SessionOrBasicAuth(bmc.username, password(node, bmc))
    verify = bmc.verify if isinstance(bmc.verify, bool) else str(bmc.verify)
    try:
        root = Sushy(
            bmc.address,
            auth=auth,
            verify=verify,
            connect_timeout=_CONNECT,
            read_timeout=_READ,
            server_side_retries=3,
            server_side_retries_delay=1,
        )
        yield _System(node, _find(node, bmc, root))
    except SushyError as error:
        raise _explained(node, bmc, error) from error
    except RequestException as error:
        raise NodeError(
            f"what {bmc.address} answers is not Redfish: {error}", node=node, remedy=_ADDRESS
        ) from error
    finally:
        with suppress(SushyError):
            auth.close()


def _find(node: str, bmc: Redfish, root: Sushy) -> System:
    from sushy.exceptions import ResourceNotFoundError

    if bmc.system:
        with suppress(ResourceNotFoundError):
            return root.get_system(bmc.system)
    paths = root.get_system_collection().members_identities
    if len(paths) == 1 and not bmc.system:
        return root.get_system(paths[0])
    what = f"no system {bmc.system}" if bmc.system else f"{len(paths)} systems, not one"
    raise NodeError(
        f"the Redfish service {bmc.address} has {what}",
        node=node,
        detail="\n".join(paths) or "it has none at all",
        remedy="give the machine's path as redfish.system" if paths else None,
    )


def _explained(node: str, bmc: Redfish, error: Exception) -> NodeError:
    from requests.exceptions import SSLError
    from sushy import exceptions

    where = f"the Redfish service {bmc.address}"
    if isinstance(error, exceptions.AccessError):
        return NodeError(
            f"{where} refuses {bmc.username}: HTTP {error.status_code}",
            node=node,
            remedy="check username and password; a controller may lock a user for some minutes "
            "after several wrong ones",
        )
    if isinstance(error, exceptions.ConnectionError):
        if isinstance(error.__context__, SSLError):
            return NodeError(
                f"the certificate of {where} is not trusted: {_reason(error.__context__)}",
                node=node,
                remedy="give the certificate that signed it as redfish.verify (a file); "
                "`verify: false` trusts whoever answers",
            )
        return NodeError(
            f"{where} does not answer: {_reason(error.__context__ or error)}",
            node=node,
            remedy=f"from here, try: curl --insecure {bmc.address.rstrip('/')}/redfish/v1/"
            if "://" in bmc.address
            else _ADDRESS,
        )
    if isinstance(error, exceptions.ResourceNotFoundError):
        return NodeError(f"{where} lacks what every one has: {error}", node=node, remedy=_ADDRESS)
    return NodeError(f"{where} refused: {error}", node=node)


def _reason(error: BaseException) -> str:
    """The innermost words: the rest are the layers of an HTTP library."""
    causes = (getattr(error, "reason", None), *error.args)
    inner = next((each for each in causes if isinstance(each, BaseException)), None)
    return _reason(inner) if inner else getattr(error, "verify_message", "") or str(error)
