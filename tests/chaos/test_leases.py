"""Kills under load: no acknowledged lease is lost, and whoever loses one is found out."""

from __future__ import annotations

import shutil

import pytest

from tests.chaos.leases import chaos, planned

pytestmark = pytest.mark.root

TIMES, SEED = 50, 2026


@pytest.fixture(autouse=True)
def _programs() -> None:
    """Skip, loudly, where a foreign program is not installed."""
    missing = [program for program in ("perfdhcp", "tcpdump") if not shutil.which(program)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def test_fifty_kills_lose_no_acknowledged_lease() -> None:
    """Of all processes or of control alone, 1 to 200 ms into the load, and no address is held twice."""
    result = chaos(TIMES, SEED, stop=True, tick=lambda: None)
    assert not result.lost and not result.twice, (result.lost[:5], result.twice[:5])
    assert result.kills == planned(TIMES, SEED) and result.acks > 20 * TIMES
    assert result.dropped == 0, "tcpdump missed frames: what was not seen was not checked"


def test_a_daemon_that_acknowledges_before_it_commits_is_found_out() -> None:
    """The commit of `tests.chaos.broken` is late by a fraction of a second: losses are reported."""
    result = chaos(4, SEED, module="tests.chaos.broken", stop=True, tick=lambda: None)
    assert result.lost and not result.clean
