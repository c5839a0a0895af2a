"""The committed JSON Schema: the same as the models', and one that an editor can use."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from typing import Any

import jsonschema
import pytest
import yaml

from devenv.topology.load import presets
from devenv.topology.models import Topology
from devenv.topology.schema import schema

FOLDER = resources.files("devenv.topology")
COMMITTED = (FOLDER / "topology.schema.json").read_text("utf-8")


def valid(data: Any) -> bool:
    return jsonschema.Draft202012Validator(schema()).is_valid(data)


def test_the_committed_schema_is_that_of_the_models() -> None:
    command = [sys.executable, "-W", "error", "-m", "devenv.topology.schema"]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert made == COMMITTED, "python -m devenv.topology.schema > topology.schema.json"


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema()["title"] == "devenv topology"


@pytest.mark.parametrize("preset", presets())
def test_presets_are_valid(preset: str) -> None:
    assert valid(yaml.safe_load((FOLDER / "presets" / f"{preset}.yaml").read_text("utf-8")))


def test_every_key_has_a_description_and_no_line_breaks() -> None:
    models = {"Topology": schema(), **schema()["$defs"]}
    for model, parts in models.items():
        for key, described in parts["properties"].items():
            target = described.get("$ref", "").rpartition("/")[2]
            words = described.get("description") or models[target]["description"]
            assert len(words) > 15, f"{model}.{key}"
            assert "\n" not in words, f"{model}.{key}"


def test_defaults_in_the_schema_are_what_a_file_may_say() -> None:
    defaults = schema()["$defs"]["Resources"]["properties"]
    data = {key: described["default"] for key, described in defaults.items()}
    nodes = {"aio": {"roles": ["control"]}}
    assert data["memory"] == "4GiB"
    assert Topology.model_validate(
        {"version": 1, "nodes": nodes, "defaults": data}
    ) == Topology.model_validate({"version": 1, "nodes": nodes})


@pytest.mark.parametrize(
    "wrong",
    [
        {"unknown": 1},
        {"version": 2},
        {"release": 2026.1},
        {"provider": "docker"},
        {"defaults": {"memory": 4}},
        {"defaults": {"memory": "4GB"}},
        {"nodes": {"ctl": {"roles": ["contrl"]}}},
        {"nodes": {"ctl": {"roles": []}}},
        {"nodes": {"ctl": {"roles": ["control"], "size": 1}}},
        {"nodes": {"Ctl": {"roles": ["control"]}}},
        {"networks": {"tenant": {"cidr": "auto"}}},
        {"overrides": {"nova": {"files": {"../x": {}}}}},
        {"overrides": {"nova": {"config": {"DEFAULT": {"debug": None}}}}},
    ],
    ids=str,
)
def test_it_refuses_what_the_models_refuse(wrong: dict[str, Any]) -> None:
    right = {"version": 1, "nodes": {"aio": {"roles": ["control"]}}}
    assert valid(right)
    Topology.model_validate(right)
    assert not valid({**right, **wrong})
    with pytest.raises(ValueError, match="validation error"):
        Topology.model_validate({**right, **wrong})
