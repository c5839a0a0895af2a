"""Every container of every service, rendered for one node and for several."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from service_places import (
    AIO,
    IMAGES,
    MULTINODE,
    PLACES,
    SERVICES,
    Handed,
    changed,
    node,
    render_all,
    renderer,
)

from devenv.core.errors import DevenvError
from devenv.core.redact import Redactor
from devenv.core.secrets import Secrets
from devenv.deploy.actual import NodeState
from devenv.deploy.plan import plan
from devenv.services.catalogue import catalogue
from devenv.services.model import ConfigFile, ContainerSpec, Ready, Service
from devenv.services.render import Place, service_of

CATALOGUE = catalogue()
#: Config files that are INI with sections, by the ends of their names.
INI = (".ini", ".cnf", "nova.conf", "neutron.conf", "glance-api.conf", "placement.conf",
       "keystone.conf", "heat.conf")  # fmt: skip
IN_ORDER = [f"{s.name}-{name}" for s in SERVICES for name in s.containers]


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_every_template_of_a_service(service: Service, place: Place) -> None:
    made = renderer(place)
    for name, spec in service.containers.items():
        for where in made.place.nodes:
            if where.roles.isdisjoint(spec.roles):
                continue
            item = made.render(service, name, where)
            rendered = {n: d.decode() for n, d in item.files.items() if not n.endswith(".py")}
            for text in (*rendered.values(), item.ready, *item.environment.values()):
                assert "{{" not in text and "{%" not in text
                assert "Undefined" not in text and "None" not in text
            assert item.files.keys() == {"config.json", *(file.template for file in spec.files)}
            assert (item.image, item.node) == (f"devenv/{spec.image}:1", where.name)
            assert item.environment["KOLLA_CONFIG_STRATEGY"] == "COPY_ALWAYS"
            assert ("KOLLA_BOOTSTRAP" in item.environment) == spec.bootstrap


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_files_are_of_their_kind(place: Place) -> None:
    """Those that are INI parse, those that are JSON parse."""
    kinds: dict[str, int] = {}
    for item in render_all(renderer(place)).values():
        for name, data in item.files.items():
            if name.endswith(".json"):
                kinds["json"] = kinds.get("json", 0) + 1
                json.loads(data)
            elif name.endswith(INI):
                kinds["ini"] = kinds.get("ini", 0) + 1
                parsed = configparser.ConfigParser(strict=False, interpolation=None)
                parsed.read_string(data.decode())
                assert parsed.sections() or parsed.defaults()
    assert min(kinds["ini"], kinds["json"]) > 10


def test_config_json_is_kollas() -> None:
    """kolla_set_configs copies each file to where its service looks for it."""
    item = renderer().render(CATALOGUE["keystone"], "keystone", AIO.nodes[0])
    config = json.loads(item.files["config.json"])
    assert config["command"] == "uwsgi --ini /etc/keystone/uwsgi.ini"
    assert config["config_files"][0] == {
        "source": "/var/lib/kolla/config_files/keystone.conf",
        "dest": "/etc/keystone/keystone.conf",
        "owner": "keystone",
        "perm": "0600",
    }
    sources = {Path(entry["source"]).name for entry in config["config_files"]}
    assert sources == item.files.keys() - {"config.json"}


def test_several_control_nodes_are_all_named() -> None:
    nova = renderer(MULTINODE).render(CATALOGUE["nova"], "nova_api", MULTINODE.nodes[1])
    text = nova.files["nova.conf"].decode()
    assert "memcache_servers = 172.30.0.11:11211,172.30.0.12:11211,172.30.0.13:11211" in text
    assert text.count(":5672") == 3
    assert "my_ip = 172.30.0.12" in text
    assert "@172.30.0.10:3306/nova?" in text


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_the_real_catalogue_can_be_planned(place: Place) -> None:
    """As `up` does it: nothing comes after what no service has."""
    items = render_all(renderer(place))
    empty = {n.name: NodeState({}, frozenset()) for n in place.nodes}
    assert {action.id for action in plan(list(items.values()), empty)} == items.keys()


# -- hashes ------------------------------------------------------------------------------

_PRINT_HASHES = """
from service_places import MULTINODE, render_all, renderer
for id, item in render_all(renderer(MULTINODE)).items():
    print(id, item.hash)
"""


@pytest.mark.parametrize("seed", ["1", "2"])
def test_hashes_are_the_same_in_every_process(seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PRINT_HASHES],
        env={"PYTHONPATH": str(Path(__file__).parent), "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    here = {id: item.hash for id, item in render_all(renderer(MULTINODE)).items()}
    assert dict(line.split() for line in done.stdout.splitlines()) == here


def test_a_config_override_changes_what_reads_the_file() -> None:
    """And no database bootstrap: what it does depends on its image."""
    found = changed(renderer(), renderer(overrides={"nova": {"config": {"api": {"x": 1}}}}))
    assert found == {
        "nova_api", "nova_metadata", "nova_conductor", "nova_scheduler", "nova_novncproxy",
        "nova_compute",
    }  # fmt: skip


@pytest.mark.parametrize("name", [service.name for service in SERVICES if service.config])
def test_no_bootstrap_job_depends_on_config(name: str) -> None:
    service = CATALOGUE[name]
    overrides = {name: {"config": {"some": {"x": 1}}}}
    # One control node has no load balancer.
    place = MULTINODE if name == "loadbalancer" else AIO
    found = changed(renderer(place), renderer(place, overrides))
    reading = {
        container
        for container, spec in service.containers.items()
        if any(Path(file.dest).name == service.config for file in spec.files)
    }
    bootstraps = {container for container, spec in service.containers.items() if spec.bootstrap}
    assert found == reading - bootstraps != set()


@pytest.mark.parametrize(
    "name",
    [service.name for service in SERVICES if service.config],
)
def test_what_a_config_override_changes_has_options_in_sections(name: str) -> None:
    """Into another kind of file nothing can be merged."""
    service, made = CATALOGUE[name], renderer(MULTINODE)
    for container, spec in service.containers.items():
        item = made.render(service, container, made.nodes_for(spec)[0])
        for file in spec.files:
            if Path(file.dest).name == service.config:
                parsed = configparser.ConfigParser(strict=False, interpolation=None)
                parsed.read_string(f"[DEFAULT]\n{item.files[file.template].decode()}")


def test_a_file_override_changes_what_reads_that_file() -> None:
    overrides = {"nova": {"files": {"uwsgi.ini": {"uwsgi": {"threads": 8}}}}}
    assert changed(renderer(), renderer(overrides=overrides)) == {"nova_api", "nova_metadata"}


def test_another_image_changes_all_that_run_on_it_jobs_included() -> None:
    images = {**IMAGES, "nova-conductor": ("devenv/nova-conductor:1", "another")}
    assert changed(renderer(), renderer(images=images)) == {"nova_conductor", "nova_db_sync"}


def test_only_the_recipe_counts_and_not_the_images_name() -> None:
    images = {name: (f"elsewhere/{ref}", recipe) for name, (ref, recipe) in IMAGES.items()}
    assert changed(renderer(), renderer(images=images)) == set()


def changed_spec(**changes: object) -> set[str]:
    service = CATALOGUE["mariadb"]
    spec = service.containers["mariadb"].model_copy(update=changes)
    other = service.model_copy(update={"containers": {**service.containers, "mariadb": spec}})
    before = renderer().render(service, "mariadb", AIO.nodes[0])
    after = renderer().render(other, "mariadb", AIO.nodes[0])
    return {"mariadb"} if before.hash != after.hash else set()


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": {"A": "b"}},
        {"command": "other"},
        {"volumes": []},
        {"capabilities": ["NET_ADMIN"]},
        {"devices": ["/dev/net/tun"]},
        {"pid": "host"},
        {"cgroupns": "host"},
        {"unconfined": True},
        {"owner": "root"},
        {"files": [ConfigFile(template="my.cnf", dest="/etc/my.cnf")]},
    ],
    ids=str,
)
def test_what_a_container_is_made_of_counts(changes: dict[str, object]) -> None:
    assert changed_spec(**changes) == {"mariadb"}


@pytest.mark.parametrize(
    "changes", [{"after": []}, {"ready": Ready(command="true")}, {"ready": None}], ids=str
)
def test_order_and_readiness_do_not(changes: dict[str, object]) -> None:
    """Neither is part of the container: a new one would be the same."""
    assert changed_spec(**changes) == set()


def test_another_master_changes_what_holds_a_secret() -> None:
    found = changed(renderer(), renderer(master="another master"))
    assert {"nova_api", "keystone", "rabbitmq", "mariadb_bootstrap"} <= found
    assert not found & {"memcached", "ovn_nb_db", "openvswitch_db", "nova_libvirt"}


# -- secrets -----------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_secrets_are_in_files_and_environment_only(place: Place) -> None:
    """Never in a command line: every process on the node may read those, and logs show them."""
    handed = Handed()
    items = render_all(renderer(place, redact=handed)).values()
    assert len(handed.secrets) > 10
    held = 0
    for item in items:
        command = json.loads(item.files["config.json"])["command"]
        open_words = (
            f"{item.ready} {command} {item.spec.model_dump_json()} {item.image} {item.hash}"
        )
        assert not [secret for secret in handed.secrets if secret in open_words]
        texts = [*item.environment.values(), *(data.decode() for data in item.files.values())]
        held += any(secret in text for secret in handed.secrets for text in texts)
        for file in item.spec.files:
            if any(secret in item.files[file.template].decode() for secret in handed.secrets):
                assert file.perm in ("0600", "0400")
    assert held > 10


def test_services_agree_on_their_secrets() -> None:
    """The user that the database job makes is the one that the service logs in as."""
    secrets = Secrets("a master secret", Redactor())
    items = {item.name: item for item in render_all(renderer()).values()}
    password = secrets.password("nova_database")
    assert f"'nova'@'%' IDENTIFIED BY '{password}'" in (
        items["mariadb_databases"].files["databases.sql"].decode()
    )
    assert f"://nova:{password}@" in items["nova_api"].files["nova.conf"].decode()
    register = json.loads(items["keystone_register"].files["register.json"])
    users = {user["name"]: user["password"] for user in register["users"]}
    assert users.keys() == {"glance", "heat", "neutron", "nova", "placement"}
    assert f"password = {users['nova']}" in items["nova_api"].files["nova.conf"].decode()


# -- overrides ---------------------------------------------------------------------------


def file_of(container: str, template: str, overrides: Mapping[str, object]) -> str:
    service = service_of(container)
    assert service is not None
    item = renderer(overrides=overrides).render(service, container, AIO.nodes[0])
    return item.files[template].decode()


def test_config_is_merged_into_the_services_main_file() -> None:
    overrides = {"neutron": {"config": {"DEFAULT": {"debug": True, "service_plugins": ["a", "b"]}}}}
    text = file_of("neutron_server", "neutron.conf", overrides)
    assert "debug = true\n" in text
    assert "service_plugins = a\nservice_plugins = b\n" in text
    assert "ovn-router" not in text
    for other in ("ml2_conf.ini", "uwsgi.ini"):
        assert "debug" not in file_of("neutron_server", other, overrides)
    assert "debug" not in file_of("nova_api", "nova.conf", overrides)


def test_files_are_merged_by_the_name_in_the_container() -> None:
    overrides = {"neutron": {"files": {"ml2_conf.ini": {"ml2": {"path_mtu": 1400}}}}}
    text = file_of("neutron_server", "ml2_conf.ini", overrides)
    assert "path_mtu = 1400\n" in text and "1450" not in text
    assert "path_mtu" not in file_of("neutron_server", "neutron.conf", overrides)


def test_both_reach_the_main_file_and_the_named_one_wins() -> None:
    overrides = {
        "nova": {
            "config": {"DEFAULT": {"debug": True, "my_ip": "10.0.0.1"}},
            "files": {"nova.conf": {"DEFAULT": {"my_ip": "10.0.0.2"}}},
        }
    }
    text = file_of("nova_api", "nova.conf", overrides)
    assert "debug = true\n" in text
    assert "my_ip = 10.0.0.2\n" in text and "10.0.0.1" not in text


@pytest.mark.parametrize(
    ("container", "option", "value", "line"),
    [
        ("rabbitmq", "log.console.level", "debug", "log.console.level = debug"),
        ("memcached", "-m", 128, "-m = 128"),
    ],
)
def test_files_without_sections(container: str, option: str, value: object, line: str) -> None:
    template = f"{container}.conf"
    plain = file_of(container, template, {})
    text = file_of(container, template, {container: {"config": {"": {option: value}}}})
    assert "[" not in text
    assert sorted(text.splitlines()) == sorted(
        line if old.startswith(f"{option} =") else old for old in plain.splitlines()
    )


# -- errors ------------------------------------------------------------------------------


def service_with(folder: Path, template: str, **spec: object) -> Service:
    (folder / "templates").mkdir()
    (folder / "templates" / "x.conf").write_text(template)
    made = ContainerSpec.model_validate(
        {
            "image": "memcached",
            "roles": ["control"],
            "files": [{"template": "x.conf", "dest": "/etc/x.conf"}],
            **spec,
        }
    )
    return Service(name="x", summary="x", containers={"x": made}, folder=folder)


@pytest.mark.parametrize(
    ("template", "spec", "where"),
    [
        ("{{ nonsense }}", {}, "x/templates/x.conf: 'nonsense' is undefined"),
        ("{% if %}", {}, "x/templates/x.conf: "),
        ("", {"command": "run {{ nonsense }}"}, "x/service.yaml: 'run {{ nonsense }}': "),
        ("", {"environment": {"A": "{{ node.nonsense }}"}}, "x/service.yaml: "),
        ("", {"ready": {"command": "{{ nonsense }}"}}, "x/service.yaml: "),
    ],
)
def test_a_wrong_template_is_named(
    tmp_path: Path, template: str, spec: dict[str, object], where: str
) -> None:
    service = service_with(tmp_path, template, **spec)
    with pytest.raises(DevenvError) as caught:
        renderer().render(service, "x", AIO.nodes[0])
    assert caught.value.message.startswith(where)
    assert isinstance(caught.value.__cause__, UndefinedError) or "{% if %}" in template


def test_a_program_is_no_template(tmp_path: Path) -> None:
    service = service_with(tmp_path, "")
    program = 'print(f"{{{1}}}")  # {% not a tag\n'
    (tmp_path / "templates" / "p.py").write_text(program)
    file = ConfigFile(template="p.py", dest="/p.py")
    spec = service.containers["x"].model_copy(update={"files": [file]})
    service = service.model_copy(update={"containers": {"x": spec}})
    assert renderer().render(service, "x", node("n", 11)).files["p.py"].decode() == program


def test_service_of() -> None:
    assert service_of("nova_libvirt") is CATALOGUE["libvirt"]
    assert service_of("nova") is None
