"""Boots that must fail, and what `netboot boot show` then tells an operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.lab.site import Site, mac_of

pytestmark = pytest.mark.lab

FAIL_LIMIT = 600.0


@contextmanager
def cluster(site: Site, **settings: Any) -> Iterator[None]:
    """The cluster behaves like that for a while."""
    before = site.kube.control("settings")
    site.kube.control("settings", **settings)
    try:
        yield
    finally:
        site.kube.control("settings", **{name: before[name] for name in settings})


def failed_boot(site: Site, role: str) -> tuple[dict[str, Any], str]:
    """Boot the machine of that role until a cause is named; the boot, and what the operator reads."""
    with site.machine(role) as machine:
        boot = site.wait_boot(
            machine,
            mac_of(role),
            lambda b: b["state"] == "stopped" and b["cause"],
            "stopped",
            timeout=FAIL_LIMIT,
        )
        shown = site.appliance.netboot("boot", "show", role)
    print(shown)
    assert boot["cause"].split()[0] in shown
    node = site.node(role)
    assert node is None, "it must not have joined"
    return boot, " ".join(shown.split())


def test_a_wrong_ca_is_told(site: Site) -> None:
    """A cluster-info that shows a foreign CA to the node ends the boot at its join, and the text says so."""
    with cluster(site, cluster_info_ca="wrong-for-nodes"):
        boot, shown = failed_boot(site, "wrongca")
    assert boot["stopped_at"] == "join"
    assert "CA" in shown and "cluster-info" in shown


def test_a_wrong_signature_is_told(site: Site) -> None:
    """A cluster-info signed with another secret than the token's ends the boot at its join."""
    with cluster(site, jws="corrupt-for-nodes"):
        boot, shown = failed_boot(site, "wrongjws")
    assert boot["stopped_at"] == "join"
    assert "JWS" in shown


def test_an_expired_token_is_told(site: Site) -> None:
    """Tokens that are gone before the node can use them end the boot at its join."""
    with cluster(site, expire_before_use=True):
        boot, shown = failed_boot(site, "expired")
    assert boot["stopped_at"] == "join"
    assert "JWS signature" in shown or "expired" in shown


def test_an_unreachable_api_is_told(site: Site) -> None:
    """A Kubernetes API that nobody answers at is named with its address."""
    with cluster(site, down=True):
        boot, shown = failed_boot(site, "unreachable")
    assert boot["stopped_at"] == "config"
    assert "withheld" in shown and "10.77.0.1:6443" in shown
