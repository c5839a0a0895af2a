"""A second `up` touches nothing; a changed config re-creates only its service's containers."""

from __future__ import annotations

import dataclasses
import re
import time

import pytest

from devenv.deploy.checkouts import checkouts
from devenv.topology.load import load
from devenv.topology.models import Topology

#: A service that nothing depends on for long, and an option of it that changes nothing else.
SERVICE, CONFIG = "memcached", {"": {"-m": "96"}}


@pytest.fixture(scope="module")
def wanted(inventory, containers):
    """The topology that the environment was made from."""
    for container in containers.all().values():
        if re.search(r":.*-[0-9a-f]{8}$", container.image):
            pytest.skip(f"{container.name} runs a checkout, which only the caller of `up` knows")
    return load(inventory.source)


def started(containers):
    """When each container was started last, and which it is."""
    return {name: (found.id, found.started) for name, found in containers.all().items()}


def changed(before, after):
    """The containers that are not what they were."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def up(environment, wanted):
    """Run `up` as its command does; the seconds and what it says it changed."""
    begin = time.monotonic()
    outcome = environment.up(wanted, checkouts(wanted, ()))
    return time.monotonic() - begin, outcome.changed


def test_a_second_up_touches_nothing(environment, wanted, containers, measure):
    before = started(containers)
    assert before
    seconds, said = up(environment, wanted)
    measure("second up", seconds, "s")
    assert said == []
    assert changed(before, started(containers)) == set()


def test_a_changed_config_touches_one_service(environment, wanted, containers, measure):
    data = wanted.topology.to_data()
    data.setdefault("overrides", {}).setdefault(SERVICE, {})["config"] = CONFIG
    other = dataclasses.replace(wanted, topology=Topology.model_validate(data))
    mine = {name for name in containers.all() if name.endswith(f"/{SERVICE}")}
    before = started(containers)
    try:
        seconds, said = up(environment, other)
        measure("up with one changed service", seconds, "s")
        after = started(containers)
        assert changed(before, after) == mine == set(said)
        ids = {name: found[0] for name, found in after.items()}
        assert all(ids[name] != before[name][0] for name in mine), "it was not made again"
    finally:
        seconds, said = up(environment, wanted)
    measure("up back again", seconds, "s")
    assert changed(after, started(containers)) == mine == set(said)
