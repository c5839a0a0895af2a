"""The guests of a node, from libvirt's files."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import docker.errors
import pytest

from devenv.core.errors import NodeError
from devenv.deploy import hypervisor
from devenv.nodes.connection import Connection
from devenv.services.catalogue import catalogue

FOLDER = "/var/lib/docker/volumes/libvirtd_qemu/_data"
DOMAIN = """<domain type='kvm'>
  <name>{domain}</name>
  <metadata>
    <nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:name>{server}</nova:name>
      <nova:flavor name="m1.tiny"><nova:memory>128</nova:memory></nova:flavor>
    </nova:instance>
  </metadata>
</domain>
"""


class Compute:
    """A compute node below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.error: Exception | None = None
        self.node = SimpleNamespace(name="cmp")
        self.docker = SimpleNamespace(api=self)

    def inspect_volume(self, name: str) -> dict[str, str]:
        if self.error:
            raise self.error
        if not (self.root / FOLDER[1:]).exists():
            raise docker.errors.NotFound(name)
        return {"Mountpoint": FOLDER}

    def domain(self, domain: str, server: str) -> None:
        """A server that nova defined here."""
        folder = self.root / FOLDER[1:]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{domain}.xml").write_text(DOMAIN.format(domain=domain, server=server))

    def run(self, script: str) -> SimpleNamespace:
        assert script.count(FOLDER) == 1
        here = script.replace(FOLDER, str(self.root / FOLDER[1:]))
        done = subprocess.run(["sh", "-c", here], capture_output=True, check=True)
        return SimpleNamespace(stdout=done.stdout)

    def guests(self) -> list[str]:
        return hypervisor.guests(cast(Connection, self))


@pytest.fixture
def compute(tmp_path: Path) -> Compute:
    return Compute(tmp_path)


def test_a_node_without_libvirt(compute: Compute) -> None:
    assert compute.guests() == []


def test_a_hypervisor_without_domains(compute: Compute) -> None:
    (compute.root / FOLDER[1:] / "networks").mkdir(parents=True)
    assert compute.guests() == []


def test_an_engine_that_does_not_tell(compute: Compute) -> None:
    """Guests may be there."""
    compute.error = docker.errors.APIError("the engine is broken")
    with pytest.raises(NodeError, match="its guests are not known"):
        compute.guests()


def test_guests_that_are_off_count_too(compute: Compute) -> None:
    """Their disks are there."""
    compute.domain("instance-00000001", "guest")
    compute.domain("instance-00000002", "off")
    assert compute.guests() == ["guest", "off"]


def test_a_name_with_a_blank_is_one(compute: Compute) -> None:
    compute.domain("instance-00000001", "my first server")
    assert compute.guests() == ["my first server"]


def test_it_looks_where_libvirt_keeps_its_domains() -> None:
    volumes = catalogue()["libvirt"].containers["nova_libvirt"].volumes
    assert "libvirtd_qemu:/etc/libvirt/qemu" in volumes
