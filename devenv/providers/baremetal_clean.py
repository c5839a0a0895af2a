"""Takes an environment off a host, and at wish all that was ever changed there."""

from __future__ import annotations

import shlex

from devenv.core import labels
from devenv.core.errors import NodeError
from devenv.providers import baremetal_firewall
from devenv.providers.baremetal_facts import PREFACE, Facts
from devenv.providers.baremetal_journal import FILE, PENDING, Changes
from devenv.providers.baremetal_lock import FOLDER
from devenv.providers.baremetal_prepare import LIST
from devenv.providers.baremetal_ssh import Shell

#: Folders on the host that our containers are made from or share.
_SHARED = ("/etc/kolla", "/run/libvirt", "/run/openvswitch", "/run/ovn", "/run/netns",
           "/var/lib/libvirt", "/var/lib/nova")  # fmt: skip

#: What is left of containers that are gone: guests, their cgroups, namespaces, bridges, faults.
#: The kernel's switch keeps its bridges when its daemon goes, so those are deleted through it.
_CONTAINERS = f"""{PREFACE}
label="{labels.ENVIRONMENT}=$environment"
if command -v docker >/dev/null && timeout 20 docker version >/dev/null 2>&1; then
  for bridge in br-int br-ex br-underlay; do
    [ -d /sys/class/net/$bridge ] && timeout 20 docker exec openvswitch_vswitchd \\
      ovs-vsctl --timeout=10 --if-exists del-br $bridge >/dev/null 2>&1
  done
  helpers=$(docker ps -q --filter label={labels.PREFIX}fault)
  for helper in $helpers; do
    docker exec -u root $helper sh -c 'nft list tables | grep devenv_fault_ |
      while read -r word family table; do nft delete table "$family" "$table"; done'
  done >/dev/null 2>&1
  docker ps -aq --filter label={labels.PREFIX}fault | xargs -r docker rm -f -v >/dev/null
  for name in $(docker ps -a --filter "label=$label" --format '{{{{.Names}}}}'); do
    docker rm -f -v "$name" >/dev/null && echo "container $name"
  done
  for name in $(docker volume ls -q --filter "label=$label"); do
    docker volume rm -f "$name" >/dev/null && echo "volume $name"
  done
  for name in $(docker network ls --filter "label=$label" --format '{{{{.Name}}}}'); do
    docker network rm "$name" >/dev/null && echo "network $name"
  done
fi
"""

_LEFTOVERS = f"""{PREFACE}
for process in /proc/[0-9]*; do
  case "$(cat $process/comm 2>/dev/null)" in qemu-system*) ;; *) continue ;; esac
  # nova's names; a guest of the host's own is left alone.
  tr '\\000' ' ' <$process/cmdline 2>/dev/null | grep -q 'guest=instance-' || continue
  kill -9 "${{process#/proc/}}" && echo "guest process ${{process#/proc/}}"
done
find /sys/fs/cgroup -depth -type d -path '*machine*instance*' -exec rmdir {{}} + 2>/dev/null
for space in /run/netns/ovnmeta-*; do
  [ -e "$space" ] || continue
  umount "$space" 2>/dev/null; rm -f "$space" && echo "network namespace ${{space##*/}}"
done
for device in br-ex br-int br-underlay vxlan-underlay; do
  [ -d /sys/class/net/$device ] && ip link delete $device 2>/dev/null && echo "device $device"
done
for path in {" ".join(_SHARED)}; do
  case " $absent " in *" $path "*) ;; *) continue ;; esac
  [ -e "$path" ] || continue
  awk -v path="$path" '$2 == path || index($2, path "/") == 1 {{ print $2 }}' /proc/mounts |
    sort -r | while read -r mount; do umount "$mount" 2>/dev/null || umount -l "$mount"; done
  rm -rf "$path" && echo "folder $path"
done
true
"""

#: The device was flushed when it became a part of the provider bridge: down and up again gives
#: it the address that the kernel makes by itself, too.
_DEVICE = """
if [ -d /sys/class/net/{device} ]; then
  now=$(ip -o -4 address show dev {device} | awk '{{print $4}}' | sort | tr '\\n' ' ')
  if [ "$now" != "{sorted}" ]; then
    ip link set {device} down; {up}
    for address in {addresses}; do ip address replace $address dev {device} brd +; done
  fi
fi
"""

#: Key and names go last, in one script: they are how devenv came in.
_LEAVE = """
file=/root/.ssh/authorized_keys
if grep -qs " devenv:$environment\\$" "$file"; then
  kept=$(grep -v " devenv:$environment\\$" "$file" || true; echo x)
  printf %s "${kept%x}" > "$file"
fi
kept=$(sed "/^# devenv:$environment begin$/,/^# devenv:$environment end$/d" /etc/hosts; echo x)
[ "$kept" = "$(cat /etc/hosts; echo x)" ] || printf %s "${kept%x}" > /etc/hosts
for path in /root/.ssh/authorized_keys /root/.ssh; do
  case " $absent " in *" $path "*) ;; *) continue ;; esac
  if [ -f "$path" ] && [ ! -s "$path" ]; then rm -f "$path"; fi
  if [ -d "$path" ]; then rmdir "$path" 2>/dev/null; fi
done
"""

_STOP_ENGINE = f"""{PREFACE}
if [ -d /run/systemd/system ]; then systemctl stop docker.socket docker.service containerd >&2; fi
pid=$(cat /run/docker.pid 2>/dev/null)
if [ -n "$pid" ] && [ "$(cat /proc/$pid/comm 2>/dev/null)" = dockerd ]; then
  kill "$pid"
  for i in $(seq 60); do
    case "$(cut -d' ' -f3 /proc/$pid/stat 2>/dev/null)" in ''|Z) break ;; esac; sleep 0.5
  done
fi
true
"""

_RESTORE = f"""{PREFACE}
set -eu
{LIST}
if [ -f {PENDING} ]; then
  list > {PENDING}.after
  packages="$packages $(comm -13 {PENDING} {PENDING}.after)"
fi
there=$(list)
going=$(for one in $packages; do echo "$there" | grep -qxF "$one" && echo "$one"; done | sort -u)
if [ -n "$going" ]; then
  # Not apt-get: it would take along what others installed on top.
  export DEBIAN_FRONTEND=noninteractive
  if command -v dpkg >/dev/null; then dpkg --purge $going >&2 </dev/null
  else rpm -e $going >&2; fi
  for one in $going; do echo "package $one"; done
fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload >&2; fi
for path in $absent; do
  [ -e "$path" ] || [ -L "$path" ] || continue
  case "$path" in
    /root/.ssh*) continue ;;
    # Others may have put something there since.
    /etc/sysctl.d|/lib/modules) rmdir "$path" 2>/dev/null || true; continue ;;
  esac
  awk -v path="$path" '$2 == path || index($2, path "/") == 1 {{ print $2 }}' /proc/mounts |
    sort -r | while read -r mount; do umount "$mount" 2>/dev/null || umount -l "$mount"; done
  rm -rf "$path"
  echo "$path"
done
for group in $groups; do
  grep -q "^$group:" /etc/group || continue
  groupdel "$group" && echo "group $group"
done
printf '%s\\n' "$sysctls" | while IFS='=' read -r name value; do
  path=/proc/sys/$(echo "$name" | tr . /)
  [ -z "$name" ] || [ "$(cat "$path" 2>/dev/null)" = "$value" ] || echo "$value" > "$path" || true
done
"""

#: An engine that was there keeps its own images.
_IMAGES = f"""{PREFACE}
docker images -q --filter label={labels.RECIPE} | sort -u | xargs -r docker rmi -f >/dev/null 2>&1
true
"""


def clear(shell: Shell, facts: Facts, environment: str) -> list[str]:
    """Remove what `environment` has on a host, all but the way in; says what it removed.

    The engine and its images stay: the next `up` has them already.
    """
    changes = facts.changes
    absent = " ".join(changes.absent) if changes else ""
    head = f"environment={shlex.quote(environment)} absent={shlex.quote(absent)}\n"
    removed = shell.run(head + _CONTAINERS, timeout=600).out.splitlines()
    removed += shell.run(head + _LEFTOVERS).out.splitlines()
    if changes is None:
        return removed
    devices = "".join(_device(device, changes) for device in changes.addresses)
    rules = baremetal_firewall.removal(environment, changes.sources)
    shell.run(f"{PREFACE}{devices}{rules}\ntrue")
    return removed


def _device(device: str, changes: Changes) -> str:
    addresses = changes.addresses[device]
    quoted = shlex.quote(device)
    return _DEVICE.format(
        device=quoted,
        addresses=" ".join(addresses),
        sorted="".join(f"{address} " for address in sorted(addresses)),
        up="" if device in changes.down else f"ip link set {quoted} up",
    )


def leave_script(changes: Changes | None, environment: str) -> str:
    """Takes away the names and the key; after it nobody of the environment gets in."""
    absent = " ".join(changes.absent) if changes else ""
    return f"environment={shlex.quote(environment)} absent={shlex.quote(absent)}\n{_LEAVE}\ntrue"


def restore(shell: Shell, changes: Changes, name: str) -> list[str]:
    """Take back what the journal says; says what went. Killed, it can be run again.

    :raises NodeError: when packages cannot go, for others that came later need them.
    """
    if changes.installed or changes.started:
        shell.run(_STOP_ENGINE, timeout=180)
    if not changes.installed:
        shell.run(_IMAGES, timeout=600)
    values = {
        "packages": " ".join(changes.packages),
        "absent": " ".join(changes.absent),
        "groups": " ".join(changes.groups),
        "sysctls": "\n".join(f"{key}={value}" for key, value in changes.sysctls.items()),
    }
    head = "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items())
    done = shell.run(head + _RESTORE, check=False, timeout=900)
    if done.code != 0:
        raise NodeError(
            "it could not be made as it was found",
            node=name,
            detail="\n".join((done.err or done.out).strip().splitlines()[-15:]),
            remedy=f"mend what it names, then run the command again; {FILE} on the host says what "
            "was changed",
        )
    return done.out.splitlines()


#: The journal goes last, and with it the folder with the lock.
FORGET = f"rm -rf {FOLDER}"
