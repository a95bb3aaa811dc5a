"""A credential for a new boot waits for the silence of the last one's session."""

from __future__ import annotations

import pytest

from netboot.boot.succession import SILENT, check_succession
from netboot.errors import JoinWithheld
from netboot.model.boot import Boot
from netboot.model.machine import Mac

MAC = Mac("52:54:00:00:00:01")
LAST = Boot("boot-1", MAC, "m1", "blue", started=1000.0)
NEXT = Boot("boot-2", MAC, "m1", "blue", started=1030.0)


def test_a_session_that_is_silent_long_enough_is_over() -> None:
    """The machine restarted: nobody speaks for its last boot any more."""
    check_succession(NEXT, LAST, spoke=1020.0, now=1020.0 + SILENT)


def test_a_session_that_spoke_a_moment_ago_is_watched() -> None:
    """Asked again in a few seconds."""
    with pytest.raises(JoinWithheld, match="boot boot-1 of m1 was alive 12 s ago") as raised:
        check_succession(NEXT, LAST, spoke=1020.0, now=1032.0)
    assert raised.value.retry_after == 5.0
    with pytest.raises(JoinWithheld) as raised:
        check_succession(NEXT, LAST, spoke=1020.0, now=1019.5 + SILENT)
    assert raised.value.retry_after == 1.0


def test_a_session_that_speaks_after_the_next_boot_began_proves_two_machines() -> None:
    """However long ago: no credential for this boot."""
    with pytest.raises(JoinWithheld, match="two machines have the MAC address") as raised:
        check_succession(NEXT, LAST, spoke=1031.0, now=9999.0)
    assert raised.value.retry_after is None
