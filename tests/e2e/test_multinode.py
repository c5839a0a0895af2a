"""Three controllers, for real: killed as they form clusters, broken, switched off, wiped, and gone.

The tests of this file share one environment and run in their order: each goes on from the one
before. The first one finds out whether `up` works at all, the others take minutes less.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from environments import Devenv, last
from host import leftovers
from members import divided, started, wait_whole

from devenv.core.events import Event, Events
from devenv.core.redact import Redactor
from devenv.core.wait import NotYet, wait_until
from devenv.environment import Environment
from devenv.report import page, results
from devenv.report.journal import read_journal
from devenv.services.catalogue import catalogue
from devenv.testing.clients.rows import Rows
from devenv.testing.history import History
from devenv.testing.load import Load
from devenv.topology.load import load

CONTROL, COMPUTE = ["ctl1", "ctl2", "ctl3"], ["cmp1", "cmp2"]
#: Jobs run once in an environment's life, but for the one that makes sure that the guest answers.
JOBS = {
    name
    for service in catalogue().values()
    for name, spec in service.containers.items()
    if spec.is_job and name != "cloud_guest"
}
#: The database is what loses most if it goes wrong; frozen it is what broken_ha.py is about.
SCENARIOS = {
    "test_haproxy_of_the_vip_holder_is_killed": "kill haproxy on ctl",
    "test_the_database_primary_is_killed": "kill mariadb on ctl",
    "test_the_database_primary_is_frozen": "pause mariadb on ctl",
}


@pytest.fixture(scope="module")
def environment(devenv: Devenv) -> Iterator[Environment]:
    """The same environment as `devenv` is about, to ask its nodes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEVENV_HOME", str(devenv.home))
        yield Environment(devenv.name, "local", Events(), Redactor())


@pytest.fixture(scope="module")
def rows(environment: Environment) -> Rows:
    """Writes through the virtual IP; the rows stay for the tests that come later."""
    password = environment.secrets().password("database_root")
    return Rows(str(environment.inventory().vip), "root", password)


@pytest.fixture(scope="module")
def history() -> History:
    """What became of each row."""
    return History()


def write_topology(devenv: Devenv, compute: list[str]) -> Path:
    """The preset, but each compute node is a set of its own, so that either can be lost."""
    data = load("multinode").topology.to_data()
    alike = {**data["nodes"].pop("cmp"), "count": 1}
    data["nodes"] |= dict.fromkeys(compute, alike)
    file = devenv.home / f"{devenv.name}.yaml"
    file.write_text(json.dumps(data, indent=1))  # which is YAML, too
    return file


def status(devenv: Devenv) -> dict[str, Any]:
    """What `devenv status` tells as JSON."""
    found: dict[str, Any] = json.loads(devenv("status", "--output", "json").stdout)
    return found


def up(devenv: Devenv) -> list[str]:
    """Run `up` with the topology that the environment has; what it changed."""
    changed: list[str] = json.loads(devenv("up", "--output", "json").stdout)["changed"]
    return changed


def assert_well(devenv: Devenv, environment: Environment, nodes: list[str]) -> None:
    """All of `nodes`, every container running, a guest that answers, one cluster of each kind."""
    found = status(devenv)
    assert [node["name"] for node in found["nodes"]] == nodes
    states = {
        f"{node['name']}/{container['name']}": container["state"]
        for node in found["nodes"]
        for container in node["containers"]
        if container["kind"] == "container"
    }
    assert {id.partition("/")[0] for id in states} == set(nodes)
    assert {id: state for id, state in states.items() if state != "running"} == {}
    assert divided(environment) == []

    def answers() -> None:
        guest = environment.status().guest
        if guest is None or not guest.answers:
            raise NotYet(f"{guest}")

    # The gateway of its address may be on its way back to a node that was away.
    wait_until(answers, what="the guest", timeout=30)


def acknowledged(history: History) -> set[int]:
    """The rows of which the client was told that they are written."""
    return {one.value for one in history.of("rows", "write") if one.outcome == "ok"}


def assert_every_row(environment: Environment, rows: Rows, history: History) -> None:
    """On every member, once, and the same rows on all of them."""
    control = environment.inventory().with_role("control")
    finals = rows.final({node.name: node.address for node in control})
    assert rows.unread == {}
    read = {node: values or [] for node, values in finals.items()}
    for node in CONTROL:
        assert acknowledged(history) - set(read[node]) == set(), node
    first = read[CONTROL[0]]
    assert len(set(first)) == len(first)
    assert {node: sorted(values) for node, values in read.items()} == dict.fromkeys(
        CONTROL, sorted(first)
    )


def container(devenv: Devenv, node: str) -> str:
    """What this machine's engine calls a node; its volume has the same name."""
    return f"devenv-{devenv.name}-{node}"


def journal(devenv: Devenv, kind: str, step: str) -> list[Event]:
    """The events of a kind about a step, of all commands so far."""
    path = devenv.home / "environments" / devenv.name / "journal.jsonl"
    found = read_journal(path) if path.exists() else iter(())
    return [event for event in found if (event.kind, event.step) == (kind, step)]


def kill_when(due: Callable[[], bool], devenv: Devenv, *arguments: str | Path) -> None:
    """Start a command and kill -9 it as soon as `due`; it must not have ended before."""
    process, _, err = devenv.start(*arguments)

    def now() -> None:
        assert process.poll() is None, f"it ended by itself:\n{last(err.read_text())}"
        if not due():
            raise NotYet(last(err.read_text()))

    try:
        wait_until(now, what="the moment to kill it", timeout=900, interval=0.05, longest=0.1)
    finally:
        process.kill()
        process.wait()


def test_an_up_that_was_killed_while_clusters_form_is_finished(
    devenv: Devenv, environment: Environment
) -> None:
    """No second cluster: each kill leaves some members with data, or running, and others not."""
    file = write_topology(devenv, COMPUTE)

    def one_has_data() -> bool:
        return bool(journal(devenv, "done", "mariadb_bootstrap"))

    def one_runs() -> bool:
        begun = {e.node for e in journal(devenv, "start", "mariadb") if e.type == "container"}
        ask = ("docker", "ps", "--quiet", "--filter", "name=^mariadb$")
        return any(
            subprocess.run(
                ["docker", "exec", container(devenv, node), *ask], capture_output=True, check=True
            ).stdout
            for node in sorted(filter(None, begun))
        )

    kill_when(one_has_data, devenv, "up", "--topology", file)
    kill_when(one_runs, devenv, "up", "--topology", file)
    devenv("up", "--topology", file)
    assert_well(devenv, environment, [*CONTROL, *COMPUTE])


def test_a_second_up_touches_nothing(devenv: Devenv, environment: Environment) -> None:
    before = started(environment)
    assert {id.partition("/")[0] for id in before} == {*CONTROL, *COMPUTE}
    assert up(devenv) == []
    assert started(environment) == before


def test_what_is_acknowledged_survives_and_the_report_says_so(devenv: Devenv) -> None:
    junit = devenv.home / "multinode.xml"
    chosen = "haproxy or primary_is_killed or primary_is_frozen"
    devenv(
        "test", "failover/loadbalancer", "failover/database", "--junit", junit, "--", "-k", chosen
    )
    found = {one.name: one for one in results.read(junit.with_suffix(".json")).results}
    assert found.keys() == SCENARIOS.keys()
    gaps = []
    for name, result in found.items():
        assert result.verdict == "passed", result.reason
        assert result.evidence is not None
        (window,) = result.evidence.windows
        assert window.fault.startswith(SCENARIOS[name])
        assert 0 < window.begin <= window.held <= window.healed
        said = {check.name: check.said for check in result.evidence.checks}
        assert said["lost rows"].startswith("none of ")
        assert said["lost messages"].startswith("all of ")
        assert "longest gap of rows write" in {figure.name for figure in result.figures}
        gaps += [gap for series in result.evidence.series for gap in series.gaps]
    assert gaps, "no client noticed any of the faults"
    shown = (devenv.home / "environments" / devenv.name / page.PAGE).read_text()
    assert all(result.title in shown for result in found.values())
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        figures = {one.get("name"): one.get("value") for one in case.iter("property")}
        assert float(figures["longest gap of rows write [s]"] or 0) > 0, case.attrib


def test_all_controllers_lose_power_and_every_row_comes_back(
    devenv: Devenv, environment: Environment, rows: Rows, history: History
) -> None:
    client = Load([rows], history)
    with client.running():
        client.run_for(3)
        subprocess.run(["docker", "kill", *(container(devenv, n) for n in CONTROL)], check=True)
        off = time.monotonic()
        client.run_for(2)
    before = [one for one in history.of("rows", "write") if one.completed < off]
    assert sum(one.outcome == "ok" for one in before) > 20
    assert not any(one.outcome == "ok" for one in history.of("rows") if one.invoked > off)
    run = {id.partition("/")[2] for id in up(devenv)} & JOBS
    # That one may have to help a cluster that was lost as a whole; it never touches data.
    assert run <= {"mariadb_bootstrap"}
    assert_well(devenv, environment, [*CONTROL, *COMPUTE])
    assert_every_row(environment, rows, history)


def test_a_wiped_controller_joins_the_others(
    devenv: Devenv, environment: Environment, rows: Rows, history: History
) -> None:
    """The first one, on which every job ran: the others know that they need not run again."""
    name = container(devenv, CONTROL[0])
    subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True)
    subprocess.run(["docker", "volume", "rm", name], check=True)
    changed = up(devenv)
    assert {id.partition("/")[0] for id in changed} == {CONTROL[0]}
    assert {id.partition("/")[2] for id in changed} & JOBS == set()
    assert_well(devenv, environment, [*CONTROL, *COMPUTE])
    assert_every_row(environment, rows, history)


def test_a_compute_node_goes_and_comes_back(devenv: Devenv, environment: Environment) -> None:
    import openstack

    entry: dict[str, Any] = environment.cloud().entry()
    cloud = openstack.connect(load_yaml_config=False, load_envvars=False, api_timeout=60, **entry)
    compute = cloud.compute

    def hosts() -> dict[str, str]:
        return {one.host: one.state for one in compute.services() if one.binary == "nova-compute"}

    (guest,) = compute.servers(details=True)
    stays = guest.compute_host
    (goes,) = set(COMPUTE) - {stays}
    other = compute.create_server(
        name="other",
        image_id=cloud.image.find_image("guest", ignore_missing=False).id,
        flavor_id=compute.find_flavor("tiny", ignore_missing=False).id,
        networks=[{"uuid": cloud.network.find_network("internal", ignore_missing=False).id}],
        availability_zone=f"nova:{goes}",
    )
    compute.wait_for_server(other, interval=1, wait=180)

    write_topology(devenv, [stays])
    said = devenv("up", code=2).stderr
    assert f"the topology has no node {goes} any more" in said
    assert "other" in said and "--force" in said
    assert hosts() == dict.fromkeys(COMPUTE, "up")
    compute.delete_server(other)
    compute.wait_for_delete(other, interval=1, wait=120)

    # The switches of those that stay have one peer less; nothing else of them is touched.
    alike = {"openvswitch_underlay", "cloud_guest"}
    assert {id.partition("/")[2] for id in up(devenv)} <= alike
    assert_well(devenv, environment, [*CONTROL, stays])
    assert hosts() == {stays: "up"}

    write_topology(devenv, COMPUTE)
    changed = up(devenv)
    assert f"{goes}/nova_compute" in changed
    assert {id.partition("/")[2] for id in changed if not id.startswith(f"{goes}/")} <= alike
    assert_well(devenv, environment, [*CONTROL, *COMPUTE])

    def both() -> None:
        if (found := hosts()) != dict.fromkeys(COMPUTE, "up"):
            raise NotYet(str(found))

    wait_until(both, what="nova to see the node again", timeout=60)


def faults(devenv: Devenv) -> list[dict[str, Any]]:
    """What `devenv fault list` tells."""
    found: list[dict[str, Any]] = json.loads(devenv("fault", "list", "--output", "json").stdout)
    return found


def test_a_fault_by_hand_is_healed_when_its_time_is_over(
    devenv: Devenv, environment: Environment
) -> None:
    said = devenv("fault", "partition", "ctl2", "--for", "3s").stderr
    assert "healed: partition ctl2 from all" in said
    assert faults(devenv) == []
    wait_whole(environment)


def test_a_fault_whose_process_was_killed_is_left_behind_and_healed(
    devenv: Devenv, environment: Environment
) -> None:
    held = len(journal(devenv, "start", "hold"))
    told: list[dict[str, Any]] = []

    def holds() -> bool:
        if len(journal(devenv, "start", "hold")) == held:
            return False
        told.extend(faults(devenv))
        return True

    kill_when(holds, devenv, "fault", "partition", "one", "--for", "300s")
    (before,) = told
    assert before["state"].startswith("held by process ")
    (after,) = faults(devenv)
    assert (after["id"], after["state"]) == (before["id"], "left behind")
    assert f"healed `{after['fault']}`" in devenv("fault", "heal").stderr
    assert faults(devenv) == []
    wait_whole(environment)


def test_up_heals_a_fault_that_was_to_stay(devenv: Devenv, environment: Environment) -> None:
    words = ("fault", "kill", "one", "--container", "haproxy", "--output", "json")
    (fault,) = json.loads(devenv(*words).stdout)["faults"]
    (listed,) = faults(devenv)
    assert (listed["id"], listed["state"]) == (fault["id"], "kept")
    up(devenv)
    assert faults(devenv) == []
    assert_well(devenv, environment, [*CONTROL, *COMPUTE])


def test_a_haproxy_that_looks_at_the_port_alone_turns_the_scenario_red(devenv: Devenv) -> None:
    """Done when 2: of the ways in docs/failover.md the one that takes the least time to mend."""
    broken = Path(__file__).parent / "broken_ha.py"
    subprocess.run(
        [sys.executable, broken, devenv.name, "port-check"], env=devenv.environ, check=True
    )
    junit = devenv.home / "broken.xml"
    name = "test_the_database_primary_is_frozen"
    devenv("test", "failover/database", "--junit", junit, "--", "-k", name, code=1)
    found = {one.name: one for one in results.read(junit.with_suffix(".json")).results}
    result = found[name]
    assert result.verdict == "failed"
    checks = {one.name: one.verdict for one in result.evidence.checks} if result.evidence else {}
    assert checks.get("longest gap of rows write") == "fail", result.reason
    assert set(up(devenv)) >= {f"{node}/haproxy" for node in CONTROL}


def test_down_leaves_nothing(devenv: Devenv) -> None:
    devenv("fault", "kill", "one", "--container", "memcached")
    said = devenv("down").stderr
    for node in (*CONTROL, *COMPUTE):
        assert f"container {container(devenv, node)}" in said
    assert leftovers(devenv.name) == []
    assert not (devenv.home / "environments" / devenv.name).exists(), "a fault's record, say"
    assert not (devenv.home / "config/openstack/clouds.yaml").exists()
