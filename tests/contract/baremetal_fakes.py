"""Hosts in folders: the provider's own shell scripts run, on files of the test's and on stand-ins
for the commands that change a machine.

A host's `/etc`, `/var`, ... are a folder; the paths in a script are moved there. Its PATH has the
tools below and nothing else, so no command of this machine can be run by mistake.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from devenv.core.events import Events
from devenv.host.capabilities import Privileges
from devenv.host.checks import Check
from devenv.images.store import Store
from devenv.nodes.node import SshTarget
from devenv.providers import baremetal, baremetal_lock, baremetal_power, baremetal_ssh
from devenv.providers.baremetal import BaremetalProvider
from devenv.providers.baremetal_lock import Lock
from devenv.providers.baremetal_power import Power, Press, State, Switch
from devenv.providers.baremetal_ssh import Done, KeyRefused, OtherHostKey, Unreachable
from devenv.topology.load import LoadedTopology, load
from devenv.topology.machines import Host

_TOOLS = (
    "awk", "cat", "comm", "cut", "date", "df", "env", "find", "flock", "grep", "head", "ls",
    "mkdir", "mv", "nproc", "rm", "rmdir", "sed", "seq", "sh", "sort", "tail", "test", "timeout",
    "touch", "tr", "true", "uname", "xargs",
)  # fmt: skip
_PATHS = re.compile(r"(?<![\w.*])/(?=(?:etc|var|root|run|proc|sys|opt|usr|sbin|lib)\b)")

#: What stands for a command; $ROOT is the host's folder.
_COMMANDS = {
    "apt-get": """
case "$*" in *install*)
  [ ! -e $ROOT/mirror-is-away ] || { echo 'E: Failed to fetch docker.io  503' >&2; exit 100; }
  printf '%s\\n' containerd docker-cli docker.io >> $ROOT/packages
  cp $ROOT/engine/docker $ROOT/engine/dockerd $ROOT/sbin/
  mkdir -p $ROOT/var/lib/docker
  echo docker:x:999: >> $ROOT/etc/group
  [ ! -e $ROOT/run/systemd/system ] || touch $ROOT/run/docker.sock ;;
esac""",
    "apt-cache": "echo '  Candidate: 26.1.5'",
    "dpkg-query": "sed 's/$/ installed/' $ROOT/packages",
    "dpkg": """
case "$1" in
--audit) cat $ROOT/audit 2>/dev/null ;;
--purge) shift; for one; do
    [ ! -e $ROOT/needed ] || { echo "dpkg: $one is needed" >&2; exit 1; }
    sed -i "/^$one$/d" $ROOT/packages
    case $one in docker.io) rm -f $ROOT/sbin/dockerd ;; docker-cli) rm -f $ROOT/sbin/docker ;; esac
  done ;;
esac""",
    "groupdel": 'sed -i "/^$1:/d" $ROOT/etc/group',
    "systemctl": """
case "$*" in
start*) touch $ROOT/run/docker.sock ;;
stop*) rm -f $ROOT/run/docker.sock ;;
esac""",
    "ip": """
case "$*" in
'-o -4 address show') cat $ROOT/addresses ;;
'-o link show') cat $ROOT/links ;;
'-4 route show default') echo default via 172.30.0.1 dev eth0 ;;
'-4 neigh show'*) cat $ROOT/neighbours 2>/dev/null ;;
esac""",
    "sshd": "cat $ROOT/sshd",
    "bash": "",
    "sleep": "",
    "umount": "",
    "cp": 'exec /bin/cp "$@"',
}
_ENGINE = {
    "dockerd": "",
    "docker": """
[ -e $ROOT/run/docker.sock ] || exit 1
containers=$ROOT/var/lib/docker/containers
touch $containers
case "$*" in
version*) echo 26.1.5 ;;
*devenv.fault*|volume*|network*|images*) ;;
ps*--filter*)
  label=${*#*devenv.environment=}
  awk -v e="${label%% *}" '$2 == e { print $1 }' $containers ;;
ps*) cat $containers ;;
rm*) for last; do :; done; sed -i "/^$last /d" $containers ;;
esac""",
}


NODES = """\
defaults: {memory: 1GiB, cpus: 0.5, disk: 1MiB}
nodes:
  ctl: {roles: [control, network]}
  cmp: {roles: [compute]}
"""
STORE = Store("devenv-images-1234", {}, 0)


class Kill(BaseException):
    """Stands for SIGKILL of devenv."""


@dataclass
class FakeHost:
    """A host, on or off.

    :param folder: what it has on its disk.
    :param boots: how often it was switched on.
    """

    folder: Path
    address: str
    outside: str
    key: str
    on: bool = True
    boots: int = 1
    refuses: bool = False

    def install(self) -> None:
        """A system without an engine."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in ("etc", "root", "var/lib", "run/systemd/system", "proc/1", "sbin", "engine",
                     "proc/sys/net/ipv4"):  # fmt: skip
            (self.folder / path).mkdir(parents=True)
        for tool in _TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.folder / "sbin" / tool).symlink_to(found)
        for name, text in _COMMANDS.items():
            self.command(name, text)
        for name, text in _ENGINE.items():
            self.command(name, text)
            (self.folder / "sbin" / name).rename(self.folder / "engine" / name)
        self.write("etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\n')
        self.write("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 somehost\n")
        self.write("etc/group", "root:x:0:\n")
        self.write("proc/meminfo", f"MemTotal:       {4 * 2**20} kB\n")
        self.write("proc/mounts", "")
        self.write("proc/1/stat", "1 (systemd) S 0 1 1 0 -1 4194560 0 0 0 0 1 1 0 0 20 0 1 0 7 0\n")
        self._boot()
        self.write("packages", "bash\nopenssh-server\n")
        self.write("sshd", "permitrootlogin prohibit-password\nallowstreamlocalforwarding yes\n")
        self.write(
            "addresses",
            f"2: eth0    inet {self.address}/24 brd 172.30.0.255 scope global eth0\n"
            f"3: eth1    inet {self.outside}/24 brd 172.31.0.255 scope global eth1\n",
        )
        self.write(
            "links",
            "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN\n"
            "2: eth0@if7: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP\n"
            "3: eth1@if9: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP\n",
        )
        for key, value in (("time", 7200), ("intvl", 75), ("probes", 9)):
            self.write(f"proc/sys/net/ipv4/tcp_keepalive_{key}", f"{value}\n")
        self.write("proc/sys/net/ipv4/tcp_retries2", "15\n")

    def _boot(self) -> None:
        self.write("proc/sys/kernel/random/boot_id", f"{self.boots}\n")

    def write(self, path: str, text: str) -> None:
        """Have a file say `text`."""
        file = self.folder / path
        # The tools are links to this machine's own.
        assert file.resolve().is_relative_to(self.folder), f"{file} is not the host's"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def command(self, name: str, text: str) -> None:
        """Have a command of the host's do `text`, and no longer what this machine's does."""
        file = self.folder / "sbin" / name
        file.unlink(missing_ok=True)
        self.write(f"sbin/{name}", f"#!/bin/sh\nROOT={self.folder}\n{text}\n")
        file.chmod(0o755)

    def read(self, path: str) -> str:
        """A file, empty if it is not there."""
        file = self.folder / path
        return file.read_text() if file.exists() else ""

    def add_engine(self) -> None:
        """Install a Docker Engine, by other hands than devenv's."""
        for name in _ENGINE:
            shutil.copy(self.folder / "engine" / name, self.folder / "sbin" / name)
        (self.folder / "var/lib/docker").mkdir(exist_ok=True)
        (self.folder / "run/docker.sock").touch()

    @property
    def lock(self) -> Lock | None:
        """Who holds it."""
        return baremetal_lock.parse(self.read("etc/devenv/lock.json"))

    def tree(self) -> dict[str, str]:
        """All that is on its disk."""
        return {
            str(path.relative_to(self.folder)): "" if path.is_dir() else path.read_text()
            for path in sorted(self.folder.rglob("*"))
            if not path.is_symlink() and path.name != "boot_id"
        }

    def switch(self, on: bool) -> None:
        """What a switch does. What is in memory is lost; systemd starts the engine."""
        self.on = on
        (self.folder / "run/docker.sock").unlink(missing_ok=True)
        if on:
            self.boots += 1
            self._boot()
            if (self.folder / "sbin/dockerd").exists():
                (self.folder / "run/docker.sock").touch()

    # -- its controller: see devenv.providers.baremetal_power.Controller

    def state(self) -> State:
        """On or off."""
        return "on" if self.on else "off"

    def press(self, action: Press) -> None:
        """At once."""
        if action == "reset":
            self.switch(False)
        self.switch(action != "off")

    def controller(self) -> AbstractContextManager[FakeHost]:
        """A connection to it."""
        return contextlib.nullcontext(self)


@dataclass(frozen=True)
class FakeShell:
    """Runs scripts as SSH would bring them to `host`.

    :param key: the public key that is shown; None for that of who logs in.
    """

    name: str
    host: FakeHost
    known_hosts: Path
    key: str | None

    def run(
        self, script: str, *, stdin: str = "", check: bool = True, timeout: float = 120
    ) -> Done:
        """See :class:`devenv.providers.baremetal_ssh.Shell`."""
        self._enter()
        done = subprocess.run(
            ["/bin/sh", "-c", _PATHS.sub(f"{self.host.folder}/", script)],
            input=stdin, capture_output=True, text=True, check=False, timeout=timeout,
            env={"PATH": str(self.host.folder / "sbin")},
        )  # fmt: skip
        result = Done(done.returncode, done.stdout, done.stderr)
        if check and result.code:
            raise baremetal_ssh.failed(self.name, result)
        return result

    def _enter(self) -> None:
        if not self.host.on:
            raise Unreachable("no way to it by SSH", node=self.name, remedy="look at it")
        lines = self.known_hosts.read_text().splitlines() if self.known_hosts.exists() else []
        known = [line.split(" ", 1)[1] for line in lines if line.split()[0] == self.host.address]
        if not known and self.key is None:
            with self.known_hosts.open("a") as file:
                file.write(f"{self.host.address} {self.host.key}\n")
        elif known != [self.host.key]:
            raise OtherHostKey("it shows another host key", node=self.name, remedy="give it")
        accepted = self.host.read("root/.ssh/authorized_keys")
        if self.host.refuses if self.key is None else self.key not in accepted:
            raise KeyRefused("it refused the SSH key", node=self.name, remedy="ssh-copy-id")


class Rack:
    """The hosts by address, and the ways to them."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self.hosts = {
            name: FakeHost(
                folder / name,
                f"172.30.0.{11 + place}",
                f"172.31.0.{11 + place}",
                f"ssh-ed25519 AAAA{name}",
            )
            for place, name in enumerate(names)
        }
        for host in self.hosts.values():
            host.install()

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Have the provider come to these hosts."""
        patch.setattr(baremetal_ssh, "login", self._login)
        patch.setattr(baremetal_ssh, "as_root", self._as_root)
        patch.setattr(baremetal_power, "power_for", self._power_for)
        # Nothing is asked of this machine.
        patch.setattr(baremetal, "packages_check", lambda _: Check("commands", True, "there"))
        patch.setattr(baremetal, "engine_check", lambda: Check("docker", True, "there"))

    def _at(self, address: str) -> FakeHost:
        return next(host for host in self.hosts.values() if host.address == address)

    def _login(self, name: str, host: Host, known_hosts: Path) -> FakeShell:
        return FakeShell(name, self._at(str(host.address)), known_hosts, None)

    def _as_root(self, name: str, target: SshTarget, timeout: int = 5) -> FakeShell:
        key = Path(f"{target.key}.pub").read_text().split()[1]
        return FakeShell(name, self._at(target.host), target.known_hosts, key)

    def _power_for(self, name: str, host: Host) -> Power | None:
        if host.redfish is None:
            return None
        return Switch(name, partial(FakeHost.controller, self._at(str(host.address))))

    def section(self, *, power: bool = True) -> str:
        """The topology's section `baremetal`."""
        lines = ["provider: baremetal", "baremetal:", "  hosts:"]
        for name, host in self.hosts.items():
            switch = "redfish: {address: https://bmc, username: admin}, " if power else ""
            lines.append(
                f"    {name}: {{address: {host.address}, {switch}"
                f"external: {{interface: eth1, address: {host.outside}}}}}"
            )
        return "\n".join(lines) + "\n"

    def __iter__(self) -> Iterator[FakeHost]:
        return iter(self.hosts.values())

    def __getitem__(self, name: str) -> FakeHost:
        return self.hosts[name]


def trees(rack: Rack) -> list[dict[str, str]]:
    """All that is on all disks."""
    return [host.tree() for host in rack]


def provider(name: str, state: Path) -> BaremetalProvider:
    """For environment `name`; its state folder is made."""
    state.mkdir(parents=True, exist_ok=True)
    return BaremetalProvider(name, state, Events(), Privileges)


def topology(folder: Path, text: str) -> LoadedTopology:
    """Always the same file: it is one topology, at different times."""
    folder.mkdir(exist_ok=True)
    file = folder / "rack.yaml"
    file.write_text(f"version: 1\n{text}")
    return load(file)
