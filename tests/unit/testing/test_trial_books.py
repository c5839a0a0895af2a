"""The books are read again until they balance; what nobody could read is unknown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from devenv.report.results import Verdict
from devenv.testing import books


class Cloud:
    """Nova and placement; both compute and placement of the SDK's connection."""

    current_project_id = "mine"

    def __init__(self) -> None:
        self.compute = self.placement = self
        self.existing = [server("id-1", "mine"), server("id-2", "theirs"), server("id-3", "mine")]
        self.existing[2].compute_host = None
        self.allocated = {
            "rp-1": {"id-1": {"VCPU": 1, "MEMORY_MB": 96}},
            "rp-2": {"id-2": {"VCPU": 1, "MEMORY_MB": 96, "DISK_GB": 1}},
            # A shared provider may give a part.
            "disk": {"id-1": {"DISK_GB": 1}},
        }
        self.instances = 2
        self.troubles: list[Exception] = []
        self.asked = 0

    def servers(self, all_projects: bool) -> list[Any]:
        assert all_projects
        self.asked += 1
        if self.troubles:
            raise self.troubles.pop(0)
        return self.existing

    def resource_providers(self) -> list[Any]:
        return [SimpleNamespace(id=one) for one in self.allocated]

    def get(self, path: str, raise_exc: bool) -> Any:
        assert raise_exc
        _, kind, provider, last = path.split("/")
        assert (kind, last) == ("resource_providers", "allocations")
        found = {id: {"resources": one} for id, one in self.allocated[provider].items()}
        return SimpleNamespace(json=lambda: {"allocations": found})

    def get_limits(self) -> Any:
        return SimpleNamespace(absolute=SimpleNamespace(instances_used=self.instances))


def server(id: str, project: str) -> Any:
    flavor = SimpleNamespace(vcpus=1, ram=96, disk=1)
    return SimpleNamespace(
        id=id, name=f"vm-{id}", project_id=project, compute_host="cmp1", flavor=flavor
    )


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def verdicts(cloud: Cloud, limit: float = 0.0) -> dict[str, Verdict]:
    return {one.name: one.verdict for one in books.balance(cloud, limit)}


def test_they_balance(cloud: Cloud) -> None:
    assert verdicts(cloud) == {"allocations": "pass", "quota usage": "pass"}
    assert cloud.asked == 1


def test_the_quota_is_that_of_one_project(cloud: Cloud) -> None:
    cloud.instances = 3  # As many as there are in all.
    assert verdicts(cloud) == {"allocations": "pass", "quota usage": "fail"}


def test_an_allocation_has_its_flavors_size(cloud: Cloud) -> None:
    cloud.allocated["disk"]["id-1"]["DISK_GB"] = 2
    assert verdicts(cloud) == {"allocations": "fail", "quota usage": "pass"}


def test_a_server_without_a_host_has_none(cloud: Cloud) -> None:
    cloud.allocated["rp-1"]["id-3"] = {"VCPU": 1, "MEMORY_MB": 96, "DISK_GB": 1}
    assert verdicts(cloud)["allocations"] == "fail"


def test_they_are_read_again(cloud: Cloud) -> None:
    cloud.troubles = [OSError("refused"), KeyError("allocations")]
    assert verdicts(cloud, limit=30) == {"allocations": "pass", "quota usage": "pass"}
    assert cloud.asked == 3


def test_what_is_on_its_way_out_is_waited_for(cloud: Cloud) -> None:
    cloud.instances = 3
    real = cloud.servers

    def servers(all_projects: bool) -> list[Any]:
        if cloud.asked == 2:
            cloud.instances = 2
        return real(all_projects)

    cloud.servers = servers  # type: ignore[method-assign]
    assert verdicts(cloud, limit=30) == {"allocations": "pass", "quota usage": "pass"}
    assert cloud.asked == 3


def test_what_was_never_read_is_unknown(cloud: Cloud) -> None:
    cloud.troubles = [OSError("refused")]
    (found,) = books.balance(cloud, 0)
    assert found.verdict == "unknown"
    assert "OSError: refused" in found.said


def test_what_was_read_once_counts(cloud: Cloud) -> None:
    cloud.instances = 9
    real = cloud.servers

    def servers(all_projects: bool) -> list[Any]:
        cloud.servers = broken  # type: ignore[method-assign]
        return real(all_projects)

    def broken(all_projects: bool) -> list[Any]:
        raise OSError("refused")

    cloud.servers = servers  # type: ignore[method-assign]
    assert verdicts(cloud, limit=0.2)["quota usage"] == "fail"
