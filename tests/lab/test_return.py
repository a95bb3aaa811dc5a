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
        healthy = site.appliance.netboot("cluster", "doctor", "blue")
        assert "ok: a token was signed and, when it expired, deleted" in healthy, healthy
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
        boot = site.wait_boot(machine, mac_of("impostor"), lambda b: b["cause"], "withheld, with a cause")
        shown = " ".join(site.appliance.netboot("boot", "show", boot["id"]).split())
        print(shown)
        assert boot["state"] == "stopped"
        assert "renews its Lease" in shown and "No credential is made" in shown
    events = site.appliance.items(f"/api/v1/events?mac={mac_of('impostor')}")
    assert any(event["kind"] == "impostor" for event in events), events
    site.kube.control("dead_node", name="impostor")
    assert tokens_made(site) == before


def tokens_made(site: Site) -> int:
    """How many bootstrap tokens were ever made."""
    requests = site.kube.control("requests")
    return sum(
        r["method"] == "POST" and r["path"].endswith("/secrets") and r["status"] == 201 for r in requests
    )
