"""Times as the API writes them."""

from __future__ import annotations

from netboot.cluster.calls import epoch, rfc3339


def test_a_time_goes_there_and_back() -> None:
    """Whole seconds, UTC, with the zone; what is no time is the epoch's beginning."""
    assert rfc3339(1_700_000_000.9) == "2023-11-14T22:13:20Z"
    assert epoch("2023-11-14T22:13:20Z") == 1_700_000_000.0
    assert epoch(None) == epoch("tomorrow") == 0.0
