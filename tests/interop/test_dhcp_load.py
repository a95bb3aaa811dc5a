"""Kea's perfdhcp as a crowd: a thousand exchanges a second, direct and relayed, and not one missed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.interop.dhcp_site import SERVER, DhcpSite, Host, dhcp_site
from tests.lab.namespace import BRIDGE

pytestmark = pytest.mark.root

RATE, EXCHANGES, MACHINES = 1000, 3000, 2000
PATIENCE = 10
"""Seconds after which an answer counts as lost: the machine that tests may be busy with other things."""
WIDE = {"subnet": "10.80.0.0/16", "range": "10.80.16.1-10.80.47.254", "lease": "1h", "renew": "30m",
        "rebind": "45m"}  # fmt: skip
"""Room for each machine, and no renewals in between."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What perfdhcp counted of one half of the exchanges: OFFERs or ACKs."""

    sent: int
    received: int
    orphans: int
    rejected: int


@pytest.fixture(scope="module")
def site() -> Iterator[DhcpSite]:
    """The daemon with wide networks: on its link and behind the relay agent's address."""
    on_link = {**WIDE, "subnet": "10.79.0.0/16", "range": "10.79.16.1-10.79.47.254", "gateway": "10.79.255.1"}
    with dhcp_site(rack=on_link, far=WIDE) as made:
        made.lab.ip("addr del 10.79.0.1/24 dev br1")
        made.lab.ip("addr add 10.79.0.1/16 dev br1")
        made.lab.ip("route add 10.80.0.0/16 via 10.77.0.2")
        made.one.ip(f"addr add 10.80.0.1/16 dev {BRIDGE}")
        yield made


def perfdhcp(host: Host, local: str, *extra: str) -> tuple[Exchange, Exchange]:
    """One run; OFFERs and ACKs as it counted them. It asks as a relay agent at its own address."""
    said = host.run(
        "perfdhcp", "-4", "-r", str(RATE), "-n", str(EXCHANGES), "-R", str(MACHINES),
        "-d", str(PATIENCE), "-W", "2000000",
        "-l", local, *extra, timeout=60,
    )  # fmt: skip
    return _exchange("DISCOVER-OFFER", said), _exchange("REQUEST-ACK", said)


def _exchange(name: str, said: str) -> Exchange:
    part = said.partition(f"***Statistics for: {name}***")[2].partition("***")[0]
    numbers = {key: int(value) for key, value in re.findall(r"^([a-z -]+): (-?\d+)$", part, re.MULTILINE)}
    try:
        return Exchange(
            numbers["sent packets"],
            numbers["received packets"],
            numbers["orphans"],
            numbers.get("rejected leases", 0),
        )
    except KeyError:
        raise AssertionError(f"perfdhcp said no statistics:\n{said[-3000:]}") from None


def left_lying(host: Host) -> int:
    """Datagrams that arrived and that perfdhcp did not fetch in time: its own loss, not ours."""
    names, numbers = (
        row.split() for row in re.findall(r"^Udp: (.*)$", host.run("cat", "/proc/net/snmp"), re.M)
    )
    return int(dict(zip(names, numbers, strict=True))["RcvbufErrors"])


def expect_all(host: Host, made: tuple[Exchange, Exchange], site: DhcpSite) -> None:
    """Every request was answered, and nothing came that was not asked for or was refused."""
    offers, acks = made
    lost = offers.sent - offers.received + acks.sent - acks.received
    told = f"{made}\n{site.appliance.log()[-2000:]}"
    assert offers.sent >= EXCHANGES - 1 and acks.sent == offers.received, told
    assert lost == left_lying(host), told
    assert (offers.orphans, offers.rejected, acks.orphans, acks.rejected) == (0, 0, 0, 0), told


def test_a_thousand_exchanges_a_second_on_the_link(site: DhcpSite) -> None:
    """Two thousand machines, three seconds: each DISCOVER and each REQUEST is answered once."""
    with site.machine("crowd", "52:54:00:97:00:01", bridge="br1") as host:
        host.ip("addr add 10.79.0.2/16 dev eth0")
        expect_all(host, perfdhcp(host, "eth0", "10.79.0.1"), site)
    leases = [row for row in site.appliance.items("/api/v1/leases") if row["network"] == "rack"]
    assert len(leases) == len({row["address"] for row in leases}) == len({row["mac"] for row in leases})
    assert len(leases) >= 900, "a page of the list is full of them"


def test_a_thousand_exchanges_a_second_through_a_router(site: DhcpSite) -> None:
    """The same from an agent two networks away, whose answers go routed to giaddr."""
    with site.machine("faraway", "52:54:00:97:00:02", site.one) as host:
        host.ip("addr add 10.80.0.9/16 dev eth0")
        host.ip("route add default via 10.80.0.1")
        expect_all(host, perfdhcp(host, "10.80.0.9", SERVER), site)
