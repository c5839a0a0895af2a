"""Makes a node of a host: an engine, a key, names; each change is written down there before it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from devenv.core.errors import NodeError
from devenv.providers import baremetal_firewall
from devenv.providers.baremetal_facts import PREFACE, Facts
from devenv.providers.baremetal_journal import (
    FILE,
    GROUPS,
    PENDING,
    SYSCTL_FILE,
    SYSCTLS,
    Changes,
)
from devenv.providers.baremetal_lock import FOLDER
from devenv.providers.baremetal_ssh import Done, Shell
from devenv.topology.machines import Host

#: Seconds for an installation: packages come from a mirror that may be slow.
_INSTALL_LIMIT = 1800
#: Seconds for an engine to answer after it was started.
_START_LIMIT = 120
LOG = "/var/log/devenv-dockerd.log"

#: Of an engine that devenv installs: containers have the host's network, so it needs no bridge
#: and has no reason to touch the firewall.
_DAEMON = """{
  "bridge": "none",
  "ip-forward": false,
  "ip-masq": false,
  "ip6tables": false,
  "iptables": false,
  "log-opts": {"max-size": "10m"}
}
"""

#: Defines `list`: the names of the packages that are installed, in order.
LIST = """
list() {
  if command -v dpkg-query >/dev/null; then
    dpkg-query -W -f '${binary:Package} ${db:Status-Status}\\n' | sed -n 's/ installed$//p'
  else rpm -qa --qf '%{NAME}\\n'; fi | sort -u
}
"""

#: Prints the packages that came, also of a try before this one that was killed.
_INSTALL = f"""{PREFACE}
set -eu
{LIST}
umask 022
if [ ! -f {PENDING} ]; then list > {PENDING}.new; mv {PENDING}.new {PENDING}; fi
mkdir -p /etc/docker
[ -e /etc/docker/daemon.json ] || printf %s "$daemon" > /etc/docker/daemon.json
if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
  if command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
    dpkg --configure -a >&2 </dev/null
    # One broken third-party source fails `update` although the packages are to be had.
    apt-get -q -o DPkg::Lock::Timeout=300 update >&2 </dev/null || true
    packages=docker.io
    # Newer Debians have the command in a package of its own.
    case "$(apt-cache policy docker-cli)" in
      *'Candidate: (none)'*|'') ;;
      *Candidate:*) packages="$packages docker-cli" ;;
    esac
    # A kernel with AppArmor needs its parser to start a container.
    if [ "$apparmor" = yes ]; then packages="$packages apparmor"; fi
    apt-get -q --yes --no-install-recommends --no-remove --no-upgrade -o DPkg::Lock::Timeout=300 \\
      -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \\
      install $packages >&2 </dev/null
  else
    dnf -q -y --setopt=install_weak_deps=False install moby-engine docker-cli >&2 </dev/null
  fi
fi
list > {PENDING}.after
comm -13 {PENDING} {PENDING}.after
rm -f {PENDING}.after
"""

_START = f"""{PREFACE}
answers() {{ timeout 20 docker version >/dev/null 2>&1; }}
answers && exit 0
if [ -d /run/systemd/system ]; then
  # Debian enables what it installs; an engine that was there is only started.
  if [ "$ours" = yes ]; then systemctl enable docker >&2; fi
  systemctl start docker >&2
elif [ -x /etc/init.d/docker ] && [ "$(cat /proc/1/comm)" = init ]; then
  service docker start >&2 </dev/null
else
  running=$(cat /run/docker.pid 2>/dev/null)
  if [ "$(cat /proc/$running/comm 2>/dev/null)" != dockerd ]; then
    # Stale numbers may be another process's by now, which dockerd would take for its own.
    rm -f /run/docker.pid /run/docker/containerd/containerd.pid
    setsid dockerd >{LOG} 2>&1 </dev/null &
  fi
fi
for i in $(seq {_START_LIMIT}); do answers && exit 0; sleep 1; done
if [ -d /run/systemd/system ]; then journalctl -u docker -n 15 --no-pager >&2
else tail -n 15 {LOG} >&2; fi
exit 1
"""

#: The key, the names and the sysctls; prints what it changed. /etc/hosts is written in place, for
#: it may be a mount. Our block comes first: of several lines on a name the first one counts.
_SETTLE = f"""{PREFACE}
set -eu
umask 077
mkdir -p /root/.ssh
file=/root/.ssh/authorized_keys
if ! grep -qsxF "$key" "$file"; then
  touch "$file"
  kept=$(grep -v " devenv:$environment\\$" "$file" || true; echo x)
  printf '%s%s\\n' "${{kept%x}}" "$key" > "$file"
  echo key
fi
umask 022
now=$(cat /etc/hosts; echo x)
kept=$(sed "/^# devenv:$environment begin$/,/^# devenv:$environment end$/d" /etc/hosts; echo x)
if [ "$hosts$kept" != "$now" ]; then printf %s "$hosts${{kept%x}}" > /etc/hosts; echo names; fi
if [ "$(cat {SYSCTL_FILE} 2>/dev/null)" != "$sysctls" ]; then
  mkdir -p {SYSCTL_FILE.rpartition("/")[0]}
  printf '%s\\n' "$sysctls" > {SYSCTL_FILE}
  echo sysctls
fi
printf '%s\\n' "$sysctls" | while IFS='=' read -r name value; do
  path=/proc/sys/$(echo "$name" | tr . /)
  [ "$(cat "$path" 2>/dev/null)" = "$value" ] || echo "$value" > "$path" || true
done
"""


@dataclass(frozen=True)
class Settings:
    """What all hosts of an environment are told.

    :param key: the public key of the environment.
    :param names: the nodes' addresses by name.
    :param peers: addresses that the nodes must hear: of each other, and of this machine.
    """

    environment: str
    key: str
    names: Mapping[str, IPv4Address]
    peers: tuple[str, ...]


def begin(shell: Shell, facts: Facts, host: Host, *, held: bool) -> Changes:
    """The host's journal; written with how the host is, where there is none.

    :param held: whether the environment had the host before: its devices are not as found then.
    """
    changes = facts.changes or Changes(
        absent=facts.absent,
        groups=tuple(group for group in GROUPS if group not in facts.groups),
        sysctls={key: value for key, value in facts.sysctls.items() if value},
    )
    device = facts.links.get(host.external.interface) if host.external else None
    if device is not None and not (held and device.name in changes.addresses):
        had = {**changes.addresses, device.name: tuple(map(str, device.addresses))}
        others = tuple(name for name in changes.down if name != device.name)
        down = others if device.up else (*others, device.name)
        changes = changes.model_copy(update={"addresses": had, "down": down})
    return _write(shell, facts.changes, changes)


def _write(shell: Shell, before: Changes | None, changes: Changes) -> Changes:
    if changes != before:
        script = f"set -eu; umask 022; mkdir -p {FOLDER}; cat > {FILE}.new; mv {FILE}.new {FILE}"
        shell.run(script, stdin=changes.model_dump_json(indent=1))
    return changes


def engine(shell: Shell, facts: Facts, changes: Changes, name: str) -> Changes:
    """Have a Docker Engine that answers; installed if there is none.

    :raises NodeError: with the package manager's last lines, or the engine's.
    """
    lacking = "dockerd" not in facts.tools or "docker" not in facts.tools
    if lacking or facts.pending:
        written = _write(shell, changes, changes.model_copy(update={"installed": True}))
        parser = facts.apparmor and "apparmor_parser" not in facts.tools
        head = f"daemon={shlex.quote(_DAEMON)} apparmor={'yes' if parser else 'no'}\n"
        done = shell.run(head + _INSTALL, check=False, timeout=_INSTALL_LIMIT)
        if done.code != 0:
            raise _failed("a Docker Engine could not be installed", name, done)
        packages = tuple(sorted({*written.packages, *done.out.split()}))
        changes = _write(shell, written, written.model_copy(update={"packages": packages}))
        shell.run(f"rm -f {PENDING}")
    if lacking or not facts.engine:
        if not changes.installed and not changes.started:
            changes = _write(shell, changes, changes.model_copy(update={"started": True}))
        head = f"ours={'yes' if changes.installed else 'no'}\n"
        done = shell.run(head + _START, check=False, timeout=_START_LIMIT * 2)
        if done.code != 0:
            raise _failed("its Docker Engine did not start", name, done)
    return changes


def settle(shell: Shell, facts: Facts, changes: Changes, settings: Settings) -> Changes:
    """Key, names, sysctls and firewall as the environment is now."""
    environment = settings.environment
    rows = "".join(f"{address}\t{name}\n" for name, address in settings.names.items())
    values = {
        "environment": environment,
        "key": f"{' '.join(settings.key.split()[:2])} devenv:{environment}",
        "hosts": f"# devenv:{environment} begin\n{rows}# devenv:{environment} end\n",
        "sysctls": "\n".join(f"{key}={value}" for key, value in SYSCTLS.items()),
    }
    told = baremetal_firewall.sources(facts.filters, settings.peers)
    if told:
        sources = tuple(sorted({*changes.sources, *told}))
        changes = _write(shell, changes, changes.model_copy(update={"sources": sources}))
    shell.run("".join(f"{k}={shlex.quote(v)}\n" for k, v in values.items()) + _SETTLE)
    baremetal_firewall.allow(shell, facts.filters, environment, settings.peers)
    return changes


def _failed(what: str, name: str, done: Done) -> NodeError:
    said = [line for line in (done.err or done.out).splitlines() if line.strip()]
    return NodeError(
        what,
        node=name,
        detail="\n".join(said[-15:]),
        remedy="mend what it names on the host, then run the command again",
    )


def why(facts: Facts, *, held: bool) -> str:
    """Why a host is worked on, in words; empty if it only has to be looked after."""
    if facts.pending:
        return "the installation of its Docker Engine was not finished"
    if "dockerd" not in facts.tools:
        return "it has no Docker Engine"
    if not facts.engine:
        return "its Docker Engine is off"
    return "" if held else "it joins the environment"
