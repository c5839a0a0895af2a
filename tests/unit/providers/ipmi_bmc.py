"""An IPMI 2.0 controller on loopback: pyghmi's own, in a process of its own.

    ipmi_bmc.py PORT PASSWORD STATE

It prints each change that it is asked for.
"""

from __future__ import annotations

import sys

from pyghmi.ipmi.bmc import Bmc
from pyghmi.ipmi.private.serversession import ServerSession

#: Table 13-17 and the completion codes of table 13-15 of the specification.
SHA1, NO_SUCH_ALGORITHM = 1, 0x04


def say(word: str) -> None:
    """To whoever started this."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


class Machine(Bmc):
    """A machine whose power is a word."""

    power = "off"

    def get_power_state(self) -> str:
        """What Get Chassis Status reports."""
        return self.power

    def power_on(self) -> None:
        """Chassis Control 1."""
        say("on")
        self.power = "on"

    def power_off(self) -> None:
        """Chassis Control 0."""
        say("off")
        self.power = "off"

    def power_reset(self) -> None:
        """Chassis Control 3."""
        say("reset")


def only_sha1(session: ServerSession, request: list[int]) -> bytearray:
    """Refuse what this library's controller cannot do, where it would say yes and fail."""
    if request[12] == SHA1:
        return accept(session, request)
    return bytearray([request[0], NO_SUCH_ALGORITHM])


accept = ServerSession.create_open_session_response
ServerSession.create_open_session_response = only_sha1


def main() -> None:
    """Serve until killed."""
    port, password, state = sys.argv[1:]
    machine = Machine({"admin": password}, int(port), address="127.0.0.1")
    machine.power = state
    say("ready")
    machine.listen()


if __name__ == "__main__":
    main()
