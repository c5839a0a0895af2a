"""The JSON Schema of topology files, for editors and as reference.

``python -m devenv.topology.schema > devenv/topology/topology.schema.json`` writes it anew;
a test compares the two.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from devenv.topology.models import Topology


class _Generate(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        """No titles: they would only repeat the keys."""
        return False

    def dict_schema(self, schema: core_schema.DictSchema) -> dict[str, Any]:
        """Names that do not match the pattern of keys are errors for the models, so here too."""
        made = super().dict_schema(schema)
        return {**made, "additionalProperties": False} if "patternProperties" in made else made


def schema() -> dict[str, Any]:
    """The schema as of draft 2020-12. What only ``load`` can check (names that collide,
    networks that overlap) is not in it."""
    made: dict[str, Any] = _one_line(Topology.model_json_schema(schema_generator=_Generate))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "devenv topology",
    }


def text() -> str:
    """The schema as the committed file has it."""
    return json.dumps(schema(), indent=2) + "\n"


def _one_line(value: Any) -> Any:
    """Descriptions without the line breaks of the source, at any depth."""
    if isinstance(value, dict):
        return {
            key: " ".join(item.split())
            if key == "description" and isinstance(item, str)
            else _one_line(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_one_line(item) for item in value]
    return value


if __name__ == "__main__":
    sys.stdout.write(text())
