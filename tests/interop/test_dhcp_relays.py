"""Foreign DHCP clients behind Debian's isc-dhcp-relay, behind two of them, and with none at renewal."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest

from tests.interop.dhcp_clients import Dhclient, Dhcpcd, Udhcpc
from tests.interop.dhcp_site import FAR_ADDRESS, FAR_NODE, SERVER, DhcpSite, dhcp_site
from tests.interop.ear import Ear
from tests.lab.namespace import BRIDGE, run, wait_until

pytestmark = pytest.mark.root

FAR = re.compile(r"10\.80\.0\.1\d\d")
FARTHER = re.compile(r"10\.81\.0\.1\d\d")


@pytest.fixture(scope="module")
def site() -> Iterator[DhcpSite]:
    """One daemon and two relays' hosts for all tests of this file."""
    with dhcp_site() as made:
        yield made


def test_clients_behind_a_relay_get_addresses_of_their_own_network(site: DhcpSite) -> None:
    """Three clients at once, one of them declared; the agent gets its option 82 back, unchanged and last."""
    with (
        site.relaying(site.one, SERVER),
        site.machine("fa", "52:54:00:98:01:01", site.one) as a,
        site.machine("fb", "52:54:00:98:01:02", site.one) as b,
        site.machine("fc", FAR_NODE, site.one) as c,
        Ear(site.one.name) as ear,
        Ear(site.one.name, BRIDGE) as lan,
    ):
        isc, busy, roy = Dhclient(a), Udhcpc(b), Dhcpcd(c)
        for client in (isc, busy, roy):
            client.run()
        given = [client.bound() for client in (isc, busy, roy)]
        assert FAR.fullmatch(given[0]) and FAR.fullmatch(given[1]) and given[0] != given[1]
        assert given[2] == FAR_ADDRESS
        offer = ear.wait_for("offer", FAR_NODE)
        assert (offer.source, offer.to, offer.ports) == (SERVER, "10.80.0.1", (67, 67))
        assert (offer.bootp.giaddr, offer.option("router")) == ("10.80.0.1", "10.80.0.1")
        asked = ear.heard("discover", FAR_NODE)[0]
        agent = asked.option("relay_agent_information")
        assert agent and offer.option("relay_agent_information") == agent
        options = [row[0] for row in offer.frame["DHCP options"].options if isinstance(row, tuple)]
        assert options[-1] == "relay_agent_information"
        heard = lan.wait_for("offer", FAR_NODE)
        assert heard.option("relay_agent_information") is None, "the agent takes it away again"


def test_a_renewal_comes_routed_when_the_relay_is_gone(site: DhcpSite) -> None:
    """Unicast through the router, without giaddr, answered to ciaddr; and a RELEASE travels the same way."""
    mac = "52:54:00:98:02:01"
    with site.machine("routed", mac, site.one) as host, Ear(host.name) as ear:
        client = Dhclient(host)
        with site.relaying(site.one, SERVER):
            client.run()
            address = client.bound()
        before = len(ear.heard("ack", mac))
        ack = ear.wait_for("ack", mac, times=before + 1)
        asked = ear.heard("request", mac)[-1]
        assert (asked.source, asked.to, asked.bootp.giaddr) == (address, SERVER, "0.0.0.0")
        assert (ack.source, ack.to, ack.bootp.giaddr, ack.ports) == (SERVER, address, "0.0.0.0", (67, 68))
        client.release()
        wait_until("the lease ended", lambda: not (site.lease(address) or {"live": False})["live"], 10)


def test_a_client_behind_a_relay_rebinds_through_it(site: DhcpSite) -> None:
    """A broadcast with ciaddr, relayed: the ACK goes to the agent, not to the client's address."""
    mac = "52:54:00:98:03:01"
    with (
        site.relaying(site.one, SERVER),
        site.machine("rebind", mac, site.one) as host,
        Ear(site.one.name) as ear,
    ):
        client = Dhclient(host)
        client.run()
        address = client.bound()
        rules = "add table ip deaf; add chain ip deaf out { type filter hook output priority 0; };"
        host.run("nft", f"{rules} add rule ip deaf out udp dport 67 drop", check=True)
        wait_until("rebinding", lambda: _relayed_with_address(ear, mac), 20)
        before = len(client.saw())
        wait_until("bound again", lambda: len(client.saw()) > before or client.bound(times=2), 10)
        assert client.bound() == address
        last = [h for h in ear.heard("ack", mac) if h.bootp.ciaddr == address][-1]
        assert last.to == "10.80.0.1"


def _relayed_with_address(ear: Ear, mac: str) -> bool:
    return any(
        h.bootp.ciaddr != "0.0.0.0" and h.bootp.giaddr == "10.80.0.1" for h in ear.heard("request", mac)
    )


def test_a_machine_that_moves_behind_a_relay_is_refused_through_it(site: DhcpSite) -> None:
    """With a lease of our link in hand: a NAK at giaddr that asks the agent to broadcast, then an address."""
    mac = "52:54:00:98:04:01"
    with site.machine("mover", mac) as host, site.relaying(site.one, SERVER), Ear(site.one.name) as ear:
        client = Dhclient(host)
        client.run()
        old = client.bound()
        client.end(signal.SIGKILL)
        host.flush()
        run("ip", "-n", site.lab.name, "link", "set", f"eth0-{host.short}", "nomaster")
        run("ip", "-n", site.lab.name, "link", "set", f"eth0-{host.short}", "netns", site.one.name)
        run("ip", "-n", site.one.name, "link", "set", f"eth0-{host.short}", "master", BRIDGE, "up")
        client.run()
        new = client.bound(times=2)
        assert old.startswith("10.77.") and FAR.fullmatch(new)
        nak = ear.wait_for("nak", mac)
        assert nak.to == "10.80.0.1" and nak.bootp.flags & 0x8000
        assert nak.option("relay_agent_information") is not None


def test_a_machine_that_comes_from_behind_a_relay_is_refused_when_it_rebinds(site: DhcpSite) -> None:
    """Its broadcast arrives on our link with an address of elsewhere: a NAK, and an address that fits."""
    mac = "52:54:00:98:04:02"
    with site.machine("homer", mac, site.one) as host:
        client = Dhclient(host)
        with site.relaying(site.one, SERVER):
            client.run()
            old = client.bound()
        assert FAR.fullmatch(old)
        run("ip", "-n", site.one.name, "link", "set", f"eth0-{host.short}", "nomaster")
        run("ip", "-n", site.one.name, "link", "set", f"eth0-{host.short}", "netns", site.lab.name)
        with Ear(host.name) as ear:
            run("ip", "-n", site.lab.name, "link", "set", f"eth0-{host.short}", "master", BRIDGE, "up")
            nak = ear.wait_for("nak", mac)
            assert nak.to == "255.255.255.255"
            rebind = ear.heard("request", mac)[-1]
            assert (rebind.to, rebind.bootp.ciaddr) == ("255.255.255.255", old)
            client.wait_for(r"^bound to (10\.77\.[\d.]+)")


@pytest.mark.parametrize(
    ("mode", "served"),
    [("append", True), ("replace", True), ("forward", True), ("discard", False)],
)
def test_two_relays_in_a_chain(site: DhcpSite, mode: str, served: bool) -> None:
    """The second agent adds giaddr and option 82, the first one treats them in each of its modes."""
    number = ("append", "replace", "forward", "discard").index(mode)
    mac = f"52:54:00:98:05:0{number}"
    with (
        site.relaying(site.one, SERVER, extra=("-a", "-m", mode)),
        site.relaying(site.two, "10.80.0.1"),
        site.machine(f"chain{number}", mac, site.two) as host,
        Ear(site.one.name) as ear,
        Ear(host.name) as own,
    ):
        client = Udhcpc(host)
        client.run()
        if not served:
            own.wait_for("discover", mac, times=2)
            assert not ear.heard("discover", mac) and not own.heard("offer", mac)
            return
        assert FARTHER.fullmatch(client.bound())
        asked = ear.heard("discover", mac)[0]
        assert (asked.bootp.giaddr, asked.bootp.hops) == ("10.81.0.1", 2)
        answer = ear.wait_for("offer", mac)
        assert answer.to == "10.81.0.1"
        # appended, it comes as two options of one code, which are one value (RFC 3396 section 5)
        assert answer.whole(82) == asked.whole(82)


def test_two_relays_side_by_side_answer_one_client(site: DhcpSite) -> None:
    """The second network's agent asks us directly, past the first one's; neither adds an option 82."""
    with (
        site.relaying(site.one, SERVER, extra=()),
        site.relaying(site.two, SERVER, extra=()),
        site.machine("sa", "52:54:00:98:06:01", site.one) as a,
        site.machine("sb", "52:54:00:98:06:02", site.two) as b,
        Ear(site.lab.name, BRIDGE) as ear,
    ):
        near, far = Dhclient(a), Dhclient(b)
        near.run()
        far.run()
        assert FAR.fullmatch(near.bound()) and FARTHER.fullmatch(far.bound())
        assert {h.bootp.giaddr for h in ear.heard("discover")} == {"10.80.0.1", "10.81.0.1"}
