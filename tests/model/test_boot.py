from __future__ import annotations

import pytest

from netboot.model.boot import REOPEN_AFTER, REPORTED, STEPS, Boot, Step
from netboot.model.machine import Mac

BOOT = Boot("b1", Mac("52:54:00:00:00:01"), "m1", "blue", started=1000.0, steps=(Step("discover", 1000.0),))


def test_the_steps_are_the_contracts_in_their_order() -> None:
    """Operators and nodes know them by these names; a node reports its own ones only."""
    assert " ".join(STEPS) == (
        "discover offer ack program script kernel initrd seed claim squashfs"
        " config network_script join registered ready"
    )
    assert set(REPORTED) <= set(STEPS[STEPS.index("claim") + 1 :])


def test_a_step_is_found_by_name() -> None:
    """None while it has not been reached."""
    assert BOOT.step("discover") == Step("discover", 1000.0)
    assert BOOT.step("ack") is None


@pytest.mark.parametrize(
    ("boot", "after", "opens"),
    [
        (BOOT, 1.0, False),
        (BOOT, REOPEN_AFTER, False),
        (BOOT, REOPEN_AFTER + 1, True),
        (Boot("b", BOOT.mac, "m1", "blue", started=1000.0, claimed=True), 1.0, True),
        (Boot("b", BOOT.mac, "m1", "blue", started=1000.0, state="joined"), 1.0, True),
        (Boot("b", BOOT.mac, "m1", "blue", started=1000.0, state="stopped"), 1.0, True),
    ],
)
def test_a_discover_opens_a_boot_when_the_last_is_claimed_over_or_old(
    boot: Boot, after: float, opens: bool
) -> None:
    """Else it is one more stage of the same boot: ROM iPXE and chain-loaded iPXE look alike."""
    assert boot.superseded_by_discover(1000.0 + after) is opens
