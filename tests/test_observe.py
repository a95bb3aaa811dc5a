"""Shadow mode composed: the very server of `serve`, on books of its own."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot import observe
from netboot.config import load
from netboot.config.model import Api, Config, Server
from netboot.dhcp.wire import HEADER_SIZE, Kind, encode
from netboot.errors import StartError
from netboot.model.machine import Mac
from netboot.observe import Observer, Rehearsal, interfaces, replay, stand_in
from netboot.shadow.assess import US, Finding, Handed, Request
from netboot.shadow.compare import Verdict
from netboot.shadow.pcap import Frame
from netboot.shadow.report import Summary
from tests.captures import CAPTURES
from tests.dhcp.world import PXE_X64, discover, inventory, message
from tests.shadow.talk import CATCH_ALL, CONFIG, NODE, STRANGER, config, ethernet, four, frames, pcap

SEEN = Config((), Server(), Api(), inventory())
"""A read configuration."""


class Kept:
    """A display that keeps what it is shown."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.skipped: Counter[str] = Counter()
        self.summary = Summary()
        self.proposal = ""

    def opened(self, what: str) -> None:
        """It begins."""

    def finding(self, finding: Finding) -> None:
        """One exchange."""
        self.findings.append(finding)

    def closed(self, summary: Summary, skipped: Counter[str], proposed: int) -> None:
        """It is over."""
        self.summary, self.skipped = summary, skipped

    def propose(self, text: str, machines: int) -> None:
        """Take the proposal."""
        self.proposal = text


def replayed(raw: bytes, path: Path) -> Kept:
    """What a capture gives."""
    kept = Kept()
    assert replay([str(path)], BytesIO(raw), "a capture", kept, kept.propose) == 0
    return kept


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_every_capture_of_real_clients_is_assessed(capture: Path, tmp_path: Path) -> None:
    """Each machine with DHCPv4 in it gets its findings, with the address that the other server gave."""
    path = config(tmp_path, CATCH_ALL)
    path.write_text(path.read_text().replace("52:54:00:77:00:00", "52:54:00:55:55:55"))
    kept = replayed(capture.read_bytes(), path)
    assert kept.findings
    for finding in kept.findings:
        assert finding.verdict in (Verdict.DIFFERS, Verdict.AGREES) and finding.servers == ("10.77.0.1",)
        assert {turn.ours.kind for turn in finding.turns} <= {Kind.OFFER, Kind.ACK}
        assert not [d for d in finding.differences if d.what in ("answer", "address")]


def test_a_capture_with_vlans_fragments_and_junk_gives_what_can_be_read(tmp_path: Path) -> None:
    """What is left out is counted by its reason."""
    talk = [ethernet(p, b"\x81\x00\x00\x0c") for p in four(NODE, "10.77.0.20")]
    fragment = bytearray(ethernet(discover(STRANGER)))
    fragment[20] |= 0x20
    junk = ethernet(discover(STRANGER))[:42] + bytes(300)
    kept = replayed(pcap([*talk, bytes(fragment), junk]), config(tmp_path))
    assert [f.name for f in kept.findings] == ["m1"]
    assert set(kept.skipped) == {
        "DHCP messages in IP fragments",
        "datagrams on DHCP's ports that are no DHCP message",
    }


async def test_the_other_servers_word_stands_on_our_books() -> None:
    """A REQUEST for an address that it gave is acknowledged; without it the same REQUEST is refused."""
    asks = encode(message(STRANGER, Kind.REQUEST, {50: IPv4Address("10.77.0.140").packed}))
    handed = Handed(STRANGER, IPv4Address("10.77.0.140"), 600.0)
    for told, kind in ((handed, Kind.ACK), (None, Kind.NAK)):
        server = Rehearsal(inventory(), 80)
        ours = await server.answer(asks, Request("eth1", IPv4Address(0), 68, 1000.0, False, told))
        assert ours.packet is not None and ours.packet.kind is kind
    assert "no lease of this machine" in ours.reason


async def test_what_the_other_server_takes_back_and_gives_to_another_is_believed() -> None:
    """The address of a machine that it gave up is the new holder's on our books, too."""
    server = Rehearsal(inventory(), 80)
    for number, mac in enumerate((STRANGER, "52:54:00:99:00:02")):
        handed = Handed(type(STRANGER)(mac), IPv4Address("10.77.0.140"), 600.0)
        ask = encode(discover(handed.mac))
        ours = await server.answer(ask, Request("eth1", IPv4Address(0), 68, 1000.0 + number, False, handed))
        assert ours.packet is not None and ours.packet.yiaddr == int(IPv4Address("10.77.0.140"))


@given(st.binary(max_size=80), st.sampled_from([1, 2]), st.integers(0, 9), st.binary(min_size=6, max_size=6))
async def test_whatever_stands_in_dhcp_messages_the_observer_goes_on(
    options: bytes, op: int, kind: int, chaddr: bytes
) -> None:
    """Findings, or a count of what could not be read; never an exception."""
    observer = Observer(SEEN, Kept())
    for packet in four(NODE, "10.77.0.20"):
        raw = bytearray(ethernet(packet._replace(chaddr=chaddr, options={53: bytes([kind])})))
        at = 42 + HEADER_SIZE + 3
        junk = options[: len(raw) - at]
        raw[at : at + len(junk)] = junk
        raw[42] = op
        await observer.hear(Frame(1000.0, 1, bytes(raw), len(raw), "eth1"))
    await observer.end()


async def test_the_books_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that invents machines and answers them costs no memory."""
    monkeypatch.setattr(observe, "LEASES", 5)
    server = Rehearsal(inventory(), 80)
    for i in range(20):
        mac = Mac.from_bytes(b"\x52\x54\0\x98\0" + bytes([i]))
        handed = Handed(mac, IPv4Address("10.77.0.100") + i, 600.0)
        asked = Request("eth1", IPv4Address(0), 68, 1000.0 + i, False, handed)
        await server.answer(encode(discover(mac)), asked)
        assert len(server._books._table.by_key) <= 6


async def test_frames_are_findings_as_soon_as_they_are_over(tmp_path: Path) -> None:
    """A second after the ACK, and at the end for what was under way; a RELEASE is no exchange to compare."""
    kept = Kept()
    observer = Observer(load([config(tmp_path)]), kept)
    for frame in frames(four(NODE, "10.77.0.20"), "eth1"):
        await observer.hear(frame)
    assert not kept.findings
    await observer.tick(1002.0)
    assert [f.name for f in kept.findings] == ["m1"]
    gone = message(NODE, Kind.RELEASE, {54: IPv4Address("10.77.0.2").packed}, ciaddr="10.77.0.20")
    for frame in frames([gone, discover(NODE, xid=99)], "eth1", at=1003.0):
        await observer.hear(frame)
    await observer.end()
    assert len(kept.findings) == 2 and kept.summary.exchanges.total() == 2


def test_a_network_without_an_address_or_interface_gets_one_that_stands_for_ours(tmp_path: Path) -> None:
    """A capture is read on any host, also for networks behind a relay agent."""
    path = config(tmp_path)
    path.write_text(CONFIG.replace("interface: eth1, address: 10.77.0.1,", "interface: nic99,"))
    network = stand_in(load([path])).networks["lab"]
    assert network.address == US and network.interface == "nic99"
    talk = four(NODE, "10.77.0.20", PXE_X64, file=b"x", siaddr="10.77.0.9")
    (found,) = replayed(pcap(map(ethernet, talk)), path).findings
    assert ("10.77.0.9", "OUR-ADDRESS") in {(d.theirs, d.ours) for d in found.differences}


def test_a_file_without_interfaces_cannot_be_watched(tmp_path: Path) -> None:
    """The error says what to add."""
    path = tmp_path / "netboot.yaml"
    path.write_text(CONFIG.replace("interface: eth1, ", "relayed: true, "))
    with pytest.raises(StartError, match="Give the network that you watch"):
        interfaces(load([path]))
