"""Machines from an Ironic: the cases with a fake one, and those that need a neutron."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fake_ironic import FakeIronic, serve

pytest.register_assert_rewrite("ironic_cases")
from ironic_cases import KEY, IronicCases, Site  # noqa: E402

from devenv.core.errors import NodeError  # noqa: E402
from devenv.providers.baremetal_ironic import (  # noqa: E402
    allocate,
    config_drive,
    hosts,
    power,
    release,
)

NETWORK = "8a7f9c0e-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeIronic]:
    """In clouds.yaml as `lab`; nobody answers at `silent`."""
    fake = FakeIronic()
    with serve(fake) as url, pytest.MonkeyPatch.context() as patch:
        # It moves on with each look, not with time.
        no_pause = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)
        patch.setattr("devenv.core.wait.time", no_pause)
        with socket.create_server(("127.0.0.1", 0)) as free:
            silent = f"http://127.0.0.1:{free.getsockname()[1]}"
        none = {"auth_type": "none"}
        clouds = {
            "lab": {
                **none,
                "baremetal_endpoint_override": url,
                "network_endpoint_override": f"{url}/networking",
            },
            "silent": {**none, "baremetal_endpoint_override": silent},
        }
        file = tmp_path_factory.mktemp("clouds") / "clouds.yaml"
        file.write_text(json.dumps({"clouds": clouds}))
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
        yield fake


class TestFakeIronic(IronicCases):
    """The cases, and what the fake one alone shows."""

    def test_addresses_from_neutron(self, site: Site, lab: FakeIronic) -> None:
        site.enroll("m1", "m2")
        wanted = site.wanted(network=NETWORK)
        made = allocate(wanted, ["n1", "n2"], site.environment, KEY)
        assert len({str(each.address) for each in made.values()}) == 2
        assert all(str(each.address).startswith("198.51.100.") for each in made.values())
        assert allocate(wanted, ["n1", "n2"], site.environment, KEY) == made
        assert hosts(wanted, site.environment) == made
        machines = [lab.named(f"{name}-{site.resource_class}") for name in ("m1", "m2")]
        attached = [port for machine in machines for port in lab.vifs[machine["uuid"]]]
        assert sorted(attached) == sorted(lab.ports)
        release(site.environment, site.lab.cloud, ["n1"])
        assert {port["name"] for port in lab.ports.values()} == {"n2"}
        release(site.environment, site.lab.cloud)
        assert lab.ports == {}

    def test_ports_of_others_stay(self, site: Site, lab: FakeIronic) -> None:
        lab.create_port({"port": {"name": "n1", "description": "mine", "network_id": NETWORK}})
        site.enroll("m1")
        allocate(site.wanted(network=NETWORK), ["n1"], site.environment, KEY)
        release(site.environment, site.lab.cloud)
        assert [port["description"] for port in lab.ports.values()] == ["mine"]
        lab.ports.clear()

    def test_a_network_without_ipv4(
        self, site: Site, lab: FakeIronic, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lab, "subnet", None)
        site.enroll("m1")
        with pytest.raises(NodeError, match="no IPv4 address") as caught:
            allocate(site.wanted(network=NETWORK), ["n1"], site.environment, KEY)
        assert caught.value.node == "n1"

    def test_the_config_drive_is_that_of_the_node(self, site: Site, lab: FakeIronic) -> None:
        site.enroll("m1")
        allocate(site.wanted("m1"), ["n1"], site.environment, KEY)
        sent = lab.config_drives[f"m1-{site.resource_class}"]
        assert sent == config_drive("n1", "debian", KEY)

    @pytest.mark.parametrize("state", ["deploying", "wait call-back"])
    def test_a_deploy_under_way_is_waited_for(
        self, site: Site, lab: FakeIronic, state: str
    ) -> None:
        site.enroll("m1")
        wanted = site.wanted("m1")
        machine = lab.named(f"m1-{site.resource_class}")
        allocate(wanted, ["n1"], site.environment, KEY)
        machine["provision_state"] = state
        lab._next[machine["uuid"]] = [
            lambda: None,
            lambda: machine.update(provision_state="active"),
        ]
        lab.config_drives.clear()
        assert list(allocate(wanted, ["n1"], site.environment, KEY)) == ["n1"]
        assert lab.config_drives == {}, "it was not asked for again"

    def test_a_machine_in_a_state_that_cannot_be_deployed(
        self, site: Site, lab: FakeIronic
    ) -> None:
        site.enroll("m1", "m2")
        allocate(site.wanted("m1", "m2"), ["n1"], site.environment, KEY)
        lab.named(f"m1-{site.resource_class}")["provision_state"] = "rescue"
        with pytest.raises(NodeError, match=r"it is rescue") as caught:
            allocate(site.wanted("m1", "m2"), ["n1", "n2"], site.environment, KEY)
        assert caught.value.node == "n1"
        assert site.machines()["m2"] == "active", "the others go on"
        lab.named(f"m1-{site.resource_class}")["provision_state"] = "active"

    def test_a_release_in_mid_deploy_waits_for_its_end(self, site: Site, lab: FakeIronic) -> None:
        site.enroll("m1")
        allocate(site.wanted("m1"), ["n1"], site.environment, KEY)
        machine = lab.named(f"m1-{site.resource_class}")
        machine["provision_state"] = "deploying"
        lab._next[machine["uuid"]] = [
            lambda: None,
            lambda: machine.update(provision_state="active"),
        ]
        assert len(release(site.environment, site.lab.cloud)) == 1
        assert site.machines() == {"m1": "available"}

    def test_an_undeploy_that_fails(
        self, site: Site, lab: FakeIronic, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.enroll("m1", "m2")
        allocate(site.wanted("m1", "m2"), ["n1", "n2"], site.environment, KEY)

        def broken(machine: dict[str, Any]) -> None:
            if machine["name"].startswith("m1"):
                machine.update(provision_state="error", last_error="Failed to tear down: BMC")
            else:
                free(machine)

        free = lab._free
        with monkeypatch.context() as patch:
            patch.setattr(lab, "_free", broken)
            with pytest.raises(NodeError, match="could not be undeployed") as caught:
                release(site.environment, site.lab.cloud)
        assert caught.value.detail == "Failed to tear down: BMC"
        assert site.machines() == {"m1": "error", "m2": "available"}
        assert len(release(site.environment, site.lab.cloud)) == 1, "it is tried again"
        assert site.machines() == {"m1": "available", "m2": "available"}

    def test_power_that_fails(
        self, site: Site, lab: FakeIronic, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.enroll("m1")
        allocate(site.wanted("m1"), ["n1"], site.environment, KEY)
        machine = lab.named(f"m1-{site.resource_class}")
        machine["power_state"] = "power on"

        def fails(ident: str, body: dict[str, Any]) -> None:
            machine["target_power_state"] = body["target"]
            lab._next[machine["uuid"]] = [
                lambda: machine.update(target_power_state=None, last_error="Failed: no BMC")
            ]

        monkeypatch.setattr(lab, "power", fails)
        with pytest.raises(NodeError, match="could not do 'power off'") as caught:
            power("n1", site.environment, site.lab.cloud).act("off")
        assert caught.value.detail == "Failed: no BMC"

    @pytest.mark.parametrize("unknown", [None, "error"])
    def test_power_that_nobody_knows(
        self, site: Site, lab: FakeIronic, unknown: str | None
    ) -> None:
        site.enroll("m1")
        allocate(site.wanted("m1"), ["n1"], site.environment, KEY)
        lab.named(f"m1-{site.resource_class}")["power_state"] = unknown
        with pytest.raises(NodeError, match="does not know the power state"):
            power("n1", site.environment, site.lab.cloud).state()


@pytest.mark.parametrize("user", ["root", "debian"])
def test_who_may_log_in(user: str) -> None:
    drive = config_drive("n1", user, KEY)
    assert drive["meta_data"]["hostname"] == "n1"
    assert drive["meta_data"]["public_keys"] == {"0": KEY}
    head, _, text = drive["user_data"].partition("\n")
    settings = json.loads(text)
    assert head == "#cloud-config"
    assert settings["users"][0]["name"] == user
    assert settings["users"][0]["ssh_authorized_keys"] == [KEY]
    assert settings["disable_root"] is (user != "root")
    assert ("sudo" in settings["users"][0]) is (user != "root")
