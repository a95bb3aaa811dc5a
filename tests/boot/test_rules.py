"""The rules for everybody; what each does is shown in tests/boot/test_quirks.py."""

from __future__ import annotations

import importlib

import pytest

from netboot.boot.rules import RULES, Rule


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_names_the_code_that_has_it(rule: Rule) -> None:
    """A reader finds it: module and name exist, and who found out is said."""
    module, _, name = rule.where.partition(":")
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert rule.match and rule.effect and rule.source
