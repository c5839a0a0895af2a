"""The guests on a compute node, as its hypervisor has them."""

from __future__ import annotations

from devenv.nodes.connection import Connection

#: Nova writes a server's name into its domain. qemu is looked at, so that it can be told without
#: libvirt, too: what runs is in the process list whatever happened to the daemon.
_SCRIPT = """
cd /var/lib/docker/volumes/libvirtd_qemu/_data 2>/dev/null || exit 0
for file in *.xml; do
    [ -f "$file" ] || continue
    grep -qsa -e "guest=${file%.xml}," /proc/[0-9]*/cmdline || continue
    sed -n "s:.*<nova\\:name>\\(.*\\)</nova\\:name>.*:\\1:p" "$file" | head -n 1
done
true
"""


def guests(connection: Connection) -> list[str]:
    """The names of the servers that run on a node."""
    return connection.run(_SCRIPT).stdout.decode(errors="replace").splitlines()
