"""What a token was made for, as a value."""

from __future__ import annotations

from tests.store.values import binding


def test_a_new_binding_is_unused_and_holds_nothing() -> None:
    """No request was made with it, and nothing is wrong."""
    assert (binding(1).request, binding(1).alarm) == ("", "")
