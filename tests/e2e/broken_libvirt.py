"""Makes nova_libvirt again without what keeps guests alive: ``broken_libvirt.py ENVIRONMENT``.

Without the node's process ids the engine ends the container by ending its pid namespace, with
every qemu in it. The next `devenv up` puts the container right. Guests that ran before it was
broken are lost: this libvirt cannot see their qemu, so nova takes them for stopped while they
run on.
"""

from __future__ import annotations

import sys
from typing import Any

from devenv.core import labels
from devenv.core.events import Events
from devenv.core.redact import Redactor
from devenv.environment import Environment
from devenv.providers import discover
from devenv.testing.containers import Containers


def without_the_nodes_processes(config: dict[str, Any]) -> None:
    """What a careless change of the service would do."""
    config["HostConfig"]["PidMode"] = ""
    config["Labels"][labels.HASH] = "broken"  # `up` sees that it is not what it made.


def main(name: str) -> None:
    """Break nova_libvirt of the environment `name` on every node that has it."""
    environment = Environment(name, discover.find(name).provider, Events(), Redactor())
    with environment.connections() as connections:
        containers = Containers(environment.inventory(), connections, environment.events)
        for found in list(containers.all().values()):
            if found.name == "nova_libvirt":
                containers.recreate(found, without_the_nodes_processes)


if __name__ == "__main__":
    main(sys.argv[1])
