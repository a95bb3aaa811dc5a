"""What real clients sent: read as scapy reads it, as the decode beside it says, and answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.all import BOOTP, DHCP  # type: ignore[attr-defined]

from netboot.dhcp.options import client_of, sub_options
from netboot.dhcp.wire import Kind, Packet, decode, encode
from netboot.model.inventory import Node
from netboot.model.machine import Mac, Speaker
from tests.captures import CAPTURES, messages, readable, requests
from tests.dhcp.world import SERVER, World, address, inventory

SCRIPT = b"http://10.77.0.1/boot.ipxe"


def world_of(packet: Packet) -> World:
    """A server that has declared the machine of this packet with the address that it asks for."""
    asked = packet.u32(50) or packet.ciaddr
    where = address(asked) if asked else address("10.77.0.20")  # type: ignore[arg-type]
    return World(inventory(nodes=[Node("m1", "lab", (Mac.from_bytes(packet.chaddr),), where)]))


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_the_readable_decode_is_what_the_capture_says(capture: Path) -> None:
    """`scripts/captures` would write the same text again."""
    assert readable(capture) == capture.with_suffix(".txt").read_text()


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_scapy_reads_the_same_in_every_captured_message(capture: Path) -> None:
    """Header fields and the order, codes and number of options agree with the other codec."""
    for message in messages(capture):
        ours, theirs = decode(message.payload), BOOTP(message.payload)
        assert (ours.op, ours.xid, ours.flags, ours.secs) == (
            theirs.op, theirs.xid, int(theirs.flags) if theirs.flags else 0, theirs.secs,
        )  # fmt: skip
        assert (address(ours.yiaddr), address(ours.siaddr)) == (
            address(theirs.yiaddr),
            address(theirs.siaddr),
        )  # type: ignore[arg-type]
        assert ours.kind == dict(o[:2] for o in theirs[DHCP].options if isinstance(o, tuple))["message-type"]
        said = [o for o in theirs[DHCP].options if isinstance(o, tuple)]
        assert len(ours.options) == len(said)


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_encoding_a_captured_message_changes_nothing_that_counts(capture: Path) -> None:
    """What we decode and write again decodes to the same message."""
    for message in messages(capture):
        assert decode(encode(decode(message.payload))) == decode(message.payload)


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
async def test_every_captured_request_is_answered(capture: Path) -> None:
    """Each DISCOVER gets an OFFER, each REQUEST an ACK, with everything that its sender needs to boot."""
    for packet in requests(capture):
        reply = await world_of(packet).say(packet)
        assert reply is not None, "no answer"
        assert reply.kind is (Kind.OFFER if packet.kind is Kind.DISCOVER else Kind.ACK)
        assert reply.xid == packet.xid and reply.options[54] == SERVER.packed
        _can_boot_from(reply, packet)


def _can_boot_from(reply: Packet, packet: Packet) -> None:
    """The file of the reply fits the machine's firmware."""
    client = client_of(packet)
    if client.speaker is Speaker.IPXE:
        assert reply.options[67] == SCRIPT + b"\0" and reply.file == SCRIPT
        assert sub_options(reply.options[175])[0xB0] == b"\x01"
    elif client.speaker is Speaker.HTTP:
        assert reply.options[60] == b"HTTPClient"
        assert reply.file == b"http://10.77.0.1/programs/snponly.efi"
    elif client.speaker is Speaker.PXE:
        # U-Boot, and UEFI of 32- and 64-bit ARM: the server, and no program of another architecture
        program = b"snponly.efi" if client.arch in (7, 9) else b""
        assert (reply.siaddr, reply.file) == (int(SERVER), program)
        assert not {43, 60} & set(reply.options)
    else:
        assert 67 not in reply.options and reply.file == b""
    assert reply.options.get(97) == packet.options.get(97)
    assert reply.options.get(61) == packet.options.get(61)


def test_the_captures_show_each_kind_of_client() -> None:
    """iPXE in BIOS and UEFI, EDK2 by TFTP and HTTP, U-Boot, ARM, and the system's own client are there."""
    seen = {(c.speaker, c.arch) for path in CAPTURES for c in map(client_of, requests(path))}
    assert {(Speaker.IPXE, 0), (Speaker.IPXE, 7), (Speaker.PXE, 7), (Speaker.HTTP, 16)} <= seen
    assert {(Speaker.PXE, arch) for arch in (None, 10, 11, 21, 22)} <= seen
    assert any(speaker is Speaker.SYSTEM for speaker, _ in seen)


async def test_chain_loaded_ipxe_gets_the_script_and_never_itself() -> None:
    """In the capture a server that told iPXE `undionly.kpxe` made it load itself again and again."""
    capture = next(path for path in CAPTURES if "chainload" in path.stem)
    for packet in requests(capture):
        reply = await world_of(packet).say(packet)
        assert reply is not None
        if client_of(packet).speaker is Speaker.IPXE:
            assert b"undionly" not in encode(reply) and SCRIPT in reply.file
