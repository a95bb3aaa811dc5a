"""Foreign DHCP clients against our server, each in a network namespace of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netboot.dhcp.wire import Kind, Packet, decode, encode
from netboot.model.machine import Mac
from tests.dhcp.world import IPXE, NODE_ADDRESS, NODE_MACS, PXE_X64, STRANGER, discover, message
from tests.lab.namespace import wait_until

pytestmark = pytest.mark.root

SERVER_MAC = Mac("52:54:00:77:ff:01")
CATCH_ALL = range(int(IPv4Address("10.77.128.1")), int(IPv4Address("10.77.128.51")))
DRIVER = Path(__file__).parent / "dhcp_talk.py"


def run(*command: str, timeout: float = 30, check: bool = True) -> str:
    """A command to its end; its words."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


class Link:
    """A server's and a client's namespace, joined by a veth pair."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server, self.client = f"dhcp-s-{os.getpid()}", f"dhcp-c-{os.getpid()}"
        self._appliance: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Make both ends."""
        for name in (self.server, self.client):
            run("ip", "netns", "add", name)
        run(
            "ip",
            "-n",
            self.server,
            "link",
            "add",
            "vs",
            "type",
            "veth",
            "peer",
            "name",
            "vc",
            "netns",
            self.client,
        )
        run("ip", "-n", self.server, "link", "set", "vs", "address", SERVER_MAC, "up")
        run("ip", "-n", self.server, "addr", "add", "10.77.0.1/16", "dev", "vs")
        self.card(NODE_MACS[0])

    def card(self, mac: Mac) -> None:
        """Give the client another card, without an address."""
        run("ip", "-n", self.client, "link", "set", "vc", "down")
        run("ip", "-n", self.client, "addr", "flush", "dev", "vc")
        run("ip", "-n", self.client, "link", "set", "vc", "address", mac, "up")

    def start(self, *extra: str) -> None:
        """Start the server, with its leases on disk."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        node = f"m1={NODE_ADDRESS}={NODE_MACS[0]},{NODE_MACS[1]}"
        command = [
            "ip", "netns", "exec", self.server, sys.executable, "-m", "tests.dhcp.alone", "--interface", "vs",
            "--range", "10.77.128.1-10.77.128.50", "--node", node, "--ready", str(ready),
            "--sqlite", str(self.folder / "leases.db"), *extra,
        ]  # fmt: skip
        with (self.folder / "server.log").open("ab") as log:
            self._appliance = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 20
        while not ready.exists():
            assert self._appliance.poll() is None and time.monotonic() < until, self.log()
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End the server; SIGKILL, because a lease must not need a goodbye."""
        if self._appliance:
            self._appliance.send_signal(number)
            self._appliance.wait(10)
            self._appliance = None

    def down(self) -> None:
        """End everything."""
        self.stop()
        for name in (self.server, self.client):
            run("ip", "netns", "del", name, check=False)

    def log(self) -> str:
        """What the server said."""
        return (self.folder / "server.log").read_text()

    def as_client(self, *command: str, timeout: float = 30) -> str:
        """Run a client."""
        return run("ip", "netns", "exec", self.client, *command, timeout=timeout)

    def talk(self, *packets: Packet) -> list[Packet]:
        """Broadcast requests from a socket of the client's namespace; each one's answer as a card sees it."""
        lines = "\n".join(f"{p.chaddr.hex()} {encode(p).hex()}" for p in packets)
        command = ["ip", "netns", "exec", self.client, sys.executable, str(DRIVER), "vc"]
        done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr + self.log()
        return [decode(bytes.fromhex(line)) for line in done.stdout.split()]


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Link]:
    """A running server and a client's end."""
    made = Link(tmp_path)
    with contextlib.ExitStack() as stack:
        stack.callback(made.down)
        made.up()
        made.start()
        yield made


def udhcpc(link: Link, *extra: str) -> str:
    """Busybox's client takes a lease; the address."""
    script = link.folder / "bound"
    script.write_text(
        '#!/bin/sh\n[ "$1" = bound ] && echo "got $ip $hostname $router" >>' + f"{link.folder}/got\n"
    )
    script.chmod(0o755)
    link.as_client(
        "busybox", "udhcpc", "-i", "vc", "-n", "-q", "-f", "-t", "5", "-T", "2", "-s", str(script), *extra
    )
    return (link.folder / "got").read_text().splitlines()[-1].split()[1]


def need(*programs: str) -> None:
    """Skip, loudly, where a foreign client is not installed."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def test_busybox_takes_the_declared_address_from_each_card(link: Link) -> None:
    """By link-layer frame and, with its broadcast flag, by broadcast; name and router come along."""
    need("busybox")
    for mac in NODE_MACS:
        link.card(mac)
        assert udhcpc(link) == str(NODE_ADDRESS)
        assert udhcpc(link, "-B") == str(NODE_ADDRESS)
    assert (link.folder / "got").read_text().splitlines()[0] == f"got {NODE_ADDRESS} m1 10.77.0.1"


def test_busybox_takes_a_catch_all_address_and_gets_it_again(link: Link) -> None:
    """Also after the server was killed and started again: the lease was on disk before its ACK."""
    need("busybox")
    link.card(STRANGER)
    first = udhcpc(link)
    assert int(IPv4Address(first)) in CATCH_ALL
    link.stop()
    link.start()
    assert udhcpc(link) == first
    assert udhcpc(link, "-r", "10.77.128.9") == first, "its own address goes before its wish"


def test_dhclient_binds_and_renews_by_init_reboot_and_release(link: Link) -> None:
    """ISC's client: DISCOVER to ACK, a REQUEST out of its lease file, and a RELEASE that counts."""
    need("dhclient")
    link.card(STRANGER)
    base = [
        "-v",
        "-1",
        "-sf",
        "/bin/true",
        "-lf",
        str(link.folder / "c.leases"),
        "-pf",
        str(link.folder / "c.pid"),
    ]
    first = link.as_client("dhclient", *base, "vc")
    assert "DHCPOFFER" in first and "bound to 10.77.128." in first
    _end_dhclient(link)
    again = link.as_client("dhclient", *base, "vc")
    assert "DHCPACK" in again and "DHCPDISCOVER" not in again, again
    _end_dhclient(link)
    assert "DHCPRELEASE" in link.as_client("dhclient", "-r", *base, "vc")


def _end_dhclient(link: Link) -> None:
    written = link.folder / "c.pid"  # the part of it that stays behind writes it after the other has ended
    wait_until("dhclient wrote its pid", lambda: written.exists() and written.read_text().strip(), 20)
    pid = int(written.read_text())
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.05)


def test_a_crowd_of_new_machines_gets_addresses_of_its_own(link: Link) -> None:
    """Thirty machines at once, each with an address of its own, all different."""
    macs = [Mac.from_bytes(b"\x02\x11\0\0\0" + bytes([i])) for i in range(30)]
    offers = link.talk(*(discover(mac, {55: bytes([1, 3, 6])}, xid=i + 1) for i, mac in enumerate(macs)))
    assert len({offer.yiaddr for offer in offers}) == 30
    chosen = [
        message(mac, Kind.REQUEST, {50: offer.yiaddr.to_bytes(4, "big"), 54: offer.options[54]}, xid=i + 1)
        for i, (mac, offer) in enumerate(zip(macs, offers, strict=True))
    ]
    acks = link.talk(*chosen)
    assert [a.kind for a in acks] == [Kind.ACK] * 30
    assert [a.yiaddr for a in acks] == [o.yiaddr for o in offers]


def test_firmware_without_an_address_hears_a_frame_to_its_own_card(link: Link) -> None:
    """A client that sets no broadcast flag sees a unicast frame with right checksums."""
    for options, file in ((PXE_X64, b"snponly.efi"), (IPXE, b"http://10.77.0.1/boot.ipxe")):
        (offer,) = link.talk(discover(NODE_MACS[0], options))
        assert (offer.kind, offer.yiaddr, offer.file) == (Kind.OFFER, int(NODE_ADDRESS), file)


def test_a_wrong_address_is_refused_at_once(link: Link) -> None:
    """A machine that comes from elsewhere hears a NAK instead of waiting for its lease to end."""
    (nak,) = link.talk(message(STRANGER, Kind.REQUEST, {50: IPv4Address("192.168.1.5").packed}))
    assert nak.kind is Kind.NAK


RELAY = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("10.77.0.2", 67)); s.settimeout(10)
s.sendto(bytes.fromhex(sys.argv[1]), ("10.77.0.1", 67))
data, source = s.recvfrom(2000)
print(data.hex(), source[0], source[1])
"""


def test_a_relay_agent_gets_its_clients_answer_by_unicast(link: Link) -> None:
    """At giaddr, port 67, from our address and port, with its option 82 as the last one."""
    run("ip", "-n", link.client, "addr", "add", "10.77.0.2/16", "dev", "vc")
    relayed = discover(STRANGER, {82: b"\x01\x03ge1"}, giaddr="10.77.0.2")
    said = link.as_client(sys.executable, "-c", RELAY, encode(relayed).hex())
    payload, source, port = said.split()
    offer = decode(bytes.fromhex(payload))
    assert (offer.kind, source, port) == (Kind.OFFER, "10.77.0.1", "67")
    assert list(offer.options.items())[-1] == (82, b"\x01\x03ge1")


def test_the_server_survives_junk(link: Link) -> None:
    """Datagrams that are no DHCP are counted, logged once, and the next client is served."""
    junk = "import socket; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.setsockopt(1,6,1)\n"
    junk += "s.setsockopt(1,25,b'vc\\0')\n"
    junk += "for i in range(50): s.sendto(bytes(range(i)) * 9, ('255.255.255.255', 67))"
    run("ip", "-n", link.client, "addr", "add", "10.77.0.66/16", "dev", "vc")
    link.as_client(sys.executable, "-c", junk)
    (offer,) = link.talk(discover(NODE_MACS[0]))
    assert offer.kind is Kind.OFFER
    assert link.log().count("dhcp_malformed") == 1


def test_a_second_server_on_the_port_is_told_who_has_it(link: Link) -> None:
    """The reason names interface, port and the program; the remedy what to do."""
    command = [sys.executable, "-c", "from netboot.net import open_endpoint; open_endpoint('vs')"]
    said = run("ip", "netns", "exec", link.server, *command, check=False)
    assert "StartError" in said and "UDP port 67 on interface vs" in said and "(pid " in said


def test_the_kernel_knows_the_clients_card(link: Link) -> None:
    """After the client took its address and spoke, its neighbour entry names its card; a stranger's none."""
    run("ip", "-n", link.client, "addr", "add", f"{NODE_ADDRESS}/16", "dev", "vc")
    link.as_client("ping", "-c", "1", "-W", "2", "10.77.0.1")
    code = (
        "from ipaddress import IPv4Address as A; from netboot.net import interface, neighbour as n;"
        f"print(n('vs', A('{NODE_ADDRESS}')), n('vs', A('10.77.9.9')), interface('vs'))"
    )
    said = run("ip", "netns", "exec", link.server, sys.executable, "-c", code)
    assert said.split()[:2] == [str(NODE_MACS[0]), "None"] and "10.77.0.1" in said and SERVER_MAC in said
