"""Run in the openstack-base image: what the lock names is installed, every program loads."""

import importlib.metadata as metadata
import os
import re
from pathlib import Path

PROGRAMS = {
    "keystone": ["keystone-manage"],
    "glance": ["glance-manage"],
    "openstack-placement": ["placement-manage"],
    "nova": ["nova-manage", "nova-conductor", "nova-scheduler", "nova-novncproxy", "nova-compute"],
    "neutron": [
        *("neutron-db-manage", "neutron-periodic-workers"),
        *("neutron-ovn-maintenance-worker", "neutron-ovn-agent"),
    ],
}
#: A pin, and the marker that may follow it.
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(?: ; (.*?))? \\$", re.MULTILINE)

pins = PIN.findall(Path("/var/lib/kolla/requirements.lock").read_text())
wrong = {
    name: (version, metadata.version(name))
    for name, version, marker in pins
    if not marker and metadata.version(name) != version
}
assert len(pins) > 100 and not wrong, (len(pins), wrong)
children = {}
for service, names in PROGRAMS.items():
    points = {point.name: point for point in metadata.distribution(service).entry_points}
    for name in names:
        # A process each: the programs choose between threads and eventlet once for all.
        children[name] = os.fork()
        if children[name] == 0:
            points[name].load()
            os._exit(0)
failed = [name for name, pid in children.items() if os.waitpid(pid, 0)[1] != 0]
assert not failed, failed
print(f"{len(pins)} distributions, {len(children)} programs")  # noqa: T201
