"""Processes on a node, as /proc tells of them (proc(5))."""

from __future__ import annotations

from dataclasses import dataclass

from devenv.nodes.connection import Connection


@dataclass(frozen=True)
class Process:
    """A process that was there.

    :param started: clock ticks after the node's boot; with `pid` it names one process for ever.
    :param state: the letter that ps shows; Z is dead and not yet reaped.
    :param cgroups: path by controller; the unified hierarchy is the empty name.
    """

    pid: int
    started: int
    state: str
    cgroups: dict[str, str]

    @property
    def same(self) -> tuple[int, int]:
        """What two looks at the same process have in common."""
        return self.pid, self.started

    def dies_with(self, container: str) -> bool:
        """Whether it is where the engine kills when the container with this id stops.

        In a shared pid namespace runc kills what is in the container's cgroup: of cgroup v1 the
        devices controller's, of v2 the only one. What libvirt does not manage (pids, the name of
        systemd) stays the container's on v1, and nobody kills by it.
        """
        return any(container in self.cgroups.get(name, "") for name in ("devices", ""))


def qemu(connection: Connection, server: str) -> Process | None:
    """The qemu of a server by its UUID, or None if there is none; a zombie is none.

    :raises NodeError: when the node does not answer.
    """
    # The brackets keep the pattern from finding the shell that carries it.
    pattern = f"[{server[0]}]{server[1:]}"
    script = (
        f"for file in $(grep -lsa -e '{pattern}' /proc/[0-9]*/cmdline); do pid=${{file%/cmdline}}; "
        'case $(cat "$pid/comm") in qemu-system*) cat "$pid/stat" "$pid/cgroup"; break;; esac; '
        "done 2>/dev/null; true"
    )
    found = parse(connection.run(script).stdout.decode(errors="replace"))
    return found if found and found.state not in ("Z", "X") else None


def parse(text: str) -> Process | None:
    """Read /proc/PID/stat with /proc/PID/cgroup after it; None if it was gone meanwhile."""
    stat, _, groups = text.partition("\n")
    head, _, rest = stat.rpartition(")")  # The name before it may hold anything.
    fields = rest.split()
    if len(fields) < 20:
        return None
    cgroups = {}
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            cgroups[controller] = path
    return Process(int(head.split(" ", 1)[0]), int(fields[19]), fields[0], cgroups)
