"""What a noun looks like in an answer."""

from __future__ import annotations

from dataclasses import replace

from netboot.errors import ImageError
from netboot.web.api import shapes
from tests.store.values import boot, lease


def test_a_boot_tells_neither_address_nor_identity() -> None:
    """The contract's keys only: what else we know of a boot stays inside."""
    shown = shapes.boot(boot(1))
    assert set(shown) == set(shapes.BOOT["properties"])
    assert "10.0.0.1" not in str(shown) and "4c4c4544" not in str(shown)


def test_an_image_that_is_not_offered_says_why() -> None:
    """Everything but its name and its reason is null."""
    shown = shapes.image("debian-12", (), ImageError("image debian-12: there is no latest"))
    assert shown["problem"] == "image debian-12: there is no latest"
    assert shown["generation"] is None and shown["size"] is None


def test_a_lease_knows_whether_it_lives() -> None:
    """By the time that is asked for."""
    one = lease(1)
    assert shapes.lease(one, one.expires - 1)["live"]
    assert not shapes.lease(one, one.expires)["live"]
    assert shapes.lease(replace(one, expires=float("inf")), 0.0)["expires"] is None


def test_optional_keeps_what_a_value_may_be() -> None:
    """The same type or null, for plain schemas and for references."""
    assert shapes.optional(shapes.TEXT) == {"type": ["string", "null"]}
    assert shapes.optional({"$ref": "#/x"}) == {"oneOf": [{"$ref": "#/x"}, {"type": "null"}]}
