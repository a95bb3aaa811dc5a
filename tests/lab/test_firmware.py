"""Every firmware's way from power-on to a joined node, with the micro image."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from netboot.model.boot import STEPS
from tests.lab.appliance import describe
from tests.lab.site import Site, address_of, mac_of

pytestmark = pytest.mark.lab


def expect_whole_timeline(boot: dict[str, Any], without: set[str]) -> None:
    """Every step of the boot is there, in the order of the house, with times that never go back."""
    steps = [s["step"] for s in boot["steps"]]
    assert steps == [s for s in STEPS if s not in without], describe(boot)
    times = [s["at"] for s in boot["steps"]]
    # the node's own clock is behind some of these: it is set from ours, to a second
    assert all(later > earlier - 2 for earlier, later in pairwise(times)), describe(boot)


def expect_node(site: Site, name: str, address: str) -> dict[str, Any]:
    """The Node object is there, Ready, at that address, with the labels of the operator's file."""
    node = site.node(name)
    assert node is not None
    ready = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
    assert ready["status"] == "True"
    assert {"type": "InternalIP", "address": address} in node["status"]["addresses"]
    assert node["metadata"]["labels"]["lab"] == "micro"
    return node


@pytest.mark.parametrize(
    ("role", "firmware", "without"),
    [("bios", "bios", {"program"}), ("tftp", "efi-tftp", set()), ("http", "efi-http", set())],
    ids=["bios-ipxe", "edk2-tftp", "edk2-http-boot"],
)
def test_each_firmware_boots_to_a_joined_node(
    site: Site, role: str, firmware: str, without: set[str]
) -> None:
    """A machine without a disk boots over the network and joins, under its declared name and address."""
    with site.machine(role, firmware=firmware) as machine:
        boot = site.wait_joined(machine, mac_of(role))
        expect_whole_timeline(boot, without)
        assert boot["node"] == role
        expect_node(site, role, address_of(role))
        print(f"{firmware}: {machine.cpu_seconds:.1f} CPU s from power-on to joined")


def test_a_node_with_two_cards_is_one_node(site: Site) -> None:
    """Booted once from each of its two MACs, a declared node has the same name and the same address."""
    macs = [mac_of("cards"), mac_of("cards", 1)]
    seen, uids = [], []
    for card in (0, 1):
        with site.machine("cards", macs=macs, boots_from=card) as machine:
            boot = site.wait_joined(machine, macs[card], after=seen[0]["id"] if seen else None)
            uids.append(expect_node(site, "cards", address_of("cards"))["metadata"]["uid"])
            seen.append(boot)
    assert [b["node"] for b in seen] == ["cards", "cards"]
    assert seen[0]["mac"] != seen[1]["mac"]


def test_an_undeclared_machine_lands_in_the_catch_all_pool(site: Site) -> None:
    """A machine that nobody declared gets a dynamic address, a generated name, the catch-all's cluster."""
    mac = "52:54:00:99:00:01"
    with site.machine("undeclared", macs=[mac]) as machine:
        boot = site.wait_joined(machine, mac)
        assert (boot["node"], boot["cluster"]) == ("node-525400990001", "catchall")
        leases = [lease for lease in site.appliance.items("/api/v1/leases") if lease["holder"] == mac]
        assert len(leases) == 1
        assert 100 <= int(leases[0]["address"].rpartition(".")[2]) <= 199
        expect_node(site, "node-525400990001", leases[0]["address"])


def test_a_machine_may_boot_without_joining(site: Site) -> None:
    """With join method none the boot ends well once the machine says that it runs; no Node object appears."""
    with site.machine("standalone") as machine:
        boot = site.wait_joined(machine, mac_of("standalone"))
        assert "registered" not in {s["step"] for s in boot["steps"]}
        assert site.node("standalone") is None
