"""What an operator assigned at run time."""

from __future__ import annotations

from netboot.model.placement import Placement


def test_where_an_assignment_leads_is_said_in_words() -> None:
    """A pool, a cluster, or back to what the file declares."""
    at_home = Placement("m1", ())
    assert Placement("m1", (), pool="p").target == "pool p"
    assert Placement("m1", (), cluster="c").target == "cluster c"
    assert at_home.target == "what the file declares"
