"""What is done to a machine by SSH, in one script: once when it is new, and when others come."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from devenv.core.errors import NodeError
from devenv.core.wait import NotYet, wait_until
from devenv.nodes.container import SYSCTLS
from devenv.nodes.node import Node, SshTarget
from devenv.providers import vagrant_tools
from devenv.providers.vagrant_project import SshConfig

#: What the script's answer begins with.
_ANSWER = "devenv-node "
#: What SSH says while a node boots.
_BOOTING = ("refused", "timed out", "No route", "reset by", "closed by", "unreachable", "banner")

# Each line on a name of a node is marked, so that those that are gone go; Debian's own line on
# the node's name would be a second address.
_HOSTS = r"""
sed -i -e '/# devenv$/d' -e '/^127\.0\.1\.1[[:space:]]/d' /etc/hosts
printf '%s\n' "$HOSTS" | sed 's/$/ # devenv/' >>/etc/hosts
"""

# At each boot, and by the cards' own addresses: their names are the box's affair. A bridge may
# have the address of a card that is a part of it.
_NETWORK = r"""#!/bin/sh
# Written by devenv: the static addresses of this node.
udevadm settle --timeout=60 || :
give() {
    for file in /sys/class/net/*/address; do
        device=${file%/address}; device=${device##*/}
        [ -e "/sys/class/net/$device/device" ] || continue
        [ "$(cat "$file")" = "$1" ] || continue
        ip link set "$device" up
        ip address replace "$2" dev "$device"
        echo "$device"
        return
    done
    echo "there is no network card with the address $1" >&2
    exit 1
}
"""

_FIRST = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive
printf '%s\n' "$NAME" >/etc/hostname
printf '%s\n' "$NAME" >/proc/sys/kernel/hostname

printf '%s\n' "$NETWORK" >/usr/local/sbin/devenv-network
chmod 755 /usr/local/sbin/devenv-network
cat >/etc/systemd/system/devenv-network.service <<'END'
[Unit]
Description=The static addresses of devenv's networks
Before=network-online.target docker.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/devenv-network
[Install]
WantedBy=multi-user.target
END
systemctl enable --quiet devenv-network.service
devices=$(/usr/local/sbin/devenv-network)

printf '%s\n' "$SYSCTLS" >/etc/sysctl.d/90-devenv.conf
sysctl -q -p /etc/sysctl.d/90-devenv.conf

# The key of the environment, for root, and in place of the one that everybody has.
install -d -m 700 /root/.ssh
printf '%s\n' "$KEY" >/root/.ssh/authorized_keys
chmod 600 /root/.ssh/authorized_keys
home=$(getent passwd "$LOGIN" | cut -d: -f6)
if [ "$LOGIN" != root ] && [ -e "$home/.ssh/authorized_keys" ]; then
    printf '%s\n' "$KEY" >"$home/.ssh/authorized_keys"
fi
if [ -d /etc/ssh/sshd_config.d ]; then
    echo 'PermitRootLogin prohibit-password' >/etc/ssh/sshd_config.d/00-devenv.conf
fi
# A host key of its own, not the box's. One of this type: making an RSA key takes long where the
# processor is emulated.
if [ ! -e /etc/ssh/.devenv ]; then
    rm -f /etc/ssh/ssh_host_*
    ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
    touch /etc/ssh/.devenv
    systemctl restart ssh 2>/dev/null || systemctl restart sshd
fi

# The disk may be larger than the box's.
if [ -n "$GROW" ]; then
    root=$(findmnt -no SOURCE /)
    part=$(cat "/sys/class/block/${root##*/}/partition" 2>/dev/null || :)
    if [ -n "$part" ]; then
        disk=$(basename "$(readlink -f "/sys/class/block/${root##*/}/..")")
        echo ', +' | sfdisk --no-reread --force -q -N "$part" "/dev/$disk" || :
        partx -u "/dev/$disk" 2>/dev/null || :
    fi
    resize2fs "$root" 2>/dev/null || xfs_growfs / >/dev/null 2>&1 || :
fi

if ! command -v dockerd >/dev/null; then
    # No network of its own: its packet filter would drop what the node routes for guests.
    install -d /etc/docker
    printf '%s\n' "$DOCKER" >/etc/docker/daemon.json
    if command -v apt-get >/dev/null; then
        apt-get -qq update && apt-get -qq install -y --no-install-recommends docker.io >/dev/null
    else
        dnf -q -y install moby-engine
    fi
fi
systemctl enable --quiet --now docker
host_key=$(cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)
echo devenv-node $devices $host_key
"""


_DOCKER = json.dumps(
    {
        "bridge": "none",
        "iptables": False,
        "ip6tables": False,
        "ip-masq": False,
        "storage-driver": "overlay2",
        "log-opts": {"max-size": "10m"},
    }
)


@dataclass(frozen=True)
class Prepared:
    """What is known of a machine after its first script."""

    interface: str
    host_key: str


def first(
    node: str,
    ssh: SshConfig,
    *,
    key: str,
    cards: Mapping[str, str],
    hosts: Mapping[str, str],
    grow: bool,
    timeout: float,
) -> Prepared:
    """Make a node of a machine that has just booted.

    :param key: the public key that root accepts from now on.
    :param cards: the address with its prefix of each network card, by the card's MAC; first the
        one on the API network, then the one on the external network.
    :param hosts: addresses of all nodes by name.
    :param grow: whether the disk is larger than the box's.
    :param timeout: seconds; installing Docker is a download.
    :raises NodeError: with what the script said.
    """
    gives = "".join(f"give {':'.join(_pairs(mac))} {address}\n" for mac, address in cards.items())
    values = {
        "NAME": node,
        "KEY": key,
        "LOGIN": ssh.user,
        "NETWORK": _NETWORK + gives,
        "SYSCTLS": "\n".join(f"{name} = {value}" for name, value in SYSCTLS.items()),
        "HOSTS": _hosts(hosts),
        "DOCKER": _DOCKER,
        "GROW": "yes" if grow else "",
    }
    command = [
        "ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
        "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes",
        "-o", "ConnectTimeout=30", *(word for each in ssh.keys for word in ("-i", each)),
        "-p", str(ssh.port), f"{ssh.user}@{ssh.host}", "sudo", "-n", "sh", "-s",
    ]  # fmt: skip
    done = vagrant_tools.run(command, stdin=_script(values, _FIRST + _HOSTS), timeout=timeout)
    answers = [line for line in done.out.splitlines() if line.startswith(_ANSWER)]
    if done.code != 0 or not answers:
        raise NodeError(
            f"the machine could not be prepared by SSH (code {done.code})",
            node=node,
            detail=done.said,
            remedy="a box needs sudo without a password, systemd, and Docker or a way to get it",
        )
    _, _, interface, *host_key = answers[0].split()
    return Prepared(interface, " ".join(host_key))


def _pairs(mac: str) -> list[str]:
    return [mac[at : at + 2] for at in range(0, 12, 2)]


def _hosts(hosts: Mapping[str, str]) -> str:
    return "\n".join(f"{address} {name}" for name, address in hosts.items())


def _script(values: Mapping[str, Any], text: str) -> str:
    """The script without arguments: others would see those."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items()) + text


def again(
    node: Node, hosts: Mapping[str, str], *, timeout: float, clock: float | None = None
) -> None:
    """Wait until `node` answers; then it knows the others.

    :param clock: seconds since the epoch to set its clock to.
    :param timeout: seconds.
    :raises NodeError: when it refuses the key.
    :raises WaitTimeout: when it does not answer.
    """
    script = _script({"HOSTS": _hosts(hosts)}, "set -eu\n" + _HOSTS)
    if clock is not None:
        script += f"date -u -s @{clock:.0f} >/dev/null\n"
    reach(node.name, node.ssh, script, timeout)


def reach(name: str, ssh: SshTarget, script: str, timeout: float) -> None:
    """Run a shell script on a node, again until SSH gets through."""

    def ask() -> None:
        command = ["ssh", *ssh.options(), ssh.destination, "sh", "-s"]
        done = vagrant_tools.run(command, stdin=script, timeout=max(timeout, 60))
        if done.code == 255 and any(word in done.error for word in _BOOTING):
            raise NotYet(done.said)
        if done.code != 0:
            raise NodeError("SSH did not get through", node=name, detail=done.said)

    wait_until(ask, what="SSH to answer", timeout=timeout, node=name)
