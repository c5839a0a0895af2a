"""Heat makes, changes, saves, restores and removes a stack whose server signals from the inside.

The server reports to both of heat's APIs, through its router and a node, with the id of its boot.
A stack that cannot be made says why. An engine that is killed in mid-create leaves a stack behind
that others take on, or that can be deleted: nothing is lost in between.
"""

from __future__ import annotations

import http.client
import json
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from devenv.core.wait import NotYet, wait_until
from devenv.faults.targets import vip_holder

TEMPLATES = Path(__file__).parent / "heat"
#: Seconds. Guests boot under emulation; a stack with one takes three times that.
PATIENCE, QUICK = 300, 120
#: Which engine has a resource in hand. Heat tells nobody, and one has to be hit.
HOLDER = """
SELECT service.host FROM heat.resource JOIN heat.service USING (engine_id)
WHERE resource.stack_id = '{stack}' AND resource.name = '{resource}'
"""


@dataclass
class Stacks:
    """Heat's stacks as their owner has them, by python-heatclient: the SDK knows no snapshots."""

    client: Any
    made: list[str] = field(default_factory=list)

    def create(self, template: str, **parameters: Any) -> str:
        """Begin to make a stack; its id. One that fails stays, with its reason."""
        name = f"{Path(template).stem}-{secrets.token_hex(3)}"
        answer = self.client.stacks.create(
            stack_name=name, disable_rollback=True, timeout_mins=15, **content(template, parameters)
        )
        self.made.append(answer["stack"]["id"])
        return self.made[-1]

    def update(self, stack: str, template: str, **parameters: Any) -> None:
        """Begin to change a stack into what this makes of it."""
        self.client.stacks.update(stack, **content(template, parameters))

    def get(self, stack: str) -> Any:
        return self.client.stacks.get(stack)

    def outputs(self, stack: str) -> dict[str, Any]:
        return {one["output_key"]: one["output_value"] for one in self.get(stack).outputs}

    def resources(self, stack: str) -> dict[str, Any]:
        return {one.resource_name: one for one in self.client.resources.list(stack)}

    def reasons(self, stack: str) -> str:
        """What heat says of the stack and of each resource that is not complete."""
        now = self.get(stack)
        lines = [f"{now.stack_status}: {now.stack_status_reason}"]
        for one in self.resources(stack).values():
            if not one.resource_status.endswith("_COMPLETE"):
                reason = one.resource_status_reason
                lines.append(f"{one.resource_name} {one.resource_status}: {reason}")
        return "\n".join(lines)

    def wait(self, stack: str, status: str, timeout: float = PATIENCE) -> float:
        """Wait for a status; the seconds that it took. Another end than that fails at once."""
        begin = time.monotonic()

        def reached() -> None:
            now = self.get(stack).stack_status
            if now == status:
                return
            assert now.endswith("_IN_PROGRESS") or now.split("_")[0] != status.split("_")[0], (
                f"the stack was to be {status}:\n{self.reasons(stack)}"
            )
            raise NotYet(now)

        wait_until(reached, what=f"the stack to be {status}", timeout=timeout)
        return time.monotonic() - begin

    def delete(self, stack: str, timeout: float = PATIENCE) -> float:
        """Delete a stack and wait until it is gone; the seconds that it took."""
        begin = time.monotonic()
        self.client.stacks.delete(stack)

        def gone() -> None:
            now = self.status(stack)
            assert now != "DELETE_FAILED", f"it was not deleted:\n{self.reasons(stack)}"
            if now != "DELETE_COMPLETE":
                raise NotYet(now)

        wait_until(gone, what="the stack to be deleted", timeout=timeout)
        return time.monotonic() - begin

    def close(self) -> None:
        """Delete what is left; one that resists does not keep the others."""
        errors = []
        for stack in self.made:
            try:
                if self.status(stack) != "DELETE_COMPLETE":
                    self.delete(stack)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def status(self, stack: str) -> str:
        """Its status; that of a stack that is not there any more is DELETE_COMPLETE."""
        from heatclient.exc import HTTPNotFound

        try:
            return str(self.get(stack).stack_status)
        except HTTPNotFound:
            return "DELETE_COMPLETE"


def content(template: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A template with the files that it names, as the API takes them."""
    files = {path.name: path.read_text() for path in TEMPLATES.glob("*.sh")}
    text = (TEMPLATES / template).read_text()
    return {"template": text, "files": files, "parameters": parameters}


@pytest.fixture(scope="module")
def stacks(cloud):
    """Heat's stacks, of this scenario; all are deleted in the end."""
    interface, service = cloud.config.get_interface("orchestration"), "orchestration"
    endpoint = cloud.session.get_endpoint(service_type=service, interface=interface)
    if not endpoint:
        pytest.skip("heat is not enabled; a topology does that with services: {enable: [heat]}")
    from heatclient.client import Client

    region = cloud.config.get_region_name(service)
    session = {"session": cloud.session, "service_type": service, "interface": interface}
    stacks = Stacks(Client("1", region_name=region, connect_retries=3, **session))
    yield stacks
    stacks.close()


@pytest.fixture(scope="module")
def where(inventory, connections):
    """How a guest gets to the APIs: through the node that has their address."""
    (first, *others) = inventory.with_role("control")
    name = vip_holder(inventory, connections) if others else first.name
    (node,) = [node for node in inventory.nodes if node.name == name]
    return {"apis": str(inventory.api), "apis_by": node.external.address.partition("/")[0]}


def facts(address):
    """What the guest says of itself.

    :raises NotYet: when it does not answer.
    """
    try:
        web = http.client.HTTPConnection(address, 80, timeout=5)
        web.request("GET", "/")
        return json.loads(web.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotYet(f"{address}: {error!r}") from error


def test_a_stack_from_create_to_delete(stacks, cloud, where, measure, phase):
    with phase("create"):
        stack = stacks.create("server.yaml", **where)
        measure("create", stacks.wait(stack, "CREATE_COMPLETE"), "s")
        made = stacks.outputs(stack)
        booted = wait_until(lambda: facts(made["address"]), what="the guest", timeout=QUICK)
        # It was this guest's, on this boot, that both APIs got a signal.
        for api in ("orchestration", "cloudformation"):
            assert json.loads(made[api]) == {"guest": booted["boot_id"]}, api

    with phase("update"):
        stacks.update(stack, "server.yaml", generation="second", extra=True, **where)
        measure("update", stacks.wait(stack, "UPDATE_COMPLETE"), "s")
        server = cloud.compute.get_server(made["server"])
        assert server.metadata["generation"] == "second", "the server was not changed in place"
        assert facts(made["address"])["boot_id"] == booted["boot_id"], "it was booted again"
        second = stacks.resources(stack)["second"].physical_resource_id
        assert cloud.network.get_network(second).status == "ACTIVE"

    with phase("snapshot"):
        saved = stacks.client.stacks.snapshot(stack, "saved")["id"]
        measure("snapshot", stacks.wait(stack, "SNAPSHOT_COMPLETE"), "s")
        snapshot = wait_until(
            lambda: whole(stacks, stack, saved), what="the snapshot to be complete", timeout=30
        )
        image = snapshot["data"]["resources"]["server"]["resource_data"]["snapshot_image_id"]
        assert cloud.image.get_image(image).status == "active"

    with phase("another update, then restore"):
        stacks.update(stack, "server.yaml", generation="third", extra=False, **where)
        stacks.wait(stack, "UPDATE_COMPLETE")
        assert not cloud.network.find_network(second)
        stacks.client.stacks.restore(stack, saved)
        measure("restore", stacks.wait(stack, "RESTORE_COMPLETE"), "s")
        server = cloud.compute.get_server(made["server"])
        assert server.metadata["generation"] == "second"
        assert server.image.id == image, "the server is not of the image that was saved"
        assert "second" in stacks.resources(stack)
        again = wait_until(
            lambda: other_boot(made["address"], booted["boot_id"]), what="the guest", timeout=QUICK
        )
        assert again["hostname"] == booted["hostname"]

    with phase("delete"):
        measure("delete", stacks.delete(stack), "s")
        left = {
            "server": cloud.compute.find_server(made["server"]),
            "image": cloud.image.find_image(image),
            "floating IP": next(iter(cloud.network.ips(floating_ip_address=made["address"])), None),
        }
        assert not any(left.values()), left


def whole(stacks, stack, snapshot):
    """A snapshot that is complete; it is so a moment after the stack says it."""
    now = stacks.client.stacks.snapshot_show(stack, snapshot)["snapshot"]
    assert now["status"] != "FAILED", now["status_reason"]
    if now["status"] != "COMPLETE":
        raise NotYet(now["status"])
    return now


def other_boot(address, boot_id):
    """The guest's words if they are of another boot."""
    now = facts(address)
    if now["boot_id"] == boot_id:
        raise NotYet("it was not booted again")
    return now


def test_a_stack_that_cannot_be_made_says_why(stacks, measure):
    stack = stacks.create("impossible.yaml")
    measure("create that fails", stacks.wait(stack, "CREATE_FAILED", QUICK), "s")
    said = stacks.get(stack).stack_status_reason
    assert "server" in said and "No valid host was found" in said, said
    assert stacks.resources(stack)["server"].resource_status == "CREATE_FAILED"
    assert stacks.resources(stack)["flavor"].resource_status == "CREATE_COMPLETE"
    stacks.delete(stack, QUICK)


def begun(stacks, containers):
    """A stack in mid-create, and the node whose engine has it in hand."""
    stack = stacks.create("gate.yaml")
    query = HOLDER.format(stack=stack, resource="gate")
    ask = ["mariadb", "--defaults-file=/var/lib/mysql-client.cnf", "--batch",
           "--skip-column-names", "--execute", query]  # fmt: skip

    def held() -> str:
        gate = stacks.resources(stack).get("gate")
        if gate is None or gate.resource_status != "CREATE_IN_PROGRESS":
            raise NotYet(f"gate: {gate and gate.resource_status}")
        node = containers.exec("mariadb", ask).strip()
        if not node:
            raise NotYet("no engine has it in hand")
        return node

    return stack, wait_until(held, what="the stack to be in mid-create", timeout=QUICK)


def test_another_engine_takes_a_stack_on(stacks, containers, faults, inventory, measure):
    """Heat does not look for stacks of dead engines: to be told what is wanted is enough."""
    if len(inventory.with_role("control")) < 2:
        pytest.skip("there is one engine: up --topology multinode")
    stack, holder = begun(stacks, containers)
    with faults.kill("heat_engine", on=holder):
        stacks.update(stack, "gate.yaml")
        stacks.client.resources.signal(stack, "handle", {"status": "SUCCESS", "id": "1"})
        measure("another engine completes it", stacks.wait(stack, "UPDATE_COMPLETE", QUICK), "s")
        assert all(
            one.resource_status.endswith("_COMPLETE") for one in stacks.resources(stack).values()
        ), stacks.reasons(stack)
        measure("another engine deletes it", stacks.delete(stack, QUICK), "s")
    containers.start("heat_engine", holder)


def test_a_stack_of_a_dead_engine_is_deleted(stacks, containers, faults, inventory, cloud, measure):
    """By another engine while the first is dead, or by it when it is back."""
    stack, holder = begun(stacks, containers)
    network = stacks.resources(stack)["before"].physical_resource_id
    with faults.kill("heat_engine", on=holder):
        if len(inventory.with_role("control")) > 1:
            measure("delete by another engine", stacks.delete(stack, QUICK), "s")
    containers.start("heat_engine", holder)
    if stacks.status(stack) != "DELETE_COMPLETE":
        measure("delete after the engine's restart", stacks.delete(stack, QUICK), "s")
    assert not cloud.network.find_network(network), "its network is still there"
