"""The JSON Schema of a scenario file.

Tested in tests/scenario/test_model.py.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from ..base.choices import key_of
from ..base.registry import families
from .model import UNNAMED, scenario_type


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a scenario file, for editors."""
    made = scenario_type().model_json_schema(schema_generator=_WithUnits)
    definitions = made["$defs"]
    for family in families().values():
        for member in family.members.values():
            name = f"{member.__module__}__{member.__qualname__}".replace(".", "__")  # where two have one class name
            definition = definitions.get(member.__name__) or definitions.get(name, {"required": []})
            if member not in UNNAMED:
                definition["required"] = list(dict.fromkeys([key_of(family), *definition.get("required", ())]))
    codec = definitions["CodecOptions"]
    for chain in codec["properties"].values():
        several = {key: chain.pop(key) for key in ("type", "items")}
        chain["anyOf"] = [several, several["items"]]
    codec["additionalProperties"] = {"anyOf": chain["anyOf"], "description": "Another kind of message of the protocol."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


class _WithUnits(GenerateJsonSchema):
    """The description of a field goes in front of that of its type, which tells the unit, instead of replacing it."""

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        made = super().generate_inner(schema)
        if schema["type"] == "model-field":
            unit = super().generate_inner(schema["schema"]).get("description")
            if unit and unit != made.get("description"):
                made["description"] = f"{made['description']} {unit[0].upper()}{unit[1:]}."
        return made
