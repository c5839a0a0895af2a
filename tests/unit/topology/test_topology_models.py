"""The models without files: node names, sizes, warnings, and data that comes back the same."""

from __future__ import annotations

import string
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from devenv.topology.document import read
from devenv.topology.load import load
from devenv.topology.models import NodeSpec, Topology
from devenv.topology.schema import schema
from devenv.topology.values import format_size, parse_size

GIB = 1024**3


def topology(**more: Any) -> Topology:
    data = {"version": 1, "nodes": {"aio": {"roles": ["control"]}}, **more}
    return Topology.model_validate(data)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GiB", 4 * GIB),
        ("4G", 4 * GIB),
        ("4g", 4 * GIB),
        ("512 MiB", GIB // 2),
        ("1.5GiB", 3 * GIB // 2),
        ("64KiB", 65536),
        ("2T", 2048 * GIB),
        ("1.7KiB", 1024),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "value", ["4GB", "4", 4, "", "GiB", "-1GiB", "4 GiB ", "4GiB\n", "1e3G", "4PiB", True, None]
)
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match="binary unit"):
        parse_size(value)


@given(st.integers(min_value=1, max_value=2**50))
def test_a_size_written_is_read_back(kibibytes: int) -> None:
    assert parse_size(format_size(kibibytes * 1024)) == kibibytes * 1024


@given(st.integers(1, 10**6), st.sampled_from("KMGT"), st.sampled_from(["", "iB", "ib"]))
def test_sizes_in_every_unit(number: int, unit: str, suffix: str) -> None:
    power = "KMGT".index(unit) + 1
    assert parse_size(f"{number}{unit}{suffix}") == number * 1024**power


def test_one_node_has_the_sets_name_and_more_are_numbered() -> None:
    nodes = {
        "ctl": {"count": 2, "roles": ["control", "network"]},
        "cmp": {"count": 1, "roles": ["compute"], "memory": "6GiB", "cpus": 0.5, "disk": "9G"},
        "spare": {"count": 0, "roles": ["compute"]},
    }
    specs = topology(nodes=nodes, defaults={"memory": "2GiB", "cpus": 3}).node_specs()
    control = frozenset({"control", "network"})
    assert specs == (
        NodeSpec("ctl1", "ctl", 1, control, 2 * GIB, 3, None),
        NodeSpec("ctl2", "ctl", 2, control, 2 * GIB, 3, None),
        NodeSpec("cmp", "cmp", 1, frozenset({"compute"}), 6 * GIB, 0.5, 9 * GIB),
    )


def test_defaults() -> None:
    (spec,) = topology().node_specs()
    assert (spec.memory, spec.cpus, spec.disk) == (4 * GIB, 2, None)
    assert (topology().release, topology().provider) == ("2026.1", "local")
    assert topology().images.source == "source"
    assert str(topology().networks.tenant.cidr) == "10.10.0.0/24"


def test_models_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        topology().provider = "heat"  # type: ignore[misc]


@pytest.mark.parametrize(("count", "warned"), [(1, False), (2, True), (3, False), (4, True)])
def test_an_even_number_of_control_nodes_is_a_warning(count: int, warned: bool) -> None:
    warnings = topology(nodes={"ctl": {"count": count, "roles": ["control"]}}).warnings()
    assert bool(warnings) is warned
    if warned:
        assert warnings[0].startswith(f"{count} control nodes survive the loss of {count // 2 - 1}")


def test_control_nodes_are_counted_across_sets_and_others_are_not() -> None:
    nodes = {"one": {"roles": ["control"]}, "two": {"roles": ["control", "compute"]}}
    assert topology(nodes=nodes).warnings()
    assert not topology(nodes={"cmp": {"count": 4, "roles": ["compute"]}}).warnings()


@pytest.mark.parametrize(("count", "vip"), [(1, None), (1, "auto"), (2, "auto"), (3, "10.0.0.9")])
def test_a_virtual_ip_for_several_control_nodes(count: int, vip: str | None) -> None:
    nodes = {"ctl": {"count": count, "roles": ["control"]}, "cmp": {"roles": ["compute"]}}
    made = topology(nodes=nodes, networks={"api": {"cidr": "10.0.0.0/24", "vip": vip}})
    assert made.networks.api.vip == (IPv4Address(vip) if vip not in (None, "auto") else vip)
    assert [spec.set_name for spec in made.control_specs()] == ["ctl"] * count


def test_config_keeps_types_and_order() -> None:
    config = {"DEFAULT": {"b": True, "a": 1, "ratio": 0.5, "hosts": ["x", 2]}, "": {"k": "v"}}
    override = topology(overrides={"nova": {"config": config}}).overrides["nova"]
    assert list(override.config["DEFAULT"].items()) == [
        ("b", True),
        ("a", 1),
        ("ratio", 0.5),
        ("hosts", ("x", 2)),
    ]
    assert override.config["DEFAULT"]["b"] is True
    assert override.config[""] == {"k": "v"}


# --- any valid topology comes back from YAML as it was -------------------------------------

words = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
services = st.text(string.ascii_lowercase, min_size=1, max_size=8)
roles = st.lists(st.sampled_from(["control", "network", "compute"]), min_size=1, unique=True)
sizes = st.builds(
    lambda n, unit: f"{n}{unit}",
    st.integers(1, 9999),
    st.sampled_from(["KiB", "MiB", "GiB", "G", "m"]),
)
amounts: dict[str, st.SearchStrategy[Any]] = {
    "memory": sizes,
    "cpus": st.integers(1, 64) | st.floats(0.01, 64),
    "disk": sizes,
}
node_sets = st.fixed_dictionaries(
    {"roles": roles}, optional={"count": st.integers(1, 5), **amounts}
)
# A name that ends in a letter and another's number never meet.
set_names = st.builds(lambda word, end: word + end, words, st.sampled_from("abc"))
scalars = (
    st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["yes", "0644", "1:30", "1e3", "null", "~", "<<", "=", "0o7", ".inf"])
)
config_files = st.dictionaries(
    st.sampled_from(["", "DEFAULT", "oslo_messaging_rabbit"]),
    st.dictionaries(words, scalars | st.lists(scalars, max_size=3), max_size=3),
    max_size=2,
)
networks = st.fixed_dictionaries(
    {},
    optional={
        "api": st.sampled_from(
            [{}, {"cidr": "auto", "vip": None}, {"cidr": "172.30.0.0/24", "vip": "172.30.0.9"}]
        ),
        "external": st.sampled_from([{}, {"cidr": "auto"}, {"cidr": "192.168.4.0/22"}]),
        "tenant": st.sampled_from([{}, {"cidr": "10.0.0.0/12"}]),
    },
)


def with_a_vip_that_fits(data: dict[str, Any]) -> dict[str, Any]:
    """An address is for several control nodes, null for one at most."""
    sets = data["nodes"].values()
    several = sum(nodes.get("count", 1) for nodes in sets if "control" in nodes["roles"]) > 1
    api = data.get("networks", {}).get("api", {})
    if "vip" in api and (api["vip"] is not None) != several:
        api = {key: value for key, value in api.items() if key != "vip"}
        return {**data, "networks": {**data["networks"], "api": api}}
    return data


topologies = st.fixed_dictionaries(
    {"version": st.just(1), "nodes": st.dictionaries(set_names, node_sets, min_size=1, max_size=3)},
    optional={
        "release": st.sampled_from(["2025.2", "2026.1"]),
        "provider": st.sampled_from(["local", "vagrant", "heat", "baremetal"]),
        "defaults": st.fixed_dictionaries({}, optional=amounts),
        "networks": networks,
        "services": st.lists(services, unique=True, max_size=4).map(
            lambda names: {"enable": names[::2], "disable": names[1::2]}
        ),
        "images": st.sampled_from(
            [{}, {"from": "distro"}, {"from": "registry", "registry": "example.org:5000/kolla"}]
        ),
        "overrides": st.dictionaries(
            services,
            st.fixed_dictionaries(
                {},
                optional={
                    "source": st.just("."),
                    "config": config_files,
                    "files": st.dictionaries(words, config_files, max_size=2),
                },
            ),
            max_size=2,
        ),
    },
).map(with_a_vip_that_fits)


@given(topologies)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_topology_comes_back_from_yaml_as_it_was(tmp_path: Path, data: dict[str, Any]) -> None:
    before = Topology.model_validate(data, context={"folder": tmp_path})
    written = before.to_data()
    path = tmp_path / "topology.yaml"
    path.write_text(yaml.safe_dump(written, allow_unicode=True), "utf-8")
    assert load(path).topology == before
    assert read(path.read_text("utf-8")).data == written
    # What the models take, the schema takes: as it was given and with all defaults.
    validator = jsonschema.Draft202012Validator(schema())
    validator.validate(data)
    validator.validate(written)
