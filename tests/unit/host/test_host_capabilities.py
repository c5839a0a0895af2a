from __future__ import annotations

import pytest
from conftest import ALL_BITS, FakeEngine

from devenv.core.errors import HostError
from devenv.host.capabilities import (
    CAPABILITIES,
    Privileges,
    missing_capabilities,
    probe,
)
from devenv.host.engine import connect


def without(*names: str) -> int:
    return ALL_BITS & ~sum(1 << CAPABILITIES.index(name) for name in names)


def test_numbers_are_the_kernels() -> None:
    # linux/capability.h
    known = {"CHOWN": 0, "NET_ADMIN": 12, "SYS_ADMIN": 21, "SYS_RESOURCE": 24, "MKNOD": 27}
    known |= {"AUDIT_READ": 37, "CHECKPOINT_RESTORE": 40}
    assert {name: CAPABILITIES.index(name) for name in known} == known
    assert len(CAPABILITIES) == len(set(CAPABILITIES)) == 41


@pytest.mark.parametrize(
    ("bounding", "missing"),
    [
        ("000001ffffffffff", []),
        ("000001fffeffffff", ["SYS_RESOURCE"]),  # a machine without CAP_SYS_RESOURCE
        ("0000003ffeffffff", ["SYS_RESOURCE", "PERFMON", "BPF", "CHECKPOINT_RESTORE"]),
    ],
)
def test_missing_capabilities(bounding: str, missing: list[str]) -> None:
    assert missing_capabilities(bounding) == missing


def test_what_the_kernel_does_not_know_is_not_missing() -> None:
    assert missing_capabilities("0000003ffeffffff", last=37) == ["SYS_RESOURCE"]
    assert len(missing_capabilities("0")) == 41


def test_host_config_is_what_the_engine_takes() -> None:
    config = Privileges(cap_drop=["SYS_RESOURCE"]).host_config()
    assert config["CapAdd"] == ["ALL"] and config["CapDrop"] == ["SYS_RESOURCE"]
    assert config["MaskedPaths"] == [] and config["ReadonlyPaths"] == []
    assert not any("systempaths" in option for option in config["SecurityOpt"])
    assert config["Devices"][0]["PathOnHost"] == "/dev/net/tun"


def test_an_engine_that_grants_all(fake_engine: FakeEngine) -> None:
    granted = probe(connect(), "base")
    assert granted.cap_drop == []
    (only,) = fake_engine.created
    assert only["HostConfig"]["CapAdd"] == ["ALL"]
    assert only["HostConfig"]["NetworkMode"] == "none"
    assert only["Labels"]["devenv.kind"] == "probe"
    assert fake_engine.containers == {}


def test_a_machine_without_a_capability(fake_engine: FakeEngine) -> None:
    fake_engine.bounding = without("SYS_RESOURCE", "SYS_TIME")
    granted = probe(connect(), "base")
    assert sorted(granted.cap_drop) == ["SYS_RESOURCE", "SYS_TIME"]
    assert str(granted) == "all capabilities but SYS_RESOURCE, SYS_TIME"
    # The last container that ran is the proof: what is returned is what was tried.
    assert fake_engine.created[-1]["HostConfig"]["CapDrop"] == granted.cap_drop
    assert fake_engine.containers == {}


def test_an_engine_that_cannot_name_what_is_missing(fake_engine: FakeEngine) -> None:
    fake_engine.bounding = without("SYS_RESOURCE", "BPF", "PERFMON")
    fake_engine.known = CAPABILITIES[:38]
    assert probe(connect(), "base").cap_drop == ["SYS_RESOURCE"]
    assert fake_engine.containers == {}


def test_an_engine_that_leaves_out_what_is_missing(fake_engine: FakeEngine) -> None:
    fake_engine.bounding = without("SYS_RESOURCE")
    fake_engine.refuses_absent = True
    assert probe(connect(), "base").cap_drop == []


def test_a_device_that_is_missing(fake_engine: FakeEngine) -> None:
    fake_engine.device_error = 'error gathering device information: "/dev/net/tun": no such file'
    with pytest.raises(HostError) as caught:
        probe(connect(), "base")
    assert (caught.value.remedy or "").endswith("modprobe tun")
    assert "no such file" in (caught.value.detail or "")
    assert fake_engine.containers == {}


def test_an_engine_that_refuses_in_any_case(fake_engine: FakeEngine) -> None:
    fake_engine.exit_code = 125
    with pytest.raises(HostError) as caught:
        probe(connect(), "base")
    assert "125" in (caught.value.detail or "")
    assert fake_engine.containers == {}


def test_an_image_that_is_not_there(fake_engine: FakeEngine) -> None:
    with pytest.raises(HostError, match="no image nonesuch"):
        probe(connect(), "nonesuch")
