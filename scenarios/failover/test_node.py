"""A whole node is lost: the holder of the virtual IP, another controller, a compute node, all."""

from __future__ import annotations

from devenv.testing.trial import Budget

#: Seconds. Nobody says that a node was switched off: its peers notice the silence.
SILENT = Budget(api=6.0)
#: Seconds. The APIs do not need a compute node; its guests boot again, emulated, when it is back.
COMPUTE = Budget(api=3.0, guest=120.0)
#: Seconds with nothing at all: until the nodes are on, and all that Python has been imported. The
#: guest is reached through its own node and stays there, but three nodes that boot at once leave
#: that node's switch seconds without a processor.
ALL = Budget(api=150.0, guest=10.0)


def test_the_vip_holder_is_switched_off(trial, faults):
    trial(faults.power_off("vip-holder"), budget=SILENT, hold=12)


def test_a_controller_is_switched_off_and_on(trial, faults):
    trial(faults.power_off("one"), budget=SILENT, hold=12)


def test_the_compute_node_of_a_guest_is_reset(trial, faults, cloud):
    (guest,) = cloud.compute.servers(name="^guest$", details=True)
    trial(faults.reset(guest.compute_host), budget=COMPUTE, hold=5)


def test_all_controllers_are_switched_off_and_on(trial, faults):
    trial(faults.power_off("all"), budget=ALL, hold=5, recovery=300, outage=True)
