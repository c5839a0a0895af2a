"""What taking machines from an Ironic has to do: against a fake one and against a real one.

A test module subclasses :class:`IronicCases` and has a fixture `lab` of module scope. Each case has
an environment and a resource class of its own.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from typing import Any, Protocol

import openstack
import pytest
from openstack.baremetal.v1._proxy import Proxy

from devenv.core.errors import HostError, InputError, NodeError, Unsupported
from devenv.core.events import Event, Events
from devenv.providers import baremetal_ironic
from devenv.providers.baremetal_ironic import allocate, hosts, power, release
from devenv.topology.machines import Ironic

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGOODKEY devenv"
#: Ironic may clean for some time what is nobody's.
GIVEN_BACK = {"available", "cleaning"}
_numbers = itertools.count(1)


class Lab(Protocol):
    """An Ironic, with noop networks and automated cleaning off."""

    cloud: str
    """Its name in the clouds.yaml of $OS_CLIENT_CONFIG_FILE."""
    image: str
    """The URL of a file; the same with `.none` is none."""
    checksum: str
    """The SHA-256 of that."""

    def enroll(self, name: str, resource_class: str, deploy_interface: str) -> None:
        """Make a machine available, its power off: `fake` deploys at once, `direct` never."""


@dataclass
class Site:
    """One case's environment and machines."""

    lab: Lab
    environment: str
    resource_class: str

    @cached_property
    def bare(self) -> Proxy:
        """What a person would look at it with."""
        return openstack.connect(cloud=self.lab.cloud).baremetal

    def enroll(self, *names: str, deploy_interface: str = "fake") -> None:
        """Make machines of this case's class."""
        for name in names:
            self.lab.enroll(f"{name}-{self.resource_class}", self.resource_class, deploy_interface)

    def wanted(self, *machines: str, **changes: Any) -> Ironic:
        """The topology's section, with addresses for `machines`."""
        return Ironic.model_validate(
            {
                "cloud": self.lab.cloud,
                "resource_class": self.resource_class,
                "image": self.lab.image,
                "checksum": self.lab.checksum,
                "user": "debian",
                "addresses": {
                    f"{name}-{self.resource_class}": f"192.0.2.{at}"
                    for at, name in enumerate(machines, 10)
                },
            }
            | changes
        )

    def allocations(self) -> dict[str, str]:
        """The state of each of this class, by name."""
        found = self.bare.allocations(resource_class=self.resource_class)
        return {each.name: each.state for each in found}

    def machines(self) -> dict[str, str]:
        """The provision state of each of this class, by name."""
        found = self.bare.nodes(resource_class=self.resource_class)
        return {each.name.split("-")[0]: each.provision_state for each in found}


class IronicCases:
    """The cases."""

    @pytest.fixture
    def site(self, lab: Lab, request: pytest.FixtureRequest) -> Site:
        """Nothing in it yet; given back at the end."""
        number = next(_numbers)
        request.addfinalizer(lambda: release(f"env{number}", lab.cloud))
        return Site(lab, f"env{number}", f"class{number}")

    def test_machines_are_taken_deployed_and_given_back(self, site: Site) -> None:
        site.enroll("m1", "m2", "m3")
        wanted = site.wanted("m1", "m2", "m3")
        notes: list[Event] = []
        assert hosts(wanted, site.environment) == {}
        made = allocate(wanted, ["ctl", "cmp"], site.environment, KEY, Events(notes.append))
        assert list(made) == ["ctl", "cmp"]
        assert {each.user for each in made.values()} == {"debian"}
        assert len({each.address for each in made.values()}) == 2
        assert sorted(site.machines().values()) == ["active", "active", "available"]
        assert site.allocations() == {
            f"devenv-{site.environment}-ctl": "active",
            f"devenv-{site.environment}-cmp": "active",
        }
        for machine in site.bare.nodes(resource_class=site.resource_class, details=True):
            if machine.provision_state == "active":
                assert machine.instance_info["image_source"] == site.lab.image
                assert machine.instance_info["image_os_hash_value"] == site.lab.checksum
                assert machine.instance_info["configdrive"]
                assert wanted.addresses[machine.name] in {each.address for each in made.values()}
        states = {(each.node, each.text.rpartition(": ")[2]) for each in notes}
        assert {("ctl", "active"), ("cmp", "active")} <= states
        assert hosts(wanted, site.environment) == made

        released = release(site.environment, site.lab.cloud)
        assert len(released) == 2 and any("ctl" in each for each in released)
        assert site.allocations() == {}
        assert set(site.machines().values()) <= GIVEN_BACK
        assert release(site.environment, site.lab.cloud) == []
        assert hosts(wanted, site.environment) == {}

    def test_again_changes_nothing(self, site: Site) -> None:
        site.enroll("m1", "m2")
        wanted = site.wanted("m1", "m2")
        made = allocate(wanted, ["n1", "n2"], site.environment, KEY)
        before = self.updates(site)
        assert allocate(wanted, ["n1", "n2"], site.environment, KEY) == made
        assert self.updates(site) == before

    def updates(self, site: Site) -> dict[str, str]:
        """When each machine's provision state changed."""
        bare = site.bare
        found = [
            bare.get(f"/nodes/{name}-{site.resource_class}", microversion="1.52")
            for name in site.machines()
        ]
        return {each.json()["name"]: each.json()["provision_updated_at"] for each in found}

    def test_another_node_joins_and_one_leaves(self, site: Site) -> None:
        site.enroll("m1", "m2")
        wanted = site.wanted("m1", "m2")
        first = allocate(wanted, ["n1"], site.environment, KEY)
        both = allocate(wanted, ["n1", "n2"], site.environment, KEY)
        assert both["n1"] == first["n1"] and both["n2"] != both["n1"]
        released = release(site.environment, site.lab.cloud, ["n1", "nobody"])
        assert len(released) == 1 and released[0].endswith(" of n1")
        assert hosts(wanted, site.environment) == {"n2": both["n2"]}

    def test_after_a_kill_it_goes_on(self, site: Site) -> None:
        site.enroll("m1", "m2")
        wanted = site.wanted("m1", "m2")

        def killed(event: Event) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            allocate(wanted, ["n1", "n2"], site.environment, KEY, Events(killed))
        assert len(site.allocations()) == 2
        made = allocate(wanted, ["n1", "n2"], site.environment, KEY)
        assert len({each.address for each in made.values()}) == 2
        assert len(site.allocations()) == 2

    def test_what_was_taken_and_not_deployed_is_given_back(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.enroll("m1")
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(baremetal_ironic, "_deploy", self.interrupt)
            allocate(site.wanted("m1"), ["n1"], site.environment, KEY)
        assert len(site.allocations()) == 1
        assert len(release(site.environment, site.lab.cloud)) == 1
        assert site.allocations() == {}
        assert site.machines() == {"m1": "available"}

    def interrupt(self, *args: Any) -> None:
        """Ctrl-C."""
        raise KeyboardInterrupt

    def test_too_few_machines(self, site: Site) -> None:
        site.enroll("m1")
        with pytest.raises(NodeError, match=site.resource_class) as caught:
            allocate(site.wanted("m1", "m2"), ["n1", "n2"], site.environment, KEY)
        assert caught.value.node in ("n1", "n2")
        assert "no available nodes match the resource class" in str(caught.value.detail)
        assert caught.value.remedy and site.resource_class in caught.value.remedy
        assert site.machines() == {"m1": "available"}
        assert site.allocations() == {}
        site.enroll("m2")
        assert len(allocate(site.wanted("m1", "m2"), ["n1", "n2"], site.environment, KEY)) == 2

    def test_a_deploy_that_fails(self, site: Site) -> None:
        site.enroll("m1")
        site.enroll("m2", deploy_interface="direct")
        with pytest.raises(NodeError, match=r"m2-.*: deploy failed") as caught:
            allocate(site.wanted("m1", "m2"), ["n1", "n2"], site.environment, KEY)
        assert "Timeout reached while waiting for callback" in str(caught.value.detail)
        assert caught.value.node in ("n1", "n2") and caught.value.remedy
        assert site.machines() == {"m1": "active", "m2": "deploy failed"}
        assert len(hosts(site.wanted("m1", "m2"), site.environment)) == 1
        assert len(release(site.environment, site.lab.cloud)) == 2
        assert set(site.machines().values()) <= GIVEN_BACK

    def test_a_deploy_that_failed_is_tried_again(self, site: Site) -> None:
        site.enroll("m1", deploy_interface="direct")
        missing = site.wanted("m1", image=f"{site.lab.image}.none")
        with pytest.raises(NodeError) as caught:
            allocate(missing, ["n1"], site.environment, KEY)
        assert "404" in str(caught.value.detail) and ".none" in str(caught.value.detail)
        with pytest.raises(NodeError) as caught:
            allocate(site.wanted("m1"), ["n1"], site.environment, KEY)
        assert "Timeout" in str(caught.value.detail)
        assert len(site.allocations()) == 1

    def test_a_deploy_that_is_refused(self, site: Site) -> None:
        site.enroll("m1", deploy_interface="direct")
        with pytest.raises(NodeError, match=r"refuses to deploy .* on m1-") as caught:
            allocate(site.wanted("m1", checksum=None), ["n1"], site.environment, KEY)
        assert "image_checksum" in str(caught.value.detail)
        assert caught.value.node == "n1"
        assert site.machines() == {"m1": "available"}
        assert len(release(site.environment, site.lab.cloud)) == 1
        assert site.allocations() == {}

    def test_a_machine_whose_address_nobody_knows(self, site: Site) -> None:
        site.enroll("m1")
        with pytest.raises(InputError, match=f"m1-{site.resource_class}") as caught:
            allocate(site.wanted("m2"), ["n1"], site.environment, KEY)
        assert caught.value.remedy and "addresses" in caught.value.remedy
        assert site.machines() == {"m1": "available"}
        assert site.allocations() == {}

    def test_what_is_anothers_is_left_alone(self, site: Site, lab: Lab) -> None:
        site.enroll("m1", "m2")
        wanted = site.wanted("m1", "m2")
        other = f"{site.environment}-x"
        try:
            allocate(wanted, ["n1"], site.environment, KEY)
            theirs = allocate(wanted, ["n1"], other, KEY)
            assert len(release(site.environment, lab.cloud)) == 1
            assert list(site.allocations()) == [f"devenv-{other}-n1"]
            assert hosts(wanted, other) == theirs
            with pytest.raises(NodeError, match="not this environment's"):
                allocate(wanted, ["x-n1"], site.environment, KEY)
            assert list(site.allocations()) == [f"devenv-{other}-n1"]
        finally:
            release(other, lab.cloud)

    def test_power(self, site: Site) -> None:
        site.enroll("m1")
        allocate(site.wanted("m1"), ["n1"], site.environment, KEY)
        switch = power("n1", site.environment, site.lab.cloud)
        name = f"m1-{site.resource_class}"
        for action, state in (
            ("on", "power on"),
            ("on", "power on"),
            ("off", "power off"),
            ("off", "power off"),
            ("reset", "power on"),
            ("reset", "power on"),
        ):
            switch.act(action)  # type: ignore[arg-type]
            assert site.bare.get_node(name).power_state == state
            assert switch.state() == state.split()[1]
        with pytest.raises(Unsupported):
            switch.act("pause")

    def test_power_of_what_has_no_machine(self, site: Site) -> None:
        with pytest.raises(NodeError, match="no machine") as caught:
            power("n1", site.environment, site.lab.cloud).state()
        assert caught.value.node == "n1"

    def test_a_cloud_that_is_none(self, site: Site) -> None:
        with pytest.raises(InputError, match="'nowhere'") as caught:
            allocate(site.wanted(cloud="nowhere"), ["n1"], site.environment, KEY)
        assert "clouds.yaml" in str(caught.value.remedy)

    def test_a_cloud_that_does_not_answer(self, site: Site) -> None:
        with pytest.raises(HostError, match="'silent'"):
            allocate(site.wanted(cloud="silent"), ["n1"], site.environment, KEY)

    def test_addresses_are_those_of_the_machines(self, site: Site) -> None:
        site.enroll("m1")
        made = allocate(site.wanted("m1"), ["n1"], site.environment, KEY)
        assert made["n1"].address == IPv4Address("192.0.2.10")
