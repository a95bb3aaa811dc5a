"""Roles and tokens."""

from __future__ import annotations

import pytest

from netboot.model.access import ROLE_WORDS, ApiToken, Role


def test_each_role_may_what_the_ones_before_it_may() -> None:
    """Viewer, operator, admin."""
    assert ROLE_WORDS == ("viewer", "operator", "admin")
    ranked = [Role.of(word) for word in ROLE_WORDS]
    assert [[a.may(b) for b in ranked] for a in ranked] == [
        [True, False, False], [True, True, False], [True, True, True],
    ]  # fmt: skip


def test_a_word_that_is_no_role_is_none() -> None:
    """There is no role by default."""
    with pytest.raises(KeyError):
        Role.of("root")


def test_a_token_does_not_show_its_digest() -> None:
    """Not even where somebody logs it."""
    assert "abc" not in repr(ApiToken("anna", Role.ADMIN, "abc"))
