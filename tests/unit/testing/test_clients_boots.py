from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from openstack import exceptions

from devenv.core.errors import WaitTimeout
from devenv.testing.clients.boots import Boots
from devenv.testing.history import History, Operation


def http(status: int) -> Exception:
    error = exceptions.HttpException("nova's words")
    error.status_code = status
    return error


class Compute:
    """Nova: a server takes one look to become ACTIVE and one to go, unless told otherwise."""

    def __init__(self) -> None:
        self.existing: dict[str, Any] = {}
        self.end = "ACTIVE"
        self.fault = "No valid host was found."
        self.stuck_deleting = False
        self.create_errors: list[Exception] = []
        self.errors: list[Exception] = []
        self.creates_in_secret = False
        self.deletes: list[str] = []

    def find_flavor(self, name: str, ignore_missing: bool) -> Any:
        return SimpleNamespace(id=f"{name}-flavor")

    def create_server(self, name: str, **rest: Any) -> Any:
        assert rest == {
            "image_id": "guest-image",
            "flavor_id": "tiny-flavor",
            "networks": [{"uuid": "internal-network"}],
        }
        trouble = self.create_errors.pop(0) if self.create_errors else None
        if not trouble or self.creates_in_secret:
            self.existing[name] = SimpleNamespace(
                id=f"id-{name}", name=name, status="BUILD", task_state="scheduling", fault=None
            )
        if trouble:
            raise trouble
        return self.existing[name]

    def get_server(self, server: str) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        one = self.existing[server.removeprefix("id-")]
        seen = SimpleNamespace(**vars(one))
        one.status = self.end
        if self.end == "ERROR":
            one.fault = {"message": self.fault}
        return seen

    def servers(self, name: str) -> Iterator[Any]:
        if self.errors:
            raise self.errors.pop(0)
        for one in list(self.existing.values()):
            if one.name.startswith(name.removeprefix("^")):
                yield SimpleNamespace(**vars(one))
                if one.task_state == "deleting" and not self.stuck_deleting:
                    del self.existing[one.name]

    def delete_server(self, server: str, ignore_missing: bool) -> None:
        self.deletes.append(server)
        self.existing[server.removeprefix("id-")].task_state = "deleting"


@pytest.fixture
def compute() -> Compute:
    return Compute()


@pytest.fixture
def boots(compute: Compute) -> Boots:
    def find(kind: str) -> Any:
        return lambda name, ignore_missing: SimpleNamespace(id=f"{name}-{kind}")

    cloud = SimpleNamespace(
        compute=compute,
        image=SimpleNamespace(find_image=find("image")),
        network=SimpleNamespace(find_network=find("network")),
    )
    client = Boots(cloud, limit=0.2, poll=0.001)
    client.open()
    return client


def steps(client: Boots, count: int = 1) -> list[Operation]:
    history = History()
    for _ in range(count):
        client.step(history)
    return history.operations


def told(found: list[Operation]) -> list[tuple[str, str]]:
    return [(one.kind, one.outcome) for one in found]


def test_a_server_comes_and_goes(boots: Boots, compute: Compute) -> None:
    found = steps(boots, 2)
    assert told(found) == [("boot", "ok"), ("delete", "ok")] * 2
    assert found[0].value == found[1].value != found[2].value
    assert compute.existing == {}


def test_what_nova_refuses_failed_and_needs_no_delete(boots: Boots, compute: Compute) -> None:
    compute.create_errors = [http(403)]
    found = steps(boots, 2)
    assert told(found) == [("boot", "failed"), ("boot", "ok"), ("delete", "ok")]


@pytest.mark.parametrize(
    "trouble",
    [http(504), OSError("connection reset")],
)
def test_a_request_without_an_answer_may_have_made_a_server(
    boots: Boots, compute: Compute, trouble: Exception
) -> None:
    compute.create_errors, compute.creates_in_secret = [trouble], True
    assert told(steps(boots)) == [("boot", "info"), ("delete", "ok")]
    assert compute.existing == {}


def test_a_server_in_error_failed_with_novas_words(boots: Boots, compute: Compute) -> None:
    compute.end = "ERROR"
    found = steps(boots)
    assert told(found) == [("boot", "failed"), ("delete", "ok")]
    assert "No valid host" in found[0].error


@pytest.mark.parametrize(
    "fault",
    [
        "MessagingTimeout",
        "MessageDeliveryFailure",
        "Exceeded maximum number of retries. Last exception: Timed out waiting for a reply to "
        "message ID 8a3f",
    ],
)
def test_a_server_in_error_by_a_lost_message_was_not_refused(
    boots: Boots, compute: Compute, fault: str
) -> None:
    compute.end, compute.fault = "ERROR", fault
    found = steps(boots)
    assert told(found) == [("boot", "info"), ("delete", "ok")]
    assert fault in found[0].error


def test_a_lost_cast_shows_as_a_boot_that_never_ends(boots: Boots, compute: Compute) -> None:
    compute.end = "BUILD"
    found = steps(boots)
    assert told(found) == [("boot", "info"), ("delete", "ok")]
    assert "last seen: BUILD, task scheduling" in found[0].error


def test_an_api_that_is_away_for_a_moment_is_asked_again(boots: Boots, compute: Compute) -> None:
    compute.errors = [OSError("refused"), http(503)]
    assert told(steps(boots)) == [("boot", "ok"), ("delete", "ok")]


def test_a_delete_is_asked_for_once_and_the_rest_is_removed_in_the_end(
    boots: Boots, compute: Compute
) -> None:
    compute.stuck_deleting = True
    found = steps(boots)
    assert told(found) == [("boot", "ok"), ("delete", "info")]
    assert "task deleting" in found[1].error
    assert len(compute.deletes) == 1
    with pytest.raises(WaitTimeout):
        boots.close()
    compute.stuck_deleting = False
    boots.close()
    assert compute.existing == {}


def test_what_a_killed_run_left_goes_first(boots: Boots, compute: Compute) -> None:
    compute.stuck_deleting = True
    steps(boots)  # And then it is killed, so it never closes.
    assert all(name.startswith("devenv-boots-") for name in compute.existing)
    compute.stuck_deleting = False
    boots.open()
    assert compute.existing == {}


def test_servers_of_others_stay(boots: Boots, compute: Compute) -> None:
    other = SimpleNamespace(id="id-guest", name="guest", status="ACTIVE", task_state=None)
    compute.existing["guest"] = other
    boots.open()
    steps(boots)
    boots.close()
    assert list(compute.existing) == ["guest"]
