"""JSON schemas in few words, as `shapes` and `openapi` use them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
INTEGER: Json = {"type": "integer"}
FLAG: Json = {"type": "boolean"}
TEXTS: Json = {"type": "array", "items": TEXT}


def optional(schema: Json) -> Json:
    """The same, or null."""
    return (
        {**schema, "type": [schema["type"], "null"]}
        if "type" in schema
        else {"oneOf": [schema, {"type": "null"}]}
    )


def shape(**properties: Json) -> Json:
    """An object that has all of these and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
