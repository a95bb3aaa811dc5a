"""What may stand in a boot script."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from netboot.boot.render import fit, templates


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "${net0/mac}", "é", "\x00"])
def test_nothing_that_a_loader_would_expand_or_take_for_a_line_goes_in(value: str) -> None:
    """A value is one plain line, or the script is not rendered."""
    with pytest.raises(ValueError, match="cannot stand"):
        fit(value)


def test_a_forgotten_value_is_an_error() -> None:
    """No script is rendered with a hole in it."""
    with pytest.raises(UndefinedError):
        templates("ipxe", "boot")["boot"].render()
