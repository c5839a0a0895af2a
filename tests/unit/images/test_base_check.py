"""kolla_set_configs --check: whether the container is what config.json says."""

from __future__ import annotations

import os

import pytest
from kolla_container import CONFIG_FILES, Container, somebody_else

SOURCE = f"{CONFIG_FILES}/nova.conf"
DEST = "/etc/nova/nova.conf"

FILES = [
    {"source": SOURCE, "dest": DEST},
    {"source": f"{CONFIG_FILES}/policy", "dest": "/etc/nova/policy"},
]


@pytest.fixture(autouse=True)
def _applied(container: Container) -> None:
    container.source("nova.conf", "text")
    container.source("policy/a.yaml", "a")
    container.configure(*FILES)
    container.applied()


def test_nothing_differs_after_configuring(container: Container) -> None:
    done = container.set_configs("--check", strategy="")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_changed_source_differs_and_the_destination_is_left_alone(container: Container) -> None:
    container.source("nova.conf", "secret2")
    error = container.refused("--check")
    assert f"{DEST}: the content is not that of {SOURCE}" in error
    assert "secret2" not in error
    assert container.path(DEST).read_text() == "text"


def test_a_changed_destination_differs(container: Container) -> None:
    container.write("/etc/nova/policy/a.yaml", "changed", 0o640)
    assert "/etc/nova/policy/a.yaml: the content is not that of" in container.refused("--check")


def test_another_perm_differs(container: Container) -> None:
    container.path(DEST).chmod(0o644)
    assert f"{DEST}: perm is 0644, not 0640" in container.refused("--check")


def test_another_owner_differs(container: Container) -> None:
    user, group = somebody_else()
    container.configure({**FILES[0], "owner": f"{user.pw_name}:{group.gr_name}"}, FILES[1])
    mine, wanted = f"{os.getuid()}:{os.getgid()}", f"{user.pw_uid}:{group.gr_gid}"
    assert f"{DEST}: owner is {mine}, not {wanted}" in container.refused("--check")


def test_another_command_differs(container: Container) -> None:
    container.configure(*FILES, command="sleep 2")
    expected = "the command is 'sleep 1', config.json says 'sleep 2'"
    assert expected in container.refused("--check")


def test_a_missing_destination_differs(container: Container) -> None:
    container.path(DEST).unlink()
    container.path("/etc/nova/policy/a.yaml").unlink()
    error = container.refused("--check")
    assert f"{DEST} is missing" in error
    assert "/etc/nova/policy/a.yaml is missing" in error


def test_a_file_where_a_directory_belongs_differs(container: Container) -> None:
    container.path("/etc/nova/policy/a.yaml").unlink()
    container.path("/etc/nova/policy").rmdir()
    container.write("/etc/nova/policy", "a file")
    assert "/etc/nova/policy is not a directory" in container.refused("--check")


def test_files_that_the_service_added_do_not_differ(container: Container) -> None:
    container.write("/etc/nova/policy/of_the_service", "")
    assert container.set_configs("--check").returncode == 0


def test_a_source_that_is_gone_is_an_error(container: Container) -> None:
    container.path(SOURCE).unlink()
    assert f"{SOURCE} is missing and not optional" in container.refused("--check")


def test_a_container_never_configured_differs(container: Container) -> None:
    container.path("/run_command").unlink()
    assert "/run_command is missing" in container.refused("--check")
