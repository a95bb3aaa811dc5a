"""Foreign DHCP clients on a link of the real daemon, through their whole lives."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest

from tests.interop.dhcp_clients import Dhclient, Dhcpcd, Networkd, Udhcpc
from tests.interop.dhcp_site import (
    DECLARED,
    DECLARED_ADDRESS,
    SECOND,
    SECOND_ADDRESS,
    SERVER,
    DhcpSite,
    Host,
    dhcp_site,
)
from tests.interop.ear import Ear
from tests.lab.namespace import BRIDGE, run, wait_until

pytestmark = pytest.mark.root

LAB = re.compile(r"10\.77\.0\.1\d\d")
RACK = re.compile(r"10\.79\.0\.1\d\d")


@pytest.fixture(scope="module")
def site() -> Iterator[DhcpSite]:
    """One daemon for all tests of this file; each brings machines with MACs of its own."""
    with dhcp_site() as made:
        yield made


def expired(site: DhcpSite, address: str) -> bool:
    """Whether the daemon knows that the address was given back."""
    row = site.lease(address)
    return row is None or not row["live"]


def test_four_clients_at_once_take_renew_and_give_back(site: DhcpSite) -> None:
    """dhclient, udhcpc, dhcpcd and systemd-networkd on one link: four addresses, renewed, then free again."""
    with (
        site.machine("isc", "52:54:00:99:01:01") as a,
        site.machine("busy", "52:54:00:99:01:02") as b,
        site.machine("roy", "52:54:00:99:01:03") as c,
        site.machine("net", "52:54:00:99:01:04") as d,
        Ear(site.lab.name, BRIDGE) as ear,
    ):
        isc, busy, roy, net = Dhclient(a), Udhcpc(b), Dhcpcd(c), Networkd(d)
        for client in (isc, busy, roy, net):
            client.run()
        given = [client.bound() for client in (isc, busy, roy, net)]
        assert len(set(given)) == 4 and all(map(LAB.fullmatch, given)), given
        assert ["BOUND", given[0], "node-525400990101"] in isc.saw()
        assert ["bound", given[1], "node-525400990102"] in busy.saw()
        assert busy.process
        busy.process.send_signal(signal.SIGUSR1)  # it has no notion of T1: renew now
        macs = [f"52:54:00:99:01:0{i}" for i in range(1, 5)]
        for mac, address in zip(macs, given, strict=True):
            renewed = ear.wait_for("ack", mac, times=2)
            assert (renewed.to, renewed.bootp.yiaddr) == (address, address), (
                "a renewal is answered by unicast"
            )
            asked = ear.heard("request", mac)[-1]
            assert (asked.source, asked.to, asked.bootp.ciaddr) == (address, SERVER, address)
        isc.release()
        busy.process.send_signal(signal.SIGUSR2)
        roy.host.run("sh", "-c", f"kill -ALRM {roy.process.pid if roy.process else 0}")
        net.end()
        for address in given:
            wait_until(f"{address} is free", lambda a=address: expired(site, a), 10)  # type: ignore[misc]


def test_a_client_whose_server_is_deaf_to_unicast_rebinds_by_broadcast(site: DhcpSite) -> None:
    """At T2 ISC's client asks everybody, with its address in ciaddr, and keeps it."""
    with site.machine("rebind", "52:54:00:99:02:01") as host, Ear(site.lab.name, BRIDGE) as ear:
        client = Dhclient(host)
        client.run()
        first = client.bound()
        host.run("nft", "add table ip deaf; add chain ip deaf out { type filter hook output priority 0; }; "
                 "add rule ip deaf out udp dport 67 drop", check=True)  # fmt: skip
        client.wait_for(r"^DHCPREQUEST .* to 255\.255\.255\.255 port 67", times=2)
        client.wait_for(r"^bound to ([\d.]+)", times=2)
        asked = [h for h in ear.heard("request", "52:54:00:99:02:01") if h.bootp.ciaddr == first]
        assert asked and asked[0].to == "255.255.255.255" and asked[0].option("server_id") is None
        assert client.bound() == first


def test_a_declined_dynamic_address_rests_and_each_client_gets_another(site: DhcpSite) -> None:
    """Squatters that only the clients can see: DECLINE, a report, and the next address is another one."""
    with (
        site.machine("dec0", "52:54:00:99:03:10") as a,
        site.machine("dec1", "52:54:00:99:03:11") as b,
        site.machine("dec2", "52:54:00:99:03:12") as c,
        site.machine("squat", "52:54:00:99:03:20") as squatter,
        Ear(site.lab.name, BRIDGE) as ear,
    ):
        deaf_to(squatter, site.lab.name, BRIDGE)
        for wanted in ("10.77.0.151", "10.77.0.152"):
            squatter.ip(f"addr add {wanted}/24 dev eth0")
        isc, busy, roy = Dhclient(a), Udhcpc(b), Dhcpcd(c)
        isc.refuse_once()
        isc.run()
        busy.run("-a500", "-r", "10.77.0.151")
        roy.run("--request=10.77.0.152")
        declined = [ear.wait_for("decline", f"52:54:00:99:03:1{i}") for i in range(3)]
        refused = [str(h.option("requested_addr")) for h in declined]
        assert refused[1:] == ["10.77.0.151", "10.77.0.152"]
        final = [client.bound() for client in (busy, roy, isc)]
        assert len({*refused, *final}) == 6 and all(map(LAB.fullmatch, final)), (refused, final)
        assert {h.option("server_id") for h in declined} == {SERVER}
        for address in refused:
            assert f"found {address} in use" in site.appliance.log()


def deaf_to(host: Host, namespace: str, card: str) -> None:
    """Let a machine hear nothing from one card, so that no probe from there finds it."""
    mac = re.search(r"link/ether (\S+)", run("ip", "-n", namespace, "link", "show", card))
    assert mac
    chain = "add chain netdev deaf in { type filter hook ingress device eth0 priority 0; };"
    host.run(
        "nft", f"add table netdev deaf; {chain} add rule netdev deaf in ether saddr {mac[1]} drop", check=True
    )


def test_a_squatter_on_a_reservation_is_reported_and_benches_nothing(site: DhcpSite) -> None:
    """The declared machine declines, we say so, and offer its own address again as soon as it asks."""
    with site.machine("own", DECLARED) as host, Ear(site.lab.name, BRIDGE) as ear:
        with site.machine("thief", "52:54:00:99:04:01") as thief:
            thief.ip(f"addr add {DECLARED_ADDRESS}/24 dev eth0")
            client = Udhcpc(host)
            client.run("-a500")
            ear.wait_for("decline", DECLARED)
            assert f"m1 found {DECLARED_ADDRESS} in use" in site.appliance.log()
        assert client.bound() == DECLARED_ADDRESS


def test_one_card_keeps_one_address_whatever_it_calls_itself(site: DhcpSite) -> None:
    """Four clients with seven client identifiers in turn, none of them giving back: one address."""
    mac = "52:54:00:99:05:01"
    given = []
    with site.machine("same", mac) as host, Ear(site.lab.name, BRIDGE) as ear:
        for number, words in enumerate(
            ("", "send dhcp-client-identifier = hardware;\n", 'send dhcp-client-identifier "rack-1";\n')
        ):
            isc = Dhclient(host, words, f"isc{number}")
            isc.run()
            given.append(isc.bound())
            isc.end(signal.SIGKILL)
            host.flush()
        for number, extra in enumerate(((), ("-C",))):
            busy = Udhcpc(host, f"busy{number}")
            busy.run(*extra)
            given.append(busy.bound())
            busy.end(signal.SIGKILL)
            host.flush()
        roy = Dhcpcd(host)
        roy.run()
        given.append(roy.bound())
        roy.end(signal.SIGKILL)
        host.flush()
        net = Networkd(host)
        net.run()
        given.append(net.bound())
        net.end(signal.SIGKILL)
        sent = {bytes(h.option("client_id") or b"")[:1].hex() for h in ear.heard("discover", mac)}
    assert len(set(given)) == 1, given
    assert {"", "01", "ff"} <= sent, f"these clients were to send no identifier, a MAC and a DUID: {sent}"


def test_an_inform_is_told_options_and_no_lease(site: DhcpSite) -> None:
    """dhcpcd with an address from elsewhere hears its router in an ACK without yiaddr and times."""
    mac = "52:54:00:99:06:01"
    with site.machine("inform", mac) as host, Ear(site.lab.name, BRIDGE) as ear:
        host.ip("addr add 10.77.0.60/24 dev eth0")
        client = Dhcpcd(host)
        client.run("--inform", "10.77.0.60/24")
        ack = ear.wait_for("ack", mac)
        assert ear.heard("inform", mac)[-1].bootp.ciaddr == "10.77.0.60"
    assert (ack.to, ack.bootp.yiaddr, ack.option("lease_time")) == ("10.77.0.60", "0.0.0.0", None)
    assert ack.option("router") == "10.77.0.254" and ack.option("server_id") == SERVER
    assert site.lease("10.77.0.60") is None


def test_nmap_finds_the_server_by_broadcast_and_by_inform(site: DhcpSite) -> None:
    """broadcast-dhcp-discover prints our offer; dhcp-discover asks port 67 itself."""
    with site.machine("nmap", "52:54:00:99:07:01") as host:
        host.ip("addr add 10.77.0.61/24 dev eth0")
        said = host.run("nmap", "--script", "broadcast-dhcp-discover", "--script-args",
                        "broadcast-dhcp-discover.timeout=3", "-e", "eth0", timeout=60)  # fmt: skip
        assert "DHCP Message Type: DHCPOFFER" in said, said
        assert f"Server Identifier: {SERVER}" in said and re.search(r"IP Offered: 10\.77\.0\.1\d\d", said), (
            said
        )
        assert "Router: 10.77.0.254" in said and "Subnet Mask: 255.255.255.0" in said, said
        said = host.run(
            "nmap", "-sU", "-Pn", "-n", "-p", "67", "--script", "dhcp-discover", SERVER, timeout=60
        )
        assert "DHCP Message Type: DHCPACK" in said and f"Server Identifier: {SERVER}" in said, said


@pytest.mark.parametrize("kind", ["dhclient", "dhcpcd"])
def test_a_machine_that_moves_is_refused_its_old_address_and_given_one_of_here(
    site: DhcpSite, kind: str
) -> None:
    """With a lease of the other link in hand: INIT-REBOOT, NAK, DISCOVER, an address that fits."""
    number = ("dhclient", "dhcpcd").index(kind)
    mac = f"52:54:00:99:08:0{number}"
    with site.machine(f"move{number}", mac) as host:
        isc, roy = Dhclient(host), Dhcpcd(host)
        client: Dhclient | Dhcpcd = isc if kind == "dhclient" else roy
        isc.run() if client is isc else roy.run("--noarp")
        old = client.bound()
        assert LAB.fullmatch(old)
        client.end(signal.SIGKILL)
        host.flush()
        run("ip", "-n", site.lab.name, "link", "set", f"eth0-{host.short}", "master", "br1")
        with Ear(host.name) as ear:
            # dhcpcd's memory of leases went with its namespace: it only wishes for the old one
            isc.run() if client is isc else roy.run("--noarp", f"--request={old}")
            assert RACK.fullmatch(client.bound(times=2))
            if client is roy:
                return
            nak = ear.wait_for("nak", mac)
            assert (nak.to, nak.bootp.yiaddr) == ("255.255.255.255", "0.0.0.0")
            assert nak.option("server_id") == "10.79.0.1"
            assert ear.heard("request", mac)[0].option("requested_addr") == old


def test_a_network_that_shares_its_interface_serves_its_own_machines(site: DhcpSite) -> None:
    """A machine of the second subnet on the same link: its address, its router, our address there."""
    with site.machine("second", SECOND) as host, Ear(host.name) as ear:
        client = Dhclient(host)
        client.run()
        assert client.bound() == SECOND_ADDRESS
        assert ear.wait_for("offer", SECOND).option("server_id") == "10.78.0.1"
        renewed = ear.wait_for("ack", SECOND, times=2)
        assert (renewed.source, renewed.to, renewed.option("router")) == (
            "10.78.0.1", SECOND_ADDRESS, "10.78.0.254",
        )  # fmt: skip


def test_a_lease_outlives_the_daemon_and_its_client_keeps_it(site: DhcpSite) -> None:
    """Killed and started again, the daemon acknowledges what ISC's client has in its lease file."""
    with site.machine("outlive", "52:54:00:99:09:01") as host:
        client = Dhclient(host)
        client.run()
        first = client.bound()
        client.end(signal.SIGKILL)
        host.flush()
        site.appliance.crash()
        site.appliance.start()
        client.run()
        assert client.bound(times=2) == first
        assert client.said().count("DHCPDISCOVER") == 1, "the second time it began with a REQUEST"
