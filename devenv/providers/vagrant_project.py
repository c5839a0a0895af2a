"""One environment's folder for Vagrant, and the calls of the `vagrant` binary in it.

Not through python-vagrant: it has one machine a call and no `--parallel`, no snapshots, no time
limits, and it hides the output. A call takes about two seconds, so there are few: one `up` of all
that is missing, one `ssh-config`.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import devenv
from devenv.core.errors import DevenvError, HostError
from devenv.host.system import tail
from devenv.providers import vagrant_tools
from devenv.providers.vagrant_hypervisor import Hypervisor

_DATA, _FILE = "nodes.json", "Vagrantfile"


def vagrantfile() -> Path:
    """The Vagrantfile: beside the package in a checkout, in it when installed.

    :raises DevenvError: when it is in neither place.
    """
    package = Path(devenv.__file__).parent
    for folder in (package / "_data" / "vagrant", package.parent / "vagrant"):
        if (folder / _FILE).is_file():
            return folder / _FILE
    raise DevenvError("the Vagrantfile is not there", remedy="install devenv again")


@dataclass(frozen=True)
class Network:
    """A network card of a machine.

    :param name: the network's, where networks have names.
    :param mac: as Vagrant writes it, twelve hexadecimal digits.
    """

    name: str
    address: str
    netmask: str
    mac: str


@dataclass(frozen=True)
class MachineSpec:
    """A machine as the Vagrantfile is told it.

    :param memory: MiB.
    :param disk: GiB; None for what the box has.
    :param console: the file of its serial console, None for none.
    :param prepared: whether root has the environment's key.
    """

    name: str
    cpus: int
    memory: int
    disk: int | None
    networks: tuple[Network, ...]
    console: str | None
    prepared: bool


@dataclass(frozen=True)
class ProjectSpec:
    """All that the Vagrantfile is told.

    :param management: name and CIDR of the network that Vagrant itself uses.
    :param boot_timeout: seconds.
    """

    provider: str
    box: str
    box_version: str | None
    emulated: bool
    prefix: str
    management: dict[str, str]
    boot_timeout: int
    key: str
    nodes: tuple[MachineSpec, ...]


@dataclass(frozen=True)
class SshConfig:
    """How Vagrant reaches a machine."""

    host: str
    port: int
    user: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Message:
    """A line of ``vagrant --machine-readable``: its target is a machine, or empty."""

    target: str
    kind: str
    data: tuple[str, ...]


def parse(line: str) -> Message | None:
    """A line, after Vagrant's own documentation of its format; None if it is none."""
    parts = line.split(",")
    if len(parts) < 3 or not parts[0].isdigit():
        return None
    clean = (
        part.replace("%!(VAGRANT_COMMA)", ",").replace("\\n", "\n").replace("\\r", "")
        for part in parts[3:]
    )
    return Message(parts[1], parts[2], tuple(clean))


class Project:
    """Calls of `vagrant` for one environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pid_file = folder / "vagrant.pid"

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "VAGRANT_CWD": str(self.folder),
            "VAGRANT_NO_COLOR": "1",
            "VAGRANT_CHECKPOINT_DISABLE": "1",
        }

    def read(self) -> dict[str, object]:
        """What the Vagrantfile was told last; empty if the folder was lost."""
        try:
            found = json.loads((self.folder / _DATA).read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, spec: ProjectSpec) -> None:
        """The folder, with a copy of the Vagrantfile."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copyfile(vagrantfile(), self.folder / _FILE)
        partial = self.folder / f"{_DATA}.part"
        partial.write_text(json.dumps(spec, default=vars, indent=1) + "\n")
        partial.replace(self.folder / _DATA)

    def end_orphan(self) -> bool:
        """End a `vagrant` whose devenv was killed; says whether there was one."""
        return vagrant_tools.end_orphan(self._pid_file, self.folder)

    def up(
        self, nodes: Sequence[str], provider: str, timeout: float, say: Callable[[str, str], None]
    ) -> None:
        """Make machines, all at the same time.

        :param timeout: seconds for all.
        :param say: told a node and what Vagrant says of it.
        :raises HostError: with Vagrant's own words.
        """
        command = [
            "vagrant", "--machine-readable", "up", *nodes, f"--provider={provider}",
            "--parallel", "--no-provision", "--no-destroy-on-error",
        ]  # fmt: skip
        lines: list[str] = []
        errors: list[str] = []

        def each(line: str) -> None:
            message = parse(line)
            if message is None:
                lines.append(line)
            elif message.kind == "error-exit":
                errors.append("\n".join(message.data[1:]))
            elif message.kind == "ui" and len(message.data) > 1:
                text = re.sub(rf"^\s*(==> )?{message.target}: *", "", message.data[1]).strip()
                lines.append(f"{message.target}: {text}")
                if message.target and text and not text.startswith("--"):  # All its settings.
                    say(message.target, text)

        code = vagrant_tools.stream(
            command,
            each,
            timeout=timeout,
            environment=self._environment,
            pid_file=self._pid_file,
        )
        if code != 0:
            said = "\n".join(errors) or "\n".join(lines)
            why = f"exited with {code}" if code >= 0 else f"did not end in {timeout:.0f} s"
            raise HostError(f"`vagrant up` {why}", detail=tail(said, 20))

    def ssh_config(self, nodes: Sequence[str]) -> dict[str, SshConfig]:
        """How to reach `nodes`, by name, in one call.

        :raises HostError: with Vagrant's words when one of them is not up.
        """
        done = vagrant_tools.run(
            ["vagrant", "ssh-config", *nodes], environment=self._environment, timeout=120
        )
        if done.code != 0:
            raise HostError("`vagrant ssh-config` failed", detail=done.said)
        return dict(_ssh_configs(done.out))

    def forget(self) -> None:
        """Have Vagrant take the machines, which are gone, off its list; then the folder goes."""
        if not self.folder.exists():
            return
        if (self.folder / _DATA).exists():
            with contextlib.suppress(HostError):  # No vagrant any more: nothing else has a list.
                command = ["vagrant", "destroy", "--force", "--parallel"]
                vagrant_tools.run(command, environment=self._environment, timeout=120)
        shutil.rmtree(self.folder, ignore_errors=True)


def _ssh_configs(text: str) -> Iterator[tuple[str, SshConfig]]:
    for block in f"\n{text}".split("\nHost ")[1:]:
        name, _, rest = block.partition("\n")
        pairs = [line.split(None, 1) for line in rest.splitlines() if line.strip()]
        values = {pair[0].lower(): pair[1] for pair in pairs if len(pair) == 2}
        keys = tuple(p[1].strip('"') for p in pairs if p[0].lower() == "identityfile")
        yield (
            name.strip(),
            SshConfig(values["hostname"], int(values.get("port", 22)), values["user"], keys),
        )


def mac(hypervisor: Hypervisor, node: str, kind: str) -> str:
    """The address of a network card: always the same one, so that the node finds it by that."""
    from devenv.core.hashing import digest

    return "525400" + digest(hypervisor.prefix, node, kind)[:6]
