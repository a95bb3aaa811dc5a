"""Boots that must fail, and what `netboot boot show` then tells an operator."""

from __future__ import annotations

import threading
import time
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


@contextmanager
def tokens_expire(site: Site) -> Iterator[None]:
    """Every bootstrap token expires a second after it was made: signed by then, but not used yet."""
    end = threading.Event()

    def run() -> None:
        first_seen: dict[str, float] = {}
        while not end.wait(0.1):
            names = {s["metadata"]["name"] for s in site.kube.control("objects", resource="secrets")}
            for name in names:
                first_seen.setdefault(name, time.monotonic())
            if any(time.monotonic() - first_seen[name] > 0.7 for name in names):
                site.kube.control("expire_tokens")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(10)


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
    with tokens_expire(site):
        boot, shown = failed_boot(site, "expired")
    assert boot["stopped_at"] == "join"
    assert "JWS signature" in shown or "expired" in shown


def test_an_unreachable_api_is_told(site: Site) -> None:
    """A Kubernetes API that nobody answers at is named with its address."""
    with cluster(site, down=True):
        boot, shown = failed_boot(site, "unreachable")
    assert boot["stopped_at"] == "config"
    assert "withheld" in shown and "10.77.0.1:6443" in shown
