"""Reports of helpers: a value, or MalformedPacket."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from netboot.errors import MalformedPacket
from netboot.proc import Progress, Transfer
from netboot.proc.reports import as_closed, as_progress, as_transfer, ending


def test_reports_become_values() -> None:
    """Each word as its helper says it."""
    assert as_progress(["b1", "10.0.0.1", "/images/a", 5, 9, False]) == Progress(
        "b1", "10.0.0.1", "/images/a", 5, 9, False
    )
    assert as_closed(["10.0.0.1", 2]) == ("10.0.0.1", 2)
    assert as_transfer(["a.efi", "10.0.0.1", 5, 9, True, None]) == Transfer(
        "a.efi", "10.0.0.1", 5, 9, True, None
    )


@pytest.mark.parametrize("read", [as_progress, as_closed, as_transfer], ids=lambda read: read.__name__)
@pytest.mark.parametrize("item", [None, 5, [], ["10.0.0.1"], ["10.0.0.1", 0], [None] * 6, {"a": 1}], ids=repr)
def test_what_is_no_report_is_refused(read: Callable[[object], object], item: object) -> None:
    """Whatever a helper that was taken over says instead."""
    with pytest.raises(MalformedPacket):
        read(item)


def test_a_process_that_was_killed_is_said_to_be_so() -> None:
    """The forker says its exit code in nine bits; 503 would tell an operator nothing."""
    assert ending(3) == "ended with status 3"
    assert ending(-9 & 0x1FF) == "was ended by signal 9 (SIGKILL)"
    assert ending(-11 & 0x1FF) == "was ended by signal 11 (SIGSEGV)"
    assert ending(-99 & 0x1FF) == "was ended by signal 99 (unknown)"
