"""Addresses that somebody uses without a lease: found by ARP on the link, by ICMP behind a relay agent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from netboot.dhcp.pool import draws
from netboot.dhcp.wire import Kind, decode, encode
from netboot.model.machine import Mac
from tests.dhcp.world import discover
from tests.interop.dhcp_clients import Dhclient, Udhcpc
from tests.interop.dhcp_site import DECLARED, DECLARED_ADDRESS, SERVER, DhcpSite, Host, dhcp_site
from tests.interop.ear import Ear
from tests.lab.namespace import BRIDGE, wait_until

pytestmark = pytest.mark.root

DRIVER = Path(__file__).parent / "dhcp_talk.py"
SQUATTER, FAR_SQUATTER = "52:54:00:66:00:01", "52:54:00:66:00:02"
FIRST, SECOND = (f"52:54:00:77:66:{n:02x}" for n in range(1, 3))


@pytest.fixture(scope="module")
def site() -> Iterator[DhcpSite]:
    """Ranges of three addresses here, and of three behind a relay agent."""
    few, far = {"range": "10.77.0.100-10.77.0.102"}, {"range": "10.80.0.100-10.80.0.102"}
    with dhcp_site(lab=few, far=far) as made:
        yield made


def squat(host: Host, neighbour: str, *addresses: str) -> None:
    """Give a card addresses that nobody leased it, and see that it can be heard."""
    for address in addresses:
        host.ip(f"addr add {address}/24 dev eth0")
    hears = f"ping -c 1 -W 1 {neighbour}".split()
    wait_until("the squatter's link is up", lambda: " 0% packet loss" in host.run(*hears), 15)


def card_that_picks(wanted: str, addresses: list[str]) -> str:
    """A MAC that is offered this address first, while all of them are free."""
    cards = (Mac.from_bytes(b"\x52\x54\0\x77\x67" + bytes([n])) for n in range(256))
    return next(mac for mac in cards if addresses[draws(mac)[0] % len(addresses)] == wanted)


def rows(site: DhcpSite) -> dict[str, Any]:
    """What `lease list` shows, by address."""
    return {row["address"]: row for row in json.loads(site.appliance.netboot("lease", "list", "-o", "json"))}


def usage(site: DhcpSite, pool: str) -> dict[str, Any]:
    """What `pool show` says of the addresses of a pool's network."""
    return dict(json.loads(site.appliance.netboot("pool", "show", pool, "-o", "json"))["addresses"])


def test_others_are_answered_while_a_question_waits(site: DhcpSite) -> None:
    """A new machine's DISCOVER comes first, the declared one's OFFER leaves first: nobody waits for it."""
    stranger = card_that_picks("10.77.0.102", ["10.77.0.100", "10.77.0.101", "10.77.0.102"])
    with site.machine("e", DECLARED) as host, Ear(site.lab.name, BRIDGE) as ear:
        packets = [
            discover(Mac(mac), {55: bytes([1, 3])}, xid=i + 1) for i, mac in enumerate((stranger, DECLARED))
        ]
        lines = "\n".join(f"{p.chaddr.hex()} {encode(p).hex()}" for p in packets)
        command = ["ip", "netns", "exec", host.name, sys.executable, str(DRIVER), "eth0"]
        done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr + site.appliance.log()[-2000:]
        answers = [decode(bytes.fromhex(line)) for line in done.stdout.split()]
        assert [answer.kind for answer in answers] == [Kind.OFFER] * 2
        assert [str(IPv4Address(answer.yiaddr)) for answer in answers] == ["10.77.0.102", DECLARED_ADDRESS]
        offers = [said.bootp.yiaddr for said in ear.heard("offer")]
        assert offers == [DECLARED_ADDRESS, "10.77.0.102"]


def test_an_address_in_use_on_the_link_is_never_offered(site: DhcpSite) -> None:
    """A kernel answers ARP for two of three: machines get the third, then nothing, and all of it is told."""
    with site.machine("squat", SQUATTER) as squatter, site.machine("a", FIRST) as a:
        squat(squatter, SERVER, "10.77.0.100", "10.77.0.101")
        client = Dhclient(a)
        client.run()
        assert client.bound() == "10.77.0.102"
        with site.machine("b", SECOND) as b:
            said = b.run(
                "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "2", "-T", "1", "-s", "/bin/true"
            )
            assert "failing" in said, said
        found = rows(site)
        for address in ("10.77.0.100", "10.77.0.101"):
            assert found[address]["state"] == "resting"
            assert found[address]["rest"]["mac"] == SQUATTER and found[address]["rest"]["cause"] == "conflict"
            assert f"{address} in network lab is used by the card {SQUATTER}" in site.appliance.log()
        shown = usage(site, "unknown-lab")
        assert (shown["size"], shown["used"], shown["free"], shown["resting"]) == (3, 1, 0, 2)
        assert shown["exhausted_since"] is not None
        assert 'netboot_pool_resting{network="lab"} 2' in site.appliance.request("GET", "/metrics")[1]


def test_the_rest_outlives_a_restart(site: DhcpSite) -> None:
    """The squatter is gone and silent, but an hour is not over; the lease of the third one stands."""
    before = rows(site)
    site.appliance.crash()
    site.appliance.start()
    assert rows(site) == before
    with site.machine("c", SECOND) as c:
        said = c.run(
            "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "2", "-T", "1", "-s", "/bin/true"
        )
        assert "failing" in said, said


def test_a_living_machines_lease_is_released_by_force_alone(site: DhcpSite) -> None:
    """409 with the reason; --force frees the address, and the next machine is asked about it first."""
    said = site.appliance.netboot("lease", "release", FIRST, check=False)
    assert "is not released: the lease of node-525400776601 runs" in said
    assert "10.77.0.102 of node-525400776601" in site.appliance.netboot("lease", "release", FIRST, "--force")
    with site.machine("d", SECOND) as d:
        client = Udhcpc(d)
        client.run()
        assert client.bound() == "10.77.0.102"


def test_an_address_in_use_behind_a_relay_agent_is_found_by_icmp(site: DhcpSite) -> None:
    """No ARP reaches there: an echo through the relay's router does."""
    mac = card_that_picks("10.80.0.102", ["10.80.0.100", "10.80.0.101", "10.80.0.102"])
    with (
        site.relaying(site.one, SERVER),
        site.machine("far-sq", FAR_SQUATTER, site.one) as squatter,
        site.machine("far", mac, site.one) as far,
    ):
        squat(squatter, "10.80.0.1", "10.80.0.100", "10.80.0.102")
        squatter.ip("route replace default via 10.80.0.1")
        client = Dhclient(far)
        client.run()
        assert client.bound() == "10.80.0.101"
        resting = rows(site)["10.80.0.102"]
        assert resting["state"] == "resting" and resting["rest"]["mac"] is None
        assert "10.80.0.102 in network far is used by a machine behind the router" in site.appliance.log()
