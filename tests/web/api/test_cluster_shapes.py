"""What an examination and a hold look like."""

from __future__ import annotations

from netboot.model.finding import Finding
from netboot.web.api.cluster_shapes import EXAMINATION, HOLD, examination, hold
from tests.store.values import binding


def test_each_answer_has_the_keys_of_its_schema() -> None:
    """No more and no less."""
    assert set(hold(binding(1))) == set(HOLD["required"])
    assert set(examination("blue", ())) == set(EXAMINATION["required"])


def test_a_cluster_is_healthy_while_nothing_has_to_be_mended() -> None:
    """A note is no illness."""
    assert examination("blue", (Finding("ok", "a"), Finding("note", "b", "c")))["healthy"]
    assert not examination("blue", (Finding("too much", "b", "c"),))["healthy"]
