"""The neutron ports of machines that an Ironic deploys: one a node, with its address."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from devenv.core.errors import NodeError

if TYPE_CHECKING:
    from openstack.baremetal.v1.node import Node as Machine
    from openstack.connection import Connection
    from openstack.network.v2.port import Port


def attach(
    connection: Connection, machine: Machine, network: str, environment: str, node: str
) -> None:
    """Make the port of `node` if there is none, and attach it if it is not attached."""
    port = _port(connection, environment, node) or connection.network.create_port(
        network_id=network, name=node, description=_mark(environment)
    )
    if port.id not in connection.baremetal.list_node_vifs(machine):
        connection.baremetal.attach_vif_to_node(machine, port.id)


def address(connection: Connection, environment: str, node: str) -> IPv4Address:
    """The address of the port of `node`.

    :raises NodeError: it has no port, or none with an IPv4 address.
    """
    port = _port(connection, environment, node)
    found = [fixed["ip_address"] for fixed in (port.fixed_ips if port else None) or ()]
    for text in found:
        if ":" not in text:
            return IPv4Address(text)
    raise NodeError(
        f"its port in neutron has no IPv4 address ({', '.join(found) or 'no port'})",
        node=node,
        remedy="give the network of baremetal.ironic an IPv4 subnet; then `devenv up`",
    )


def remove(connection: Connection, environment: str, node: str) -> None:
    """Delete the port of `node` if it is there. Ironic does not mind: it undoes what is left."""
    if port := _port(connection, environment, node):
        connection.network.delete_port(port)


def _port(connection: Connection, environment: str, node: str) -> Port | None:
    marked = connection.network.ports(description=_mark(environment), name=node)
    return next(iter(marked), None)


def _mark(environment: str) -> str:
    return f"devenv environment {environment}"
