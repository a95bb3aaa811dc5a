"""The reader of ACKs: right about a whole file, a file that still grows, and frames that are no ACK."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from scapy.all import BOOTP, DHCP, IP, UDP, Dot1Q, Ether, wrpcap  # type: ignore[attr-defined]

from tests.chaos.acks import Ack, Capture, ack_of

MAC = "02:ad:00:00:00:07"


def frame(kind: str = "ack", lease: int | None = 3600, **fields: object) -> Ether:
    """A reply to one machine, as scapy builds it."""
    bootp = {"op": 2, "chaddr": bytes.fromhex(MAC.replace(":", "")), "yiaddr": "10.97.0.9", **fields}
    options: list[object] = [("message-type", kind), "pad", ("server_id", "10.96.0.1")]
    options += [("lease_time", lease)] if lease is not None else []
    link = Ether(dst="ff:ff:ff:ff:ff:ff") / IP(src="10.96.0.1", dst="10.96.0.3")
    made = link / UDP(sport=67, dport=67) / BOOTP(**bootp) / DHCP(options=[*options, "end"])
    made.time = 1000.25
    return made


def test_an_ack_is_read() -> None:
    """Machine, address, moment and duration."""
    assert ack_of(bytes(frame()), 5.0) == Ack(MAC, IPv4Address("10.97.0.9"), 5.0, 3600)


@pytest.mark.parametrize(
    "other",
    [frame("offer"), frame("nak"), frame(lease=None), frame(op=1), Ether() / Dot1Q() / frame().payload],
)
def test_other_frames_are_none(other: Ether) -> None:
    """OFFERs, refusals, answers without a lease, requests, other protocols; nor is half a frame."""
    assert ack_of(bytes(other), 5.0) is None
    for size in range(0, 280, 7):
        assert ack_of(bytes(frame())[:size], 5.0) is None


def test_a_file_that_grows_is_read_once(tmp_path: Path) -> None:
    """Whatever pieces it comes in."""
    whole, growing = tmp_path / "whole", tmp_path / "growing"
    wrpcap(str(whole), [frame(), frame("offer"), frame(yiaddr="10.97.0.10")])
    capture = Capture(growing)
    assert capture.new() == []
    found = []
    for octet in whole.read_bytes():
        with growing.open("ab") as file:
            file.write(bytes([octet]))
        found += capture.new()
    assert [str(ack.address) for ack in found] == ["10.97.0.9", "10.97.0.10"]
    assert found[0].at == pytest.approx(1000.25, abs=1e-4) and capture.new() == []


def test_a_lease_counts_from_the_question(tmp_path: Path) -> None:
    """However long the answer took; another machine's question is not this one's."""
    asked, other, answer = frame("request", op=1, xid=7), frame("request", op=1, xid=8), frame(xid=7)
    other.time, answer.time = 1001.0, 1003.5
    wrpcap(str(tmp_path / "x"), [asked, other, answer])
    (ack,) = Capture(tmp_path / "x").new()
    assert ack.at == pytest.approx(1000.25, abs=1e-4)


def test_what_tcpdump_did_not_write_is_refused(tmp_path: Path) -> None:
    """No silent zero."""
    (tmp_path / "x").write_bytes(b"nonsense" * 10)
    with pytest.raises(ValueError, match="no capture"):
        Capture(tmp_path / "x").new()
