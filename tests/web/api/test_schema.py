"""JSON schemas in few words."""

from __future__ import annotations

from netboot.web.api.schema import TEXT, optional, shape


def test_an_object_has_all_of_its_keys_and_no_others() -> None:
    """As an answer is checked."""
    made = shape(a=TEXT)
    assert (made["required"], made["additionalProperties"]) == (["a"], False)


def test_what_is_optional_may_be_null() -> None:
    """A reference, too."""
    assert optional(TEXT)["type"] == ["string", "null"]
    assert optional({"$ref": "#/x"})["oneOf"][1] == {"type": "null"}
