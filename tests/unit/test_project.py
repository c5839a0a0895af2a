"""The project's frame: what the wheel carries, what the documents promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from devenv.cli.main import COMMANDS
from devenv.core.hashing import tree_files
from devenv.services.model import Service

ROOT = Path(__file__).parents[2]
SERVICES = sorted((ROOT / "devenv/services").glob("*/service.yaml"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# What an installed devenv is asked for, far from any checkout.
INSTALLED = """
from devenv.services.catalogue import catalogue, cookbook, enabled
from devenv.topology.load import load
import devenv
print(devenv.__file__)
print(*sorted(catalogue()))
print(len(cookbook(enabled(load("aio")), "2026.1").hashes()) > len(catalogue()))
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as a release would build it."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_carries_every_file(wheel: Path) -> None:
    """The package's own files, and the scenarios that `devenv test` runs."""
    with zipfile.ZipFile(wheel) as archive:
        carried = set(archive.namelist())
    wanted = {str(path.relative_to(ROOT)) for path in tree_files(ROOT / "devenv")}
    wanted |= {f"devenv/_data/{path.relative_to(ROOT)}" for path in tree_files(ROOT / "scenarios")}
    assert wanted - carried == set()
    for pattern in (
        r"devenv/_data/scenarios/test_\w+\.py",
        r"devenv/services/nova/service\.yaml",
        r"devenv/services/nova/templates/nova\.conf",
        r"devenv/services/nova/image/Dockerfile",
        r"devenv/images/openstack-base/requirements\.lock",
        r"devenv/topology/presets/aio\.yaml",
        r"devenv/topology/topology\.schema\.json",
    ):
        assert any(re.fullmatch(pattern, name) for name in carried), f"no {pattern} in the wheel"


def test_wheel_works_outside_a_checkout(wheel: Path, tmp_path: Path) -> None:
    """Services, images and presets are found in the installed package."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    done = subprocess.run(
        [sys.executable, "-c", INSTALLED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    where, services, more_images_than_services = done.stdout.splitlines()
    assert Path(where).is_relative_to(tmp_path)
    assert services.split() == [path.parent.name for path in SERVICES]
    assert more_images_than_services == "True"


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.parent.name)
def test_service_folder_is_complete(path: Path) -> None:
    """service.yaml parses, and what it names is in its folder."""
    service = Service.model_validate(yaml.safe_load(path.read_text()))
    assert service.name == path.parent.name
    for name, spec in service.containers.items():
        for file in spec.files:
            assert (path.parent / "templates" / file.template).is_file(), f"{name}: {file.template}"
    dockerfile = (path.parent / "image/Dockerfile").read_text()
    assert set(service.images) <= set(re.findall(r"^FROM .* AS (\S+)$", dockerfile, re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_what_is_there(path: Path) -> None:
    """Each `make TARGET` exists, and each link to a file leads somewhere."""
    text = path.read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", text, re.MULTILINE))
    assert named <= targets, f"no such target: {named - targets}"
    for link in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in link:
            assert (path.parent / link).exists(), f"{path.name}: a link to {link}"


def test_readme_has_every_command() -> None:
    """The table of commands in README.md is that of the command line."""
    table = re.findall(r"^\| `devenv ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert set(table) == set(COMMANDS)


def test_readme_starts_with_two_commands() -> None:
    """A person in a hurry finds them in the first screen."""
    top = (ROOT / "README.md").read_text().splitlines()[:20]
    assert {"make up", "make test"} <= {line.split("#")[0].strip() for line in top}
