"""What this machine holds of an environment, asked of the machine and not of devenv."""

from __future__ import annotations

import subprocess
from pathlib import Path


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def leftovers(name: str) -> list[str]:
    """Containers, volumes, networks, qemu, network namespaces, mounts, ssh and cgroups."""
    found = []
    for kind, command in {
        "container": ("docker", "ps", "--all", "--format", "{{.Names}}"),
        "volume": ("docker", "volume", "ls", "--format", "{{.Name}}"),
        "network": ("docker", "network", "ls", "--format", "{{.Name}}"),
    }.items():
        ours = (f"devenv-{name}", "devenv-builder")
        found += [f"{kind} {line}" for line in _lines(*command) if line.startswith(ours)]
    running = _lines("docker", "ps", "--quiet")
    pids = _lines("docker", "inspect", "--format", "{{.State.Pid}}", *running) if running else []
    others = {Path(f"/proc/{pid}/ns/pid").readlink() for pid in pids}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            comm, stat = (process / "comm").read_text(), (process / "stat").read_text()
            namespace, command = (process / "ns/pid").readlink(), (process / "cmdline").read_bytes()
        except OSError:
            continue
        # A zombie is gone: it waits for its parent to read its exit code.
        alive = stat.rsplit(")", 1)[1].split()[0] != "Z"
        # A guest in a container that runs is another environment's.
        if comm.startswith("qemu-system") and alive and namespace not in others:
            found.append(f"process {process.name} {comm.strip()}")
        if comm.strip() == "ssh" and name.encode() in command:
            found.append(f"process {process.name} ssh")
    found += [f"netns {line}" for line in Path("/run/netns").glob("ovnmeta-*")]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [f"mount {line}" for line in mounts if f"devenv-{name}" in line]
    cgroups = Path("/sys/fs/cgroup")
    # A libvirtd of the machine's own has the group without a guest in it.
    found += [f"cgroup {path}" for path in cgroups.glob("*/machine*/*/")]
    return found
