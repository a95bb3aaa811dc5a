"""The expressions of admission policies."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kube.cel import CelError, evaluate

SCOPE: dict[str, Any] = {
    "object": {"type": "a", "data": {"x-y": "1"}, "list": ["a", "b"], "none": None},
    "n": 3,
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("object.type == 'a' && n > 2", True),
        ("object.type in ['a', \"b\"]", True),
        ("'x-y' in object.data && object.data['x-y'] != ''", True),
        ("has(object.data) && !has(object.missing) && !has(object.none)", True),
        ("object.missing == 1 || true", True),
        ("false && object.missing == 1", False),
        ("n == 3 ? 'yes' : 'no'", "yes"),
        ("object.list.all(i, i.startsWith('a') || i == 'b')", True),
        ("object.list.exists(i, i == 'c')", False),
        ("object.list.map(i, i + '!')", ["a!", "b!"]),
        ("object.type.matches('^[a-z]$') && size(object.list) == 2", True),
        ("object.?missing.orValue('none')", "none"),
        ("-1 + 2 * n", 5),
        (r"r'\d' == '\\d'", True),
    ],
)
def test_an_expression_has_its_value(expression: str, value: object) -> None:
    """Operators by precedence, macros, absorbed errors."""
    assert evaluate(expression, SCOPE) == value


@pytest.mark.parametrize(
    "expression", ["object.missing == 1", "unknown", "object.type.fly()", "1 +", "(1", "n && ", "size(n, ) %"]
)
def test_what_cannot_be_read_or_has_no_value_is_an_error(expression: str) -> None:
    """So that a policy with it refuses."""
    with pytest.raises(CelError):
        evaluate(expression, SCOPE)
