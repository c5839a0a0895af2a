"""The first things in a new cloud: `resources`, then a `guest` that answers. Finds, then makes."""

import json
import socket
import sys
import time

import openstack

with open(sys.argv[2]) as source:
    wanted = json.load(source)
cloud = openstack.connection.Connection(
    auth=wanted["auth"],
    region_name=wanted["region"],
    identity_api_version="3",
    interface="internal",
)
network, compute, image = cloud.network, cloud.compute, cloud.image


def say(*words):
    print(f"{time.monotonic() - began:6.1f}s", *words, flush=True)


def resources():
    for name, fields in {
        "external": {
            "is_router_external": True,
            "is_shared": True,
            "provider_network_type": "flat",
            "provider_physical_network": "physnet1",
        },
        "internal": {},
    }.items():
        if not network.find_network(name):
            network.create_network(name=name, **fields)
            say("network", name)
    nets = {name: network.find_network(name) for name in ("external", "internal")}
    outside = wanted["external"]
    if not network.find_subnet("external"):
        network.create_subnet(
            name="external",
            network_id=nets["external"].id,
            ip_version=4,
            cidr=outside["cidr"],
            gateway_ip=outside["gateway"],
            is_dhcp_enabled=False,
            allocation_pools=[{"start": outside["start"], "end": outside["end"]}],
        )
    subnet = network.find_subnet("internal") or network.create_subnet(
        name="internal",
        network_id=nets["internal"].id,
        ip_version=4,
        cidr=wanted["tenant"],
        is_dhcp_enabled=True,
    )
    router = network.find_router("router")
    if not router:
        router = network.create_router(
            name="router", external_gateway_info={"network_id": nets["external"].id}
        )
        say("router")
    if not list(network.ports(device_id=router.id, network_id=nets["internal"].id)):
        network.add_interface_to_router(router, subnet_id=subnet.id)
    group = network.find_security_group("default", project_id=cloud.current_project_id)
    present = {rule.protocol for rule in network.security_group_rules(security_group_id=group.id)}
    for protocol in ("icmp", "tcp"):
        if protocol not in present:
            network.create_security_group_rule(
                security_group_id=group.id,
                direction="ingress",
                ethertype="IPv4",
                protocol=protocol,
                remote_ip_prefix="0.0.0.0/0",
            )
    if not compute.find_flavor("tiny"):
        compute.create_flavor(name="tiny", ram=96, vcpus=1, disk=1)
        say("flavor tiny")
    if not compute.find_keypair("devenv"):
        compute.create_keypair(name="devenv", public_key=wanted["public_key"])
    if not image.find_image("guest"):
        image.create_image(
            name="guest",
            filename="/guest.qcow2",
            disk_format="qcow2",
            container_format="bare",
            visibility="public",
            hw_video_model="none",
            wait=True,
            validate_checksum=False,
        )
        say("image guest")


def guest():
    name = wanted["guest"]
    port = network.find_port(name) or network.create_port(
        name=name, network_id=network.find_network("internal").id
    )
    addresses = list(network.ips(port_id=port.id))
    floating = (
        addresses[0]
        if addresses
        else network.create_ip(
            floating_network_id=network.find_network("external").id, port_id=port.id
        )
    )
    server = compute.find_server(name)
    if server and server.status == "ERROR":
        discard(server)
        server = None
    if not server:
        wait("a compute node", 120, lambda: any(h.state == "up" for h in compute.hypervisors()))
        server = boot(name, port)
    if server.status == "SHUTOFF":
        compute.start_server(server)
        say("server", "started again")
    try:
        server = compute.wait_for_server(server, wait=180, interval=1)
    except openstack.exceptions.ResourceFailure:
        fault = compute.get_server(server.id).fault or {}
        raise SystemExit(f"the server is in ERROR: {fault.get('message')}") from None
    say("server", server.status)
    address = floating.floating_ip_address
    wait(f"{address} to answer", 120, lambda: answers(address))
    say("guest", address, "answers")
    # The last line is the record that `devenv status` reads.
    print(json.dumps({"name": name, "address": address}), flush=True)


def boot(name, port):
    # A compute node may have registered and not be mapped to its cell yet: that is NoValidHost,
    # and a second try a few seconds later is what anybody would do.
    for attempt in range(20):
        server = compute.create_server(
            name=name,
            image_id=image.find_image("guest").id,
            flavor_id=compute.find_flavor("tiny").id,
            networks=[{"port": port.id}],
            key_name="devenv",
        )
        say("server", server.id)
        while server.status == "BUILD" and not server.compute_host:
            time.sleep(0.5)
            server = compute.get_server(server.id)
        if server.status != "ERROR":
            return server
        say("server", "ERROR", (server.fault or {}).get("message"))
        if "No valid host" not in str(server.fault) or attempt == 19:
            raise SystemExit(1)
        discard(server)
        time.sleep(1)
    raise SystemExit(1)


def discard(server):
    say("deleting server", server.id, server.status)
    compute.delete_server(server)
    compute.wait_for_delete(server)


def answers(address):
    try:
        with socket.create_connection((address, 7), timeout=1) as connection:
            connection.sendall(b"devenv\n")
            return connection.recv(16).startswith(b"devenv")
    except OSError:
        return False


def wait(what, seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            say("waited", seconds, "s for", what)
            raise SystemExit(1)
        time.sleep(0.3)


began = time.monotonic()
{"resources": resources, "guest": guest}[sys.argv[1]]()
