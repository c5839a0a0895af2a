"""Whose a host is: a file on the host tells who holds it and until when."""

from __future__ import annotations

import datetime
import getpass
import secrets
import shlex
import socket
from ipaddress import IPv4Address, IPv4Network

from pydantic import BaseModel, ConfigDict, ValidationError

from devenv.core.errors import NodeError
from devenv.providers.baremetal_ssh import Shell

#: How long a host stays taken after the last `up`.
LEASE = datetime.timedelta(days=7)
FOLDER = "/etc/devenv"
FILE = f"{FOLDER}/lock.json"
#: Exit code of a lock that is not as it was seen: somebody else was at it.
_CHANGED = 75

#: Compare and replace. flock and not a folder: the kernel drops it with the process, so that a
#: kill leaves nothing that would have to be told from somebody at work.
_REPLACE = f"""
set -eu; umask 022
mkdir -p {FOLDER}
exec 9>{FOLDER}/.lock
flock -w 30 9
if [ "$(cat {FILE} 2>/dev/null)" != "$seen" ]; then cat {FILE}; exit {_CHANGED}; fi
cat > {FILE}.new
if [ -s {FILE}.new ]; then mv {FILE}.new {FILE}; else rm -f {FILE}.new {FILE}; fi
"""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Place(_Model):
    """What all hosts of an environment know of it.

    The fields are those of :class:`~devenv.providers.base.Inventory`.
    """

    source: str
    api: IPv4Network
    external: IPv4Network
    vip: IPv4Address
    gateway: IPv4Address
    virtual: bool


class Member(_Model):
    """What a host is in its environment.

    :param order: its node's place in the topology, from 0.
    :param interface: its device on the external network, empty if it has none.
    :param outside: its address there, with the prefix.
    """

    name: str
    roles: tuple[str, ...]
    order: int
    address: IPv4Address
    interface: str
    outside: str


class Lock(_Model):
    """The file's content.

    :param owner: who took the host, ``user@machine``.
    :param id: another for each time that it was taken.
    """

    environment: str
    owner: str
    since: datetime.datetime
    until: datetime.datetime
    id: str
    member: Member
    place: Place

    def belongs_to(self, environment: str) -> bool:
        """Whether it is this user's environment of that name."""
        return (self.environment, self.owner) == (environment, owner())

    @property
    def expired(self) -> bool:
        """Whether somebody else may take the host."""
        return self.until < _now()

    def __str__(self) -> str:
        until = self.until.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"environment {self.environment!r} of {self.owner}, until {until}"


def owner() -> str:
    """Who takes hosts: ``user@machine``."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def parse(text: str) -> Lock | None:
    """The lock in a file's text; None if there is none.

    A file that nobody can read is nobody's: it was not written by `replace`, which is atomic.
    """
    try:
        return Lock.model_validate_json(text) if text.strip() else None
    except ValidationError:
        return None


def take(shell: Shell, seen: str, environment: str, member: Member, place: Place) -> Lock:
    """Take a host, or renew what is ours.

    :param seen: the file's text when it was decided that the host may be taken.
    :raises NodeError: when somebody else has taken it since.
    """
    before = parse(seen)
    ours = before if before is not None and before.belongs_to(environment) else None
    lock = Lock(
        environment=environment,
        owner=owner(),
        since=ours.since if ours else _now(),
        until=_now() + LEASE,
        id=ours.id if ours else secrets.token_hex(8),
        member=member,
        place=place,
    )
    _replace(shell, seen, lock.model_dump_json(), member.name)
    return lock


def release(shell: Shell, seen: str, name: str) -> None:
    """Give a host back.

    :param seen: the file's text.
    :raises NodeError: when the file is another one meanwhile.
    """
    _replace(shell, seen, "", name)


def _replace(shell: Shell, seen: str, text: str, name: str) -> None:
    done = shell.run(f"seen={shlex.quote(seen.rstrip())}\n{_REPLACE}", stdin=text, check=False)
    if done.code == 0:
        return
    holder = parse(done.out)
    if done.code == _CHANGED and holder:
        raise NodeError(f"it was just taken by {holder}", node=name, remedy=remedy(holder))
    raise NodeError(
        f"{FILE} could not be written on the host",
        node=name,
        detail=done.err or done.out,
        remedy="look whether its file system is full or read-only",
    )


def remedy(lock: Lock) -> str:
    """What to do about a host that somebody else holds."""
    return f"ask {lock.owner} for `devenv --name {lock.environment} down`, or choose another host"
