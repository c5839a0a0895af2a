from __future__ import annotations

from devenv.testing.processes import parse

ID = "c4b5da85e140"
STAT = "5019 (qemu-system ) x) S 1 2 3 0 -1 4 5 6 7 8 9 10 11 12 20 0 4 0 151234 999 1"
OUTSIDE = """
9:name=systemd:/docker/c4b5da85e140
8:pids:/docker/c4b5da85e140
5:devices:/machine/qemu-1.libvirt-qemu
2:cpu,cpuacct:/machine/qemu-1.libvirt-qemu/emulator
0::/
"""


def test_a_process_is_read() -> None:
    found = parse(STAT + OUTSIDE)
    assert found is not None
    assert found.same == (5019, 151234)
    assert found.state == "S"
    assert found.cgroups["cpuacct"] == "/machine/qemu-1.libvirt-qemu/emulator"


def test_only_the_groups_that_are_killed_by_count() -> None:
    outside = parse(STAT + OUTSIDE)
    assert outside is not None and not outside.dies_with(ID)
    v1 = parse(f"{STAT}\n5:devices:/docker/{ID}\n0::/")
    assert v1 is not None and v1.dies_with(ID)
    v2 = parse(f"{STAT}\n0::/docker/{ID}")
    assert v2 is not None and v2.dies_with(ID)
    machine = parse(f"{STAT}\n0::/machine/qemu")
    assert machine is not None and not machine.dies_with(ID)


def test_what_was_gone_is_none() -> None:
    assert parse("") is None
    assert parse("5:devices:/docker/abc") is None
