"""The libvirt container is stopped, killed and replaced, and a running guest never notices.

Upstream had this family of bugs for years: every stop of nova_libvirt killed all guests
(bugs.launchpad.net/kolla-ansible/+bug/1941706). One guest lives through the whole file. What is
found dead is said at once, and the tests after that have nothing to wait for.
"""

from __future__ import annotations

import time

import pytest

from devenv.core.wait import NotYet, wait_until

LIBVIRT, COMPUTE = "nova_libvirt", "nova_compute"
#: Another tag of the same image stands for the next version of it.
NEXT = "scenario-next"
#: Seconds without an answer that still count as none: the processors are shared with the guest.
GAP = 1.0
#: Seconds of the guest's own clock between two heartbeats, which come every second.
PAUSE = 5.0
#: Seconds in which nova may still find no host: it learns slowly that libvirt is back.
NO_VALID_HOST = 150


@pytest.fixture(scope="module")
def stock(containers):
    """The containers as they are; afterwards they are again as `up` made them."""
    before = [containers.inspect(name) for name in (LIBVIRT, COMPUTE)]
    yield before
    for container in before:
        containers.put_back(container)
        assert containers.inspect(container.name).hash == container.hash
    containers.untag(before[0], NEXT)


@pytest.fixture(scope="module")
def vm(guest, stock):
    """The guest that has to live."""
    return guest(name="survivor", retry=NO_VALID_HOST)


def stop_and_start(containers):
    containers.stop(LIBVIRT)
    containers.start(LIBVIRT)


def kill(containers):
    containers.kill(LIBVIRT)
    containers.start(LIBVIRT)


def upgrade(containers):
    reference = containers.tag(LIBVIRT, NEXT)
    containers.replace(LIBVIRT, reference)
    assert containers.inspect(LIBVIRT).image == reference


def restart_compute(containers):
    containers.restart(COMPUTE)


@pytest.mark.parametrize("change", [stop_and_start, kill, upgrade, restart_compute])
def test_the_guest_never_notices(change, vm, guest, cloud, containers, measure, phase):
    name = COMPUTE if change is restart_compute else LIBVIRT
    before, container = vm.qemu(), containers.inspect(name)
    assert before, f"there is no qemu of {vm.name}: it did not survive an earlier test"
    boot_id = vm.facts().boot_id
    with vm.ping() as ping:
        begin = time.monotonic()
        with phase(f"{change.__name__.replace('_', ' ')}: {name}"):
            change(containers)
        measure(f"{name} answers again", time.monotonic() - begin, "s")
        must_be_the_same(vm, before, container)
        assert containers.inspect(name).started != container.started, "nothing was restarted"
        with phase("libvirt and nova see the guest again"):
            wait_until(
                lambda: seen(vm, cloud, containers), what="libvirt and nova to agree", timeout=60
            )
        with phase("a new guest"):
            new = guest(name="after", retry=NO_VALID_HOST)
            measure("new guest answers, with all retries", new.seconds["answers"], "s")
            measure("NoValidHost before", new.refused)
            new.delete()
        must_be_the_same(vm, before, container)
        facts = vm.facts()
    report = ping.report()
    measure("pings sent", report.sent)
    measure("pings lost", report.lost)
    measure("longest gap", report.longest_gap, "s")
    assert report.longest_gap <= GAP, f"the guest was away: {report}"
    assert facts.boot_id == boot_id, "the guest was booted again"
    console = vm.console()
    assert console.missing(boot_id) == [], "heartbeats are missing on the console"
    measure("longest pause of the guest", console.longest_pause(boot_id), "s")
    assert console.longest_pause(boot_id) <= PAUSE, "the guest stood still"
    assert console.beats(boot_id)[-1].seq >= facts.heartbeat, "the console has stopped"


def test_nova_still_rules_the_guest(vm, measure):
    assert vm.qemu(), f"there is no qemu of {vm.name}: it did not survive an earlier test"
    measure("server stop", vm.stop(), "s")
    vm.wait_qemu_gone()


def must_be_the_same(vm, before, container):
    """The guest's qemu is the process that it was, outside the container that was changed."""
    now = vm.qemu()
    assert now, (
        f"the guest died with {container.name}: its qemu (process {before.pid}, "
        f"cgroup {before.cgroups.get('devices') or before.cgroups.get('')}) is gone"
    )
    assert now.same == before.same, f"the guest's qemu was another before: {before}, now {now}"
    assert not now.dies_with(container.id), (
        f"qemu is in the cgroup of {container.name} and dies with it: {now.cgroups}"
    )


def seen(vm, cloud, containers):
    """Libvirt lists the guest, nova's service is up, and nova reads the guest's console."""
    if vm.id not in containers.exec(LIBVIRT, ["virsh", "-c", "qemu:///system", "list", "--uuid"]):
        raise NotYet("libvirt does not list the guest")
    (service,) = [
        service
        for service in cloud.compute.services(binary="nova-compute")
        if service.host == vm.node
    ]
    if (service.state, service.status) != ("up", "enabled"):
        raise NotYet(f"nova-compute is {service.state} and {service.status}")
    if vm.status != "ACTIVE":
        raise NotYet(f"nova says that the guest is {vm.status}")
    if not vm.console().heartbeats:
        raise NotYet("nova shows an empty console")
