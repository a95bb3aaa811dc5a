"""A machine that comes back while its old Node object is still Ready, and one that only claims to (R19)."""

from __future__ import annotations

import pytest

from tests.lab.appliance import step
from tests.lab.site import Site, mac_of

pytestmark = pytest.mark.lab


def test_a_fast_reboot_joins_though_the_old_node_is_still_ready(site: Site) -> None:
    """Power-cycled at once, long before the node controller notices, the machine joins again by itself."""
    with site.machine("fast") as machine:
        first = site.wait_joined(machine, mac_of("fast"))
        uid = (site.node("fast") or {})["metadata"]["uid"]
        machine.power_cycle()
        second = site.wait_joined(machine, mac_of("fast"), after=first["id"])
        assert second["node"] == "fast"
        assert step(second, "join")
        assert (site.node("fast") or {})["metadata"]["uid"] == uid


def test_an_impostor_of_a_living_node_gets_no_credential(site: Site) -> None:
    """While somebody renews the Lease of that name the credential is withheld, and the reason told."""
    before = tokens_made(site)
    site.kube.control("living_node", name="impostor", every=5)
    with site.machine("impostor") as machine:
        boot = site.wait_boot(
            machine,
            mac_of("impostor"),
            lambda b: b["state"] == "stopped" or "impostor" in site.appliance.log(),
            "withheld",
        )
        assert boot["state"] != "joined"
        shown = site.appliance.netboot("boot", "show", boot["id"])
        wanted = site.wait_boot(machine, mac_of("impostor"), lambda b: b["cause"], "a cause")
        shown = site.appliance.netboot("boot", "show", wanted["id"])
        print(shown)
        assert "Ready" in shown and "impostor" in shown
    site.kube.control("dead_node", name="impostor")
    assert tokens_made(site) == before


def tokens_made(site: Site) -> int:
    """How many bootstrap tokens were ever made."""
    requests = site.kube.control("requests")
    return sum(
        r["method"] == "POST" and r["path"].endswith("/secrets") and r["status"] == 201 for r in requests
    )
