"""Where a silent boot stopped, and why it probably did."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netboot.boot.stall import BEGUN, BOOT_LIFE, DISK, RUNNING, TABLE, last_step, likely_cause, overdue
from netboot.model.boot import STEPS, Boot, Step
from netboot.model.machine import Mac

OS_STEPS = STEPS[STEPS.index("seed") :]


def boot(*steps: Step) -> Boot:
    """A boot that came this far."""
    return Boot("b1", Mac("52:54:00:00:00:01"), "n1", "blue", started=1000.0, steps=steps)


@pytest.mark.parametrize("step", [s for s in STEPS if s != "ready"])
def test_every_step_has_a_row_that_names_a_later_step(step: str) -> None:
    """The machine hangs at what comes next, and the limit is one a slow machine keeps."""
    row = TABLE[step]
    assert STEPS.index(row.step) == STEPS.index(step) + 1
    assert 60 <= row.limit <= 600
    if step in OS_STEPS:
        assert row.limit >= 180


@pytest.mark.parametrize("step", [s for s in STEPS if s != "ready"])
def test_nothing_is_said_before_the_limit(step: str) -> None:
    """One second earlier the boot counts as going on."""
    reached, limit = boot(Step(step, 1000.0)), TABLE[step].limit
    assert likely_cause(reached, 1000 + limit - 1) is None
    found = likely_cause(reached, 1000 + limit)
    assert found is not None and found.step == TABLE[step].step and TABLE[step].cause in found.cause


@pytest.mark.parametrize(
    ("step", "at", "words"),
    [
        ("offer", "ack", "another DHCP server"),
        ("ack", "program", "TFTP"),
        ("program", "script", "no driver"),
        ("script", "kernel", "console"),
        ("seed", "claim", "memory too small"),
        ("claim", "squashfs", "boot port"),
        ("join", "registered", "Kubernetes API"),
        ("registered", "ready", "CNI"),
    ],
)
def test_the_cause_is_in_an_operators_words(step: str, at: str, words: str) -> None:
    """What to look for stands in the text."""
    found = likely_cause(boot(Step(step, 1000.0)), 2000)
    assert found is not None and found.step == at and words in found.cause


def test_a_stuck_download_tells_how_far_it_came() -> None:
    """At the squashfs itself, sooner than a root that does not start."""
    found = likely_cause(boot(Step("claim", 1000.0), Step("squashfs", 1001.0, 300, 1000)), 1200)
    assert found is not None and found.step == "squashfs" and "300 of 1000 bytes" in found.cause


def test_a_finished_download_points_at_the_root() -> None:
    """All bytes are there: the booted system is what is missing."""
    reached = boot(Step("squashfs", 1001.0, 1000, 1000))
    assert likely_cause(reached, 1200) is None
    found = likely_cause(reached, 1400)
    assert found is not None and found.step == "config"


@pytest.mark.parametrize("detail", BEGUN)
@pytest.mark.parametrize("step", sorted(RUNNING))
def test_a_step_that_was_begun_and_not_ended_is_where_it_hangs(step: str, detail: str) -> None:
    """network.sh that cuts its own network, a mount that does not answer."""
    found = likely_cause(boot(Step(step, 1000.0, detail=detail)), 2000)
    assert found is not None and found.step == step


def test_a_configuration_that_is_withheld_is_told_with_its_reason() -> None:
    """The machine asks again and again; the reason is the cause, and the stop is at the configuration."""
    reason = "the Kubernetes API of blue is unreachable"
    found = likely_cause(boot(Step("config", 1000.0, detail=reason)), 1061)
    assert found is not None and found.step == "config" and reason in found.cause
    assert likely_cause(boot(Step("config", 1000.0, detail=reason)), 1059) is None


@pytest.mark.parametrize("detail", ["done", "done, with problems: module x is not there"])
def test_a_configuration_that_was_applied_points_at_what_follows(detail: str) -> None:
    """Problems of single settings do not stop a boot."""
    found = likely_cause(boot(Step("config", 1000.0, detail=detail)), 2000)
    assert found is not None and found.step == "network_script"


def test_a_machine_that_is_doubted_is_told_why_it_gets_no_script() -> None:
    """Silent or over; not once it was claimed, for it was believed then."""
    doubted = replace(boot(Step("ack", 1000.0)), doubt="its firmware's UUID is another one")
    silent, over = likely_cause(doubted, 1000 + TABLE["ack"].limit), overdue(doubted, 1000 + BOOT_LIFE)
    for stall in (silent, over):
        assert stall and "UUID is another one, so that it gets an address and no secret" in stall.cause
    claimed = overdue(replace(doubted, claimed=True), 1000 + BOOT_LIFE)
    assert claimed and "UUID" not in claimed.cause


def test_the_last_progress_counts_where_it_is_known() -> None:
    """A step's own time is when it began."""
    reached = boot(Step("squashfs", 1000.0, 300, 1000))
    assert likely_cause(reached, 1500, heard=1450) is None
    assert likely_cause(reached, 1600, heard=1450) is not None


def test_the_furthest_step_counts_not_the_latest() -> None:
    """iPXE asks DHCP again after its program was loaded."""
    reached = boot(Step("program", 1000.0), Step("discover", 1005.0))
    found = last_step(reached)
    assert found is not None and found.step == "program"
    assert last_step(boot()) is None and likely_cause(boot(), 9999) is None


def test_a_ready_boot_hangs_nowhere() -> None:
    """There is nothing after it."""
    assert likely_cause(boot(Step("ready", 1000.0)), 99999) is None


def test_after_an_hour_a_boot_is_over_wherever_it_stands() -> None:
    """With the cause that the table knows, or without any step at all."""
    assert overdue(boot(Step("join", 1000.0)), 1000 + BOOT_LIFE - 1) is None
    found = overdue(boot(Step("join", 1000.0)), 1000 + BOOT_LIFE)
    assert found is not None and found.step == "registered" and "one hour" in found.cause
    nothing = overdue(boot(), 1000 + BOOT_LIFE)
    assert nothing is not None and nothing.step == "discover"


@pytest.mark.parametrize("step", ["offer", "ack", "seed"])
def test_our_own_full_disk_is_named_instead_of_the_machines_trouble(step: str) -> None:
    """An operator looks at the appliance, not for a second DHCP server."""
    found = likely_cause(boot(Step(step, 1000.0, detail=f"10.77.0.9 ipxe.efi; {DISK}: it is full")), 2000)
    assert found is not None and found.step == TABLE[step].step
    assert found.cause.endswith(f"{DISK}: it is full")
