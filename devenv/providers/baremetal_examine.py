"""What keeps hosts from being nodes: all of it for all hosts, before anything is changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network

from devenv.core.errors import HostError, NodeError
from devenv.host import resources
from devenv.host.engine import MINIMUM
from devenv.providers import baremetal_lock
from devenv.providers.baremetal_facts import Facts, Link
from devenv.topology.machines import Host
from devenv.topology.models import NodeSpec

#: Seconds between two clocks, at most. Tokens and Galera bear more, logs of one event do not.
CLOCK = 5.0
#: Of the memory that a topology asks for, what a machine of that size shows: its kernel and its
#: firmware keep a part.
_MEMORY = 0.9
#: What images and data of a first environment take, bytes.
_DISK = 10 * 2**30
_ARCHITECTURE = "x86_64"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a host.

    :param what: one or two words.
    """

    host: str
    what: str
    found: str
    remedy: str


@dataclass(frozen=True)
class Wanted:
    """A node of the topology and the host that is to be it."""

    spec: NodeSpec
    host: Host

    @property
    def name(self) -> str:
        """The node's."""
        return self.spec.name


@dataclass(frozen=True)
class Report:
    """What came out about a host.

    :param facts: None if nobody could get in.
    :param error: why.
    :param off: whether its switch says that it is off.
    """

    wanted: Wanted
    facts: Facts | None = None
    error: NodeError | None = None
    off: bool = False

    def ours(self, environment: str) -> bool:
        """Whether the environment holds it already."""
        lock = self.facts.lock if self.facts else None
        return lock is not None and lock.belongs_to(environment)


#: Makes a finding about the host at hand: what, what was found, the remedy.
_Finding = Callable[[str, str, str], Finding]


def findings(reports: Iterable[Report], environment: str, *, force: bool = False) -> list[Finding]:
    """All that is wrong, host by host.

    :param force: do not mind containers of others.
    """
    reports = list(reports)
    found = [one for report in reports for one in _of(report, environment, force=force)]
    return [*found, *_apart([r for r in reports if r.facts])]


def refuse(found: Iterable[Finding]) -> None:
    """Tell them all at once.

    :raises HostError: if there is any; a table of them.
    """
    rows = [("HOST", "WHAT", "FOUND"), *((one.host, one.what, one.found) for one in found)]
    if len(rows) == 1:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    table = [f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}" for row in rows]
    remedies = [f"-> {one.host}: {one.remedy}" for one in found]
    raise HostError(
        f"nothing was changed: {len({one.host for one in found})} of the hosts cannot be used "
        "as they are",
        detail="\n".join([*table, *remedies]),
        remedy="mend what the table says, then run the command again",
    )


def _of(report: Report, environment: str, *, force: bool) -> Iterable[Finding]:
    name, facts = report.wanted.name, report.facts

    def finding(what: str, found: str, remedy: str) -> Finding:
        return Finding(name, what, found, remedy)

    if facts is None:
        if not report.off:
            error = report.error or NodeError("it could not be asked")
            last = (error.detail or "").strip().splitlines()[-1:]
            said = f": {last[0]}" if last else ""
            yield finding("login", f"{error.message}{said}", error.remedy or "look at the host")
        return
    yield from _machine(report.wanted, facts, finding)
    yield from _software(facts, finding)
    yield from _use(report, facts, environment, finding, force=force)
    yield from _networks(report, facts, environment, finding)


def _machine(wanted: Wanted, facts: Facts, finding: _Finding) -> Iterable[Finding]:
    spec = wanted.spec
    if facts.arch != _ARCHITECTURE:
        yield finding("processor", f"it is {facts.arch}", f"images are {_ARCHITECTURE}")
    if facts.cpus < spec.cpus:
        yield finding(
            "processors",
            f"{facts.cpus}, the topology asks for {spec.cpus:g}",
            "lower `cpus`, or take another host",
        )
    if facts.memory < spec.memory * _MEMORY:
        yield finding(
            "memory",
            f"{resources.gib(facts.memory)}, the topology asks for {resources.gib(spec.memory)}",
            "lower `memory`, or take another host",
        )
    # What an environment has on it already counts as room that it has.
    needed = 0 if facts.lock else spec.disk or _DISK
    if facts.disk < needed:
        yield finding(
            "disk",
            f"{resources.gib(facts.disk)} free at /var/lib, {resources.gib(needed)} are needed",
            "make room, or lower `disk`",
        )
    if abs(facts.skew) > CLOCK:
        side = "ahead of" if facts.skew > 0 else "behind"
        yield finding(
            "clock",
            f"{abs(facts.skew):.0f} s {side} this machine",
            "have it set its clock: systemctl enable --now systemd-timesyncd, or chrony",
        )


def _software(facts: Facts, finding: _Finding) -> Iterable[Finding]:
    if missing := [tool for tool in ("ip", "flock", "bash") if tool not in facts.tools]:
        yield finding(
            "commands", f"no {', '.join(missing)}", "install iproute2 (iproute), util-linux, bash"
        )
    if facts.sshd.get("permitrootlogin") in ("no", "forced-commands-only"):
        yield finding(
            "sshd",
            f"PermitRootLogin {facts.sshd['permitrootlogin']}",
            "PermitRootLogin prohibit-password: the environment's own key logs in as root",
        )
    forwarding = facts.sshd.get("allowstreamlocalforwarding", "yes")
    if forwarding in ("no", "remote") or facts.sshd.get("disableforwarding") == "yes":
        yield finding(
            "sshd", "it forwards no sockets", "AllowStreamLocalForwarding yes, DisableForwarding no"
        )
    manager = {"debian": "apt-get", "fedora": "dnf"}.get(facts.family)
    if "dockerd" in facts.tools:
        version = re.match(r"(\d+)\.(\d+)", facts.engine)
        if version and (int(version[1]), int(version[2])) < MINIMUM:
            minimum = ".".join(map(str, MINIMUM))
            yield finding("engine", f"Docker {facts.engine}", f"upgrade it to {minimum} or later")
        if "docker" not in facts.tools:
            yield finding("engine", "dockerd without the docker command", "install docker-cli")
    elif manager is None:
        yield finding(
            "system",
            f"{facts.system} has no Docker Engine, and devenv cannot install one there",
            "use Debian, Ubuntu or Fedora, or install an engine: docs.docker.com/engine/install",
        )
    elif manager not in facts.tools:
        yield finding("packages", f"no {manager} on {facts.system}", "install a Docker Engine")
    elif facts.broken:
        yield finding("packages", f"some are half installed: {facts.broken}", "dpkg --configure -a")


def _use(
    report: Report, facts: Facts, environment: str, finding: _Finding, *, force: bool
) -> Iterable[Finding]:
    """Who else uses it."""
    lock = facts.lock
    if report.ours(environment):
        return
    if lock is not None and not lock.expired:
        yield finding("in use", f"by {lock}", baremetal_lock.remedy(lock))
        return
    expired = lock.environment if lock else None
    others = [name for name, owner in facts.containers if not owner or owner != expired]
    if others and not force:
        names = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        yield finding(
            "in use",
            f"{len(others)} containers run that are not devenv's: {names}",
            "it seems to be somebody's workstation: choose another host, or use it all the same: "
            "devenv up --force",
        )


def _networks(
    report: Report, facts: Facts, environment: str, finding: _Finding
) -> Iterable[Finding]:
    host = report.wanted.host
    if device_of(facts, host) is None:
        has = [str(i.ip) for link in facts.links.values() for i in link.addresses]
        yield finding(
            "address",
            f"{host.address} is on none of its devices; it has {', '.join(has) or 'none'}",
            "give the address that it has on the API network",
        )
    outside = host.external
    if outside is None or report.ours(environment):
        return  # Once it is a node its device is a part of the provider bridge.
    link = facts.links.get(outside.interface)
    if link is None:
        there = ", ".join(name for name in facts.links if name != "lo")
        yield finding(
            "external", f"no device {outside.interface}; there are {there}", "give one of those"
        )
    elif why := _taken(link, host):
        yield finding("external", f"{link.name} {why}", "give a device that nothing else uses")


def _taken(link: Link, host: Host) -> str:
    others = [one for one in link.addresses if host.external and one.ip != host.external.address]
    if link.master:
        return f"is a part of {link.master}"
    if link.routed:
        return "has the default route"
    return f"has the address {others[0]}" if others else ""


def device_of(facts: Facts, host: Host) -> Link | None:
    """The device with the host's address on the API network."""
    for link in facts.links.values():
        if any(one.ip == host.address for one in link.addresses):
            return link
    return None


def api_network(facts: Facts, host: Host) -> IPv4Network | None:
    """The network that the host's own device says it is on."""
    link = device_of(facts, host)
    networks = [one.network for one in (link.addresses if link else ()) if one.ip == host.address]
    return networks[0] if networks else None


def _apart(reports: list[Report]) -> Iterable[Finding]:
    """Clocks that are each close to this machine's and far from one another."""
    skews: Mapping[str, float] = {r.wanted.name: r.facts.skew for r in reports if r.facts}
    if not skews or any(abs(skew) > CLOCK for skew in skews.values()):
        return
    first, last = min(skews, key=skews.__getitem__), max(skews, key=skews.__getitem__)
    if (apart := skews[last] - skews[first]) > CLOCK:
        yield Finding(
            last,
            "clock",
            f"{apart:.0f} s ahead of {first}",
            "have both set their clocks: systemctl enable --now systemd-timesyncd, or chrony",
        )


def as_seen(report: Report) -> str:
    """A host that is right, in a few words."""
    facts = report.facts
    if facts is None:
        return "off; `devenv up` switches it on and looks at it then"
    engine = f"Docker Engine {facts.engine}" if facts.engine else "no Docker Engine yet"
    return (
        f"{facts.system}, {facts.cpus} processors, {resources.gib(facts.memory)} memory, "
        f"{resources.gib(facts.disk)} free, {engine}"
    )


def with_facts(report: Report, facts: Facts) -> Report:
    """`report` of a host that answers now."""
    return replace(report, facts=facts, error=None, off=False)
