"""What there is to know of a host: one shell script, and a pure parser of what it prints."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Literal

from devenv.core import labels
from devenv.providers import baremetal_lock
from devenv.providers.baremetal_firewall import FACTS as FIREWALL_FACTS
from devenv.providers.baremetal_firewall import Filters
from devenv.providers.baremetal_journal import CANDIDATES, PENDING, SYSCTLS, Changes
from devenv.providers.baremetal_journal import FILE as JOURNAL
from devenv.providers.baremetal_lock import Lock
from devenv.providers.baremetal_ssh import Shell

Family = Literal["debian", "fedora", "other"]

_TOOLS = (
    "apt-get", "dnf", "dockerd", "docker", "ip", "flock", "bash", "apparmor_parser", "firewall-cmd",
    "ufw", "nft", "iptables",
)  # fmt: skip

#: Administrators' commands are not on every PATH; words for machines are in the C locale.
PREFACE = 'export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"\n'

_SCRIPT = f"""{PREFACE}
# A file may end without a line's end.
fact() {{ printf '\\n@%s\\n' "$1"; }}
fact os; cat /etc/os-release
fact machine; uname -m; nproc; date +%s.%N
fact memory; cat /proc/meminfo
fact disk; df -kP "$(ls -d /var/lib/docker /var/lib 2>/dev/null | head -n 1)"
fact tools; for tool in {" ".join(_TOOLS)}; do command -v "$tool" >/dev/null && echo "$tool"; done
fact systemd; test -d /run/systemd/system && echo yes
fact apparmor; cat /sys/module/apparmor/parameters/enabled 2>/dev/null
fact packages; command -v dpkg >/dev/null && dpkg --audit 2>&1 | head -n 3
fact sshd; sshd -T 2>/dev/null | grep -E '^(permitroot|allowstreamlocal|disableforwarding)'
fact addresses; ip -o -4 address show 2>/dev/null
fact links; ip -o link show 2>/dev/null
fact routes; ip -4 route show default 2>/dev/null
fact engine; timeout 20 docker version --format '{{{{.Server.Version}}}}' 2>/dev/null
fact containers; timeout 20 docker ps 2>/dev/null \\
  --format '{{{{.Names}}}} {{{{.Label "{labels.ENVIRONMENT}"}}}}'
fact lock; cat {baremetal_lock.FILE} 2>/dev/null
fact journal; cat {JOURNAL} 2>/dev/null
fact pending; test -f {PENDING} && echo yes
fact absent; for path in {" ".join(CANDIDATES)}; do
  test -e "$path" || test -L "$path" || echo "$path"; done
fact groups; cut -d: -f1 /etc/group
fact sysctls; for key in {" ".join(SYSCTLS)}; do
  echo "$key=$(cat /proc/sys/$(echo "$key" | tr . /) 2>/dev/null)"; done
{FIREWALL_FACTS}
true
"""


@dataclass(frozen=True)
class Link:
    """A network device.

    :param master: the bridge or bond that it is a port of, empty if of none.
    :param routed: whether a default route goes through it.
    """

    name: str
    addresses: tuple[IPv4Interface, ...]
    master: str
    up: bool
    routed: bool


@dataclass(frozen=True)
class Facts:
    """What a host says of itself.

    :param system: what its distribution calls itself.
    :param arch: as ``uname -m`` has it.
    :param memory: bytes.
    :param disk: free bytes where an engine keeps its data.
    :param skew: seconds by which its clock is before this machine's; negative if behind.
    :param broken: what the package manager says of packages that are half installed.
    :param engine: version of the Docker Engine that answers, empty if none does.
    :param containers: those that run, each with the environment it belongs to or nothing.
    :param held: the lock file's text.
    :param pending: whether an installation was begun and not finished.
    :param absent: paths that are not there, of those that devenv or an engine makes.
    """

    system: str
    family: Family
    arch: str
    cpus: int
    memory: int
    disk: int
    skew: float
    tools: frozenset[str]
    systemd: bool
    apparmor: bool
    broken: str
    sshd: dict[str, str]
    links: dict[str, Link]
    engine: str
    containers: tuple[tuple[str, str], ...]
    held: str
    changes: Changes | None
    pending: bool
    absent: tuple[str, ...]
    groups: frozenset[str]
    sysctls: dict[str, str]
    filters: Filters

    @property
    def lock(self) -> Lock | None:
        """Who holds it."""
        return baremetal_lock.parse(self.held)


def gather(shell: Shell) -> Facts:
    """Ask a host for all facts in one go; it takes about a second.

    :raises NodeError: when there is no way in.
    """
    before = time.time()
    done = shell.run(_SCRIPT)
    return parse(done.out, (before + time.time()) / 2)


def parse(text: str, now: float) -> Facts:
    """The facts in the script's output.

    :param now: this machine's clock when it ran, seconds since the epoch.
    """
    said = _sections(text)
    release = _pairs(said["os"])
    arch, cpus, clock = (*said["machine"], "", "", "")[:3]
    memory = re.search(r"^MemTotal:\s+(\d+) kB", "\n".join(said["memory"]), re.MULTILINE)
    disk = said["disk"][-1].split() if said["disk"] else []
    return Facts(
        system=release.get("PRETTY_NAME", "an unknown system"),
        family=_family(release),
        arch=arch,
        cpus=int(cpus or 0),
        memory=int(memory[1]) * 1024 if memory else 0,
        disk=int(disk[3]) * 1024 if len(disk) > 3 else 0,
        skew=float(clock) - now if clock else 0.0,
        tools=frozenset(said["tools"]),
        systemd=bool(said["systemd"]),
        apparmor=said["apparmor"] == ["Y"],
        broken="; ".join(said["packages"]),
        sshd=dict(_words(line) for line in said["sshd"]),
        links=_links(said),
        engine="".join(said["engine"]),
        containers=tuple(_words(line) for line in said["containers"]),
        held="\n".join(said["lock"]),
        changes=Changes.parse("\n".join(said["journal"])),
        pending=bool(said["pending"]),
        absent=tuple(said["absent"]),
        groups=frozenset(said["groups"]),
        sysctls={k: v for k, _, v in (line.partition("=") for line in said["sysctls"])},
        filters=Filters.parse(
            firewalld=said["firewalld"], ufw=said["ufw"], nft=said["nft"], iptables=said["iptables"]
        ),
    )


class _Sections(dict[str, list[str]]):
    def __missing__(self, key: str) -> list[str]:
        return []


def _sections(text: str) -> _Sections:
    found = _Sections()
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith("@"):
            current = found.setdefault(line[1:], [])
        elif line.strip():
            current.append(line)
    return found


def _words(line: str) -> tuple[str, str]:
    first, _, rest = line.partition(" ")
    return first, rest.strip()


def _pairs(lines: list[str]) -> dict[str, str]:
    """``KEY=value`` as of os-release(5), which quotes as a shell does."""
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key: "".join(shlex.split(value)) if value else "" for key, _, value in (
        (key, sep, value) for key, sep, value in pairs
    )}  # fmt: skip


def _family(release: dict[str, str]) -> Family:
    names = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    if names & {"debian", "ubuntu"}:
        return "debian"
    return "fedora" if names & {"fedora", "rhel", "centos"} else "other"


def _links(said: _Sections) -> dict[str, Link]:
    addresses: dict[str, list[IPv4Interface]] = {}
    for line in said["addresses"]:
        # 2: eth0    inet 172.30.0.11/24 brd ... scope global eth0
        words = line.split()
        if len(words) > 3 and words[2] == "inet":
            addresses.setdefault(words[1], []).append(IPv4Interface(words[3]))
    routed = {
        words[words.index("dev") + 1] for line in said["routes"] if "dev" in (words := line.split())
    }
    found = {}
    for line in said["links"]:
        # 3: eth1@if9: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master br0 state UP
        match = re.match(r"\d+: ([^:@]+)[^:]*: <([^>]*)>(?:.*?\bmaster (\S+))?", line)
        if match:
            name, flags, master = match[1], match[2].split(","), match[3] or ""
            found[name] = Link(
                name, tuple(addresses.get(name, ())), master, "UP" in flags, name in routed
            )
    return found
