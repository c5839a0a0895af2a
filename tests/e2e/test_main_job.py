"""The main job, for real: from nothing to a guest that answers, twice, changed, broken, and gone.

The tests of this file share one environment and run in their order: each goes on from the one
before, as a contributor's day does.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from xml.etree import ElementTree

from environments import Devenv, Environments
from host import leftovers

#: A step after which `up` is killed: early, in the middle and late.
KILL_AFTER = ("mariadb_bootstrap", "keystone_register", "cloud_seed")


def status(devenv: Devenv) -> dict:
    """What `devenv status` tells as JSON."""
    return json.loads(devenv("status", "--output", "json").stdout)


def started(devenv: Devenv) -> dict[str, str]:
    """When each service container was started, by name."""
    lines = devenv(
        "ssh", "aio", "--", "docker", "ps", "--format", "{{.Names}}", "--no-trunc"
    ).stdout.split()
    out = devenv(
        "ssh",
        "aio",
        "--",
        "docker",
        "inspect",
        "--format",
        "{{.Name}} {{.State.StartedAt}}",
        *lines,
    ).stdout
    return dict(line.lstrip("/").split() for line in out.splitlines())


def up_and_kill(devenv: Devenv, after: str) -> None:
    """Start `up` and kill -9 it as soon as the step `after` is done."""
    process, _, err = devenv.start("up")
    deadline = time.monotonic() + 1200
    while f"{after} " not in "\n".join(
        line for line in err.read_text().splitlines() if "done in" in line
    ):
        assert process.poll() is None, f"`up` ended by itself before {after}:\n{err.read_text()}"
        assert time.monotonic() < deadline, f"{after} was never done:\n{err.read_text()}"
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_up_is_finished_by_the_next(devenv: Devenv) -> None:
    for step in KILL_AFTER:
        up_and_kill(devenv, step)
    devenv("up")
    found = status(devenv)
    assert found["guest"]["address"]
    states = {
        container["name"]: container["state"]
        for container in found["nodes"][0]["containers"]
        if container["kind"] == "container"
    }
    assert set(states.values()) == {"running"}, states
    assert {"keystone", "nova_compute", "nova_libvirt", "neutron_server"} <= states.keys()


def test_the_guest_is_in_the_cloud(devenv: Devenv) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "openstackclient.shell", "--os-cloud", f"devenv-{devenv.name}",
         "server", "list", "--format", "json"],
        env=devenv.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (server,) = json.loads(done.stdout)
    assert (server["Name"], server["Status"]) == ("guest", "ACTIVE")
    assert status(devenv)["guest"]["address"] in json.dumps(server["Networks"])


def test_the_lock_is_installed_and_every_service_imports(devenv: Devenv) -> None:
    code = (Path(__file__).parent / "import_services.py").read_text()
    run = ("docker", "run", "--rm", "--network", "none", "--entrypoint", "python")
    done = devenv("ssh", "aio", "--", *run, "devenv/openstack-base:2026.1", "-c", code)
    assert re.search(r"^\d{3} distributions, \d{2} programs$", done.stdout, re.MULTILINE), (
        done.stdout
    )


def test_a_second_up_touches_nothing(devenv: Devenv) -> None:
    before = started(devenv)
    assert len(before) > 15
    done = json.loads(devenv("up", "--output", "json").stdout)
    assert done["changed"] == []
    assert started(devenv) == before


def test_scenarios_are_green_and_write_junit(devenv: Devenv) -> None:
    junit = devenv.home / "junit.xml"
    devenv("test", "nova-boot", "libvirt-restart", "converge", "--junit", junit)
    cases = ElementTree.parse(junit).getroot().iter("testcase")
    names = {f"{case.get('classname')}.{case.get('name')}" for case in cases}
    for scenario in ("nova-boot", "libvirt-restart", "converge"):
        assert any(scenario in name for name in names), names


def test_nothing_secret_is_written(devenv: Devenv) -> None:
    """The administrator's password is in clouds.yaml (mode 0600) and in no log or journal."""
    clouds = devenv.home / "config/openstack/clouds.yaml"
    assert clouds.stat().st_mode & 0o077 == 0
    text = clouds.read_text()
    password = text.split("password: ")[1].split()[0]
    assert len(password) >= 20
    state = devenv.home / "environments" / devenv.name
    for path in [*devenv.home.glob("*.out"), *devenv.home.glob("*.err"), state / "journal.jsonl",
                 state / "results.json", state / "report.html"]:  # fmt: skip
        assert password not in path.read_text(), path


def test_a_checkout_replaces_one_service_alone(devenv: Devenv, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
         "--no-binary", ":all:", "--dest", tmp_path, "keystone==29.0.1"],
        check=True,
    )  # fmt: skip
    with tarfile.open(next(tmp_path.glob("keystone-*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    checkout = next(path for path in tmp_path.iterdir() if path.is_dir())
    marker = "devenv was here"
    (checkout / "keystone" / "devenv_marker.py").write_text(f"TEXT = {marker!r}\n")
    before = started(devenv)
    devenv("up", "--source", f"keystone={checkout}")
    after = started(devenv)
    assert {name for name in before if before[name] != after[name]} == {"keystone"}
    code = "from keystone.devenv_marker import TEXT; print(TEXT)"
    assert marker in devenv("exec", "keystone", "--", "python", "-c", code).stdout
    devenv("up")
    again = started(devenv)
    assert {name for name in before if again[name] != after[name]} == {"keystone"}


def test_another_topology_is_refused(devenv: Devenv, tmp_path: Path) -> None:
    topology = tmp_path / "aio.yaml"
    topology.write_text(devenv("ssh", "aio", "--", "cat", "/etc/kolla/topology.yaml").stdout)
    said = devenv("up", "--topology", topology, code=2).stderr
    assert "exists with the topology 'aio'" in said


def test_a_broken_libvirt_turns_the_scenario_red(devenv: Devenv) -> None:
    """The proof that libvirt-restart can fail; it comes last since the guest is lost."""
    subprocess.run(
        [sys.executable, Path(__file__).parent / "broken_libvirt.py", devenv.name],
        env=devenv.environ, check=True,
    )  # fmt: skip
    junit = devenv.home / "broken.xml"
    devenv("test", "libvirt-restart", "--junit", junit, code=1)
    failures = [
        one.get("message", "") for one in ElementTree.parse(junit).getroot().iter("failure")
    ]
    assert any("the guest died with nova_libvirt" in message for message in failures), failures
    changed = json.loads(devenv("up", "--output", "json").stdout)["changed"]
    assert "aio/nova_libvirt" in changed


def test_down_leaves_nothing(devenv: Devenv) -> None:
    said = devenv("down").stderr
    assert f"container devenv-{devenv.name}-aio" in said
    assert leftovers(devenv.name) == []
    assert not (devenv.home / "config/openstack/clouds.yaml").exists()
    assert "there is no environment" in devenv("down").stderr


def test_down_after_a_kill_leaves_nothing(environments: Environments) -> None:
    devenv = environments()
    up_and_kill(devenv, "rabbitmq")
    devenv("down")
    assert leftovers(devenv.name) == []


LIGHT = """\
version: 1
nodes:
  light: {roles: [control], memory: 1GiB}
services:
  disable: [glance, keystone, libvirt, mariadb, neutron, nova, openvswitch, ovn, placement,
            rabbitmq, seed]
overrides: {memcached: {config: {"": {"%s": "64"}}}}
"""


def test_a_container_that_dies_is_named_with_its_last_words(
    environments: Environments, tmp_path: Path
) -> None:
    devenv, topology = environments(), tmp_path / "light.yaml"
    topology.write_text(LIGHT % "--no-such-option")
    said = devenv("up", "--topology", topology, code=2).stderr
    assert "light: memcached: memcached " in said
    assert "unrecognized option" in said, "the container's last words are missing"
    assert "devenv up" in said, "what to do next is missing"
    topology.write_text(LIGHT % "-m")
    devenv("up", "--topology", topology)
    assert "memcached" in devenv("ssh", "light", "--", "docker", "ps").stdout
    devenv("down")
    assert leftovers(devenv.name) == []
