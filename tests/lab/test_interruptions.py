"""What happens half way through the squashfs: the power is cut, the appliance dies, a worker dies.

These machines get the widened image behind a slow link, so that there is a half way.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.lab.appliance import describe, share
from tests.lab.machine import Machine
from tests.lab.namespace import wait_until
from tests.lab.site import Site, mac_of

pytestmark = pytest.mark.lab

SLOW = "32mbit"


def half_way(site: Site, machine: Machine, role: str) -> dict[str, Any]:
    """Wait until the server's own counter says 30 to 70 % of the squashfs; the boot as it is then."""
    boot = site.wait_boot(machine, mac_of(role), lambda b: share(b) >= 0.3, "30 % through the squashfs")
    assert share(boot) <= 0.7, describe(boot)
    return dict(boot)


def slowed(site: Site, machine: Machine) -> None:
    """Put the machine behind a slow link."""
    site.lab.slow_down(machine.taps[0], SLOW)


def test_a_power_cut_half_way_does_no_harm(site: Site) -> None:
    """Power cut half way, then power on: a new boot, which joins; the old one has ended."""
    with site.machine("cut") as machine:
        slowed(site, machine)
        first = half_way(site, machine, "cut")
        machine.power_off()
        site.lab.full_speed(machine.taps[0])
        machine.power_on()
        second = site.wait_joined(machine, mac_of("cut"), after=first["id"])
        assert second["node"] == first["node"]
    old = next(b for b in site.appliance.boots(mac_of("cut")) if b["id"] == first["id"])
    assert old["state"] == "stopped" and old["stopped_at"] == "squashfs" and old["cause"], describe(old)


def test_a_crash_of_the_appliance_half_way_ends_no_boot(site: Site) -> None:
    """The appliance killed with SIGKILL half way and started again: the same boot goes on where it was."""
    with site.machine("crash") as machine:
        slowed(site, machine)
        before = half_way(site, machine, "crash")
        site.appliance.crash()
        site.appliance.start()
        site.lab.full_speed(machine.taps[0])
        after = site.wait_joined(machine, mac_of("crash"))
        assert after["id"] == before["id"]
        assert resumed_at(machine) > 0


def test_a_crash_of_a_worker_half_way_ends_no_boot(site: Site) -> None:
    """Bulk workers killed with SIGKILL half way: others take over, the same boot goes on where it was."""
    with site.machine("worker") as machine:
        slowed(site, machine)
        before = half_way(site, machine, "worker")
        workers = site.appliance.helpers("bulk")
        assert workers
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        wait_until("new workers", lambda: set(site.appliance.helpers("bulk")) - set(workers), 20)
        site.lab.full_speed(machine.taps[0])
        after = site.wait_joined(machine, mac_of("worker"))
        assert after["id"] == before["id"]
        assert resumed_at(machine) > 0


def resumed_at(machine: Machine) -> int:
    """The byte from which the machine asked again; the Range request is its own."""
    return int(machine.wait_for_text(r"going on at byte (\d+) of", 5)[1])
