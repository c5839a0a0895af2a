"""A guest boots, answers on its floating IP, stops, starts, and goes without a trace.

Answering is more than a ping: without the right offload settings small packets pass and bulk TCP
crawls at 0.2 MB/s, so both directions are measured with megabytes.
"""

from __future__ import annotations

from devenv.core.wait import NotYet, wait_until

#: MB/s. What crawls is ten times slower, what works is at least five times faster.
SANE_RATE = 2.0
#: Where nova keeps the disks of servers, on the volume of that name.
INSTANCES = "/var/lib/docker/volumes/nova_compute/_data/instances"


def test_a_guest_from_boot_to_delete(guest, cloud, nodes, measure, phase):
    vm = guest(name="nova-boot")
    measure("boot to ACTIVE", vm.seconds["active"], "s")
    measure("boot to an answer", vm.seconds["answers"], "s")

    with phase("the network: ping, TCP, bulk TCP both ways"):
        with vm.ping() as ping:
            assert vm.echo(b"a few bytes\n") == b"a few bytes\n"
            down, up = vm.download(16), vm.upload(8)
        measure("bulk TCP from the guest", down, "MB/s")
        measure("bulk TCP to the guest", up, "MB/s")
        assert min(down, up) > SANE_RATE, f"bulk TCP crawls: {down:.2f} down, {up:.2f} MB/s up"
        report = ping.report()
        measure("pings sent beside bulk TCP", report.sent)
        measure("pings lost beside bulk TCP", report.lost)
        assert report.lost < report.sent, f"no ping was answered: {report}"

    with phase("metadata and console"):
        facts = vm.facts()
        server = cloud.compute.get_server(vm.id)
        assert facts.instance_id == server.instance_name.replace("instance", "i")
        assert facts.hostname.split(".")[0] == vm.name
        read = wait_metadata(vm)
        assert (read["uuid"], read["instance-id"]) == (vm.id, facts.instance_id)
        last = beats(vm, facts.boot_id)
        grown = wait_until(
            lambda: newer(vm, facts.boot_id, last), what="the console to grow", timeout=20
        )
        assert vm.console().missing(facts.boot_id) == []
        measure("console lines more", grown - last)

    before = vm.qemu()
    assert before, "the server is ACTIVE and there is no qemu for it on its node"

    measure("stop", vm.stop(), "s")
    vm.wait_qemu_gone()

    vm.start()
    again = vm.wait_answers()
    assert again.boot_id != facts.boot_id, "the guest says that it was never off"
    now = vm.qemu()
    assert now, "the server is ACTIVE again and there is no qemu for it on its node"
    assert now.same != before.same

    ports = [port.id for port in cloud.network.ports(device_id=vm.id)]
    disk = nodes[vm.node].file(f"{INSTANCES}/{vm.id}")
    assert ports and disk.is_directory and allocations(cloud, vm.id)

    with phase("delete"):
        vm.delete()
        vm.wait_qemu_gone(timeout=5)
        wait_until(lambda: no_trace(cloud, vm, disk), what="nothing to be left", timeout=20)


def wait_metadata(vm):
    """What the guest said on its console about the metadata that it read."""

    def said():
        found = vm.console().metadata
        if not found:
            raise NotYet("no such line on the console")
        return found

    return wait_until(said, what="metadata on the console", timeout=30)


def beats(vm, boot_id):
    """The sequence number of the last heartbeat on the console; 0 if there is none."""
    return max((beat.seq for beat in vm.console().beats(boot_id)), default=0)


def newer(vm, boot_id, last):
    """The last heartbeat on the console, if it is later than `last`."""
    now = beats(vm, boot_id)
    if now <= last:
        raise NotYet(f"the last heartbeat is still {now}")
    return now


def allocations(cloud, server):
    """What placement holds for a server."""
    answer = cloud.placement.get(f"/allocations/{server}")
    assert answer.status_code == 200, answer.text
    return answer.json()["allocations"]


def no_trace(cloud, vm, disk):
    """Nothing of a deleted server is left in neutron, in placement, or on its node."""
    left = {
        "ports": [port.id for port in cloud.network.ports(device_id=vm.id)],
        "floating IP": [ip.id for ip in cloud.network.ips(floating_ip_address=vm.address)],
        "allocations": allocations(cloud, vm.id),
        "disk": disk.exists,
    }
    left = {what: found for what, found in left.items() if found}
    if left:
        raise NotYet(f"left: {left}")
