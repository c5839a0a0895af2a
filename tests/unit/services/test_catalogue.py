"""The catalogue as it is, and what a topology may choose from it."""

from __future__ import annotations

from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from devenv.core.errors import InputError
from devenv.services.catalogue import catalogue, cookbook, enabled
from devenv.services.model import Service
from devenv.topology.load import LoadedTopology, load

CATALOGUE = catalogue()
ROOT = Path(__file__).parents[3] / "devenv/services"
CONTAINERS = {
    name: (service, spec)
    for service in CATALOGUE.values()
    for name, spec in service.containers.items()
}


def test_every_folder_is_a_service() -> None:
    folders = {path.parent.name: path.parent for path in ROOT.glob("*/service.yaml")}
    assert {name: service.folder for name, service in CATALOGUE.items()} == folders


def test_container_names_are_unique() -> None:
    assert len(CONTAINERS) == sum(len(service.containers) for service in CATALOGUE.values())


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_fits_into_the_catalogue(name: str) -> None:
    service, spec = CONTAINERS[name]
    assert set(spec.after) <= CONTAINERS.keys()
    # Only then is each of them deployed whenever this one is.
    reachable, pending = {service.name}, list(service.requires)
    while pending:
        other = pending.pop()
        reachable.add(other)
        pending += [needed for needed in CATALOGUE[other].requires if needed not in reachable]
    # What is only there where there are several nodes is waited for where it is.
    always = {before for before in spec.after if not CONTAINERS[before][1].clustered}
    assert {CONTAINERS[before][0].name for before in always} <= reachable
    made = {image for other in CATALOGUE.values() for image in other.images}
    assert spec.image in made
    if spec.schemas:
        assert service.database is not None
    if spec.creates_volume:
        assert any(volume.startswith(f"{spec.creates_volume}:") for volume in spec.volumes)
    assert spec.is_job or spec.ready, "whether it answers is never asked"


@pytest.mark.parametrize("service", CATALOGUE.values(), ids=CATALOGUE)
def test_a_service_names_what_is_there(service: Service) -> None:
    assert set(service.requires) <= CATALOGUE.keys() - {service.name}
    names = {Path(f.dest).name for spec in service.containers.values() for f in spec.files}
    assert not service.config or service.config in names


def test_images_are_made_once() -> None:
    images = [image for service in CATALOGUE.values() for image in service.images]
    assert len(images) == len(set(images))


def test_a_cookbook_makes_every_image_that_is_run() -> None:
    services = list(CATALOGUE.values())
    hashes = cookbook(services, "2026.1").hashes()
    assert {spec.image for _, spec in CONTAINERS.values()} <= hashes.keys()
    assert {"base", "openstack-base"} <= hashes.keys()


def test_a_cookbook_has_no_more_than_is_needed() -> None:
    found = cookbook([CATALOGUE["memcached"]], "2026.1").recipes.keys()
    assert found == {"memcached", "base"}


def test_the_order_has_no_cycle() -> None:
    order = {name: set(spec.after) for name, (_, spec) in CONTAINERS.items()}
    assert set(TopologicalSorter(order).static_order()) == CONTAINERS.keys()


def test_a_job_has_no_ready() -> None:
    container = {"image": "x", "roles": ["control"], "job": True, "ready": {"command": "true"}}
    with pytest.raises(ValidationError, match="x_job: a job is done when it ends"):
        Service.model_validate({"name": "x", "summary": "x", "containers": {"x_job": container}})


def test_an_unknown_key_is_an_error() -> None:
    data = yaml.safe_load((ROOT / "mariadb/service.yaml").read_text())
    data["containers"]["mariadb"]["volume"] = []
    with pytest.raises(ValidationError, match="volume"):
        Service.model_validate(data)


# -- what a topology chooses -------------------------------------------------------------

Written = Callable[[str], LoadedTopology]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Loads a topology file with one node of all roles and these lines, from line 3."""

    def write(
        text: str, nodes: str = "{n: {roles: [control, network, compute]}}"
    ) -> LoadedTopology:
        file = tmp_path / "t.yaml"
        file.write_text(f"version: 1\nnodes: {nodes}\n{text}\n")
        return load(file)

    return write


def names(services: list[Service]) -> list[str]:
    return [service.name for service in services]


@pytest.mark.parametrize("preset", ["aio", "multinode"])
def test_a_preset_has_all_but_the_optional_ones(preset: str) -> None:
    usual = [name for name, service in CATALOGUE.items() if not service.optional]
    assert names(enabled(load(preset))) == usual


def test_optional_services_are_enabled_by_name(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = CATALOGUE["memcached"].model_copy(update={"name": "extra", "optional": True})
    both = {**CATALOGUE, "extra": extra}
    monkeypatch.setattr("devenv.services.catalogue.catalogue", lambda: both)
    assert "extra" not in names(enabled(written("")))
    assert "extra" in names(enabled(written("services: {enable: [extra]}")))


def test_what_is_disabled_is_left_out(written: Written) -> None:
    assert "seed" not in names(enabled(written("services: {disable: [seed]}")))


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        (
            "services:\n  enable:\n    - seed\n    - glanse",
            "t.yaml:6",
            "services.enable: there is no service 'glanse'; did you mean glance?",
        ),
        (
            "services:\n  disable: [zaqar]",
            "t.yaml:4",
            "services.disable: there is no service 'zaqar'",
        ),
        (
            "overrides:\n  nova: {}\n  neutrn: {}",
            "t.yaml:5",
            "overrides: there is no service 'neutrn'; did you mean neutron?",
        ),
    ],
)
def test_a_name_that_is_no_service(written: Written, text: str, where: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        enabled(written(text))
    assert caught.value.message.endswith(f"{where}: {words}")
    assert caught.value.remedy == f"services: {', '.join(CATALOGUE)}"


def test_a_service_that_another_needs_is_disabled(written: Written) -> None:
    with pytest.raises(InputError) as caught:
        enabled(written("services:\n  disable: [placement]"))
    assert caught.value.message.endswith("t.yaml:3: nova needs placement, which is disabled")
    assert "disable nova as well" in str(caught.value)


def test_a_role_without_a_node(written: Written) -> None:
    with pytest.raises(InputError) as caught:
        enabled(written("", nodes="{n: {roles: [control, network]}}"))
    assert caught.value.message.endswith("t.yaml:2: libvirt needs a node with the role compute")


def test_one_of_several_roles_is_enough(written: Written) -> None:
    """The switch runs on compute and network nodes; either will do."""
    only = [name for name in CATALOGUE if name != "openvswitch"]
    chosen = enabled(
        written(f"services: {{disable: {only}}}", nodes="{n: {roles: [control, compute]}}")
    )
    assert names(chosen) == ["openvswitch"]
