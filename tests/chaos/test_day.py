"""A day of churn in minutes: nothing is left of it, and a daemon that keeps something is found out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos import hasty
from tests.chaos.day import Look, day, leaks

REST = Look(
    {"control": (20, 4, 60.0), "netboot-bulk": (6, 2, 10.0)}, tasks=20, objects=1000, most="", store=4.0
)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"processes": {**REST.processes, "control": (21, 4, 60.0)}}, "descriptors"),
        ({"processes": {**REST.processes, "control": (20, 9, 60.0)}}, "threads"),
        ({"processes": {**REST.processes, "netboot-bulk": (6, 2, 15.5)}}, "MB"),
        ({"processes": {**REST.processes, "netboot-tftp": (6, 1, 1.0)}}, "netboot-tftp"),
        ({"tasks": 23}, "tasks"),
        ({"store": 10.5}, "store"),
    ],
)
def test_what_has_grown_is_told(changed: dict[str, object], word: str) -> None:
    """Descriptors, threads, memory, tasks and the store's file each have a bound; less is no leak."""
    later = replace(REST, **changed)  # type: ignore[arg-type]
    (leak,) = leaks(REST, later)
    assert word in leak
    assert leaks(later, REST) == [] or word == "netboot-tftp"


def test_the_bounds_of_a_hurried_day_are_there_to_be_lowered() -> None:
    """Each name that `tests.chaos.hasty` sets is one that the daemon reads."""
    before = {place: hasty.held(*place) for place in hasty.BOUNDS}
    assert all(before[place] > bound for place, bound in hasty.BOUNDS.items())


@pytest.mark.root
def test_two_hours_of_churn_leave_nothing_behind() -> None:
    """A short run of `scripts/chaos day`, in which each kind of trouble has happened."""
    result = day(2, 2026, seconds=16)
    assert result.leaks == []
    wanted = {
        "complete boots", "strangers with a lease", "broken TFTP transfers", "broken HTTP downloads",
        "connections that never asked", "killed helpers", "reloads", "polls", "broken event streams",
        "assignments",
    }  # fmt: skip
    assert wanted <= result.done.keys(), result.failed


@pytest.mark.root
def test_a_daemon_that_keeps_descriptors_is_found_out() -> None:
    """`tests.chaos.leaky` keeps one of each fourth connection: the look afterwards tells of it."""
    result = day(1, 2026, module="tests.chaos.leaky", seconds=6, patience=4)
    assert any(leak.startswith("control:") and "descriptors" in leak for leak in result.leaks), result.leaks
