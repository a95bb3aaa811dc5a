"""Every rule for everybody, from the octets of a client to the reply that scapy reads.

The clients are those of `firmwares`, as in test_quirks.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from scapy.all import TFTP, TFTP_RRQ, raw  # type: ignore[attr-defined]

from netboot.boot.rules import RULES, Rule
from netboot.errors import Refused
from netboot.tftp import wire as tftp
from netboot.tftp.names import clean_name, open_name
from netboot.tftp.transfer import negotiate
from netboot.tree import Served
from tests.boot.firmwares import (
    ACK,
    ADDRESS,
    DECLINE,
    NAK,
    RELEASE,
    REQUEST,
    SERVER,
    Bench,
    captured,
    http,
    ipxe,
    message,
    number,
    pxe,
    tftp_requests,
    told,
)
from tests.dhcp.world import network

MAC = "52:54:00:77:00:00"
SCRIPT = f"http://{SERVER}/boot.ipxe".encode()
SERVER_OCTETS = bytes(map(int, SERVER.split(".")))


@pytest.mark.parametrize("said", [pxe(0), pxe(7), http(16), ipxe()])
async def test_the_server_stands_wherever_some_firmware_looks(said: dict[int, bytes]) -> None:
    """siaddr, sname, 54 and 66, for TFTP in 150; the file in header and 67; the fields end in zeros."""
    offer = await told(message(MAC, said))
    assert (offer.header.siaddr, number(offer.options[54])) == (SERVER, SERVER)
    assert bytes(offer.header.sname) == SERVER.encode().ljust(64, b"\0")
    assert offer.options[66] == SERVER.encode() + b"\0"
    assert bytes(offer.header.file) == offer.options[67].rstrip(b"\0").ljust(128, b"\0")
    assert offer.options[67].endswith(b"\0")
    if said[60].startswith(b"PXE") and 77 not in said:
        assert number(offer.options[150]) == SERVER


@pytest.mark.parametrize("said", [pxe(0), pxe(7), http(16), ipxe(), {60: b"udhcp 1.35.0"}])
async def test_replies_are_padded_and_never_overloaded(said: dict[int, bytes]) -> None:
    """300 octets at least, zeros after END alone (a Raspberry Pi reads no PAD before it), no option 52."""
    offer = await told(message(MAC, said))
    assert len(offer.payload) >= 300 and 52 not in offer.options
    end, at = 0, 240
    while offer.payload[at] != 255:
        assert offer.payload[at] != 0, "a PAD before END"
        at += 2 + offer.payload[at + 1]
    end = at + 1
    assert set(offer.payload[end:]) <= {0}


@pytest.mark.parametrize(
    ("said", "most"), [(b"", 548), (b"\x02\x40", 548), (b"\x05\xc0", 1444), (b"\xff\0", 1472)]
)
async def test_option_57_counts_the_headers_of_ip_and_udp(said: bytes, most: int) -> None:
    """28 octets less, and junk is clamped."""
    many = [network(options={code: "hex:" + "ab" * 100 for code in range(224, 244)})]
    asks = {55: bytes((1, 3, 67, *range(224, 244)))} | ({57: said} if said else {})
    offer = await told(message(MAC, pxe(0) | asks), networks=many)
    assert most - 103 < len(offer.payload) <= most


async def test_a_uuid_comes_back_and_a_bad_or_missing_one_is_no_reason_for_silence() -> None:
    """17 octets are echoed, others are not."""
    assert (await told(message(MAC, pxe(0)))).options[97] == pxe(0)[97]
    for bad in (b"", b"\0", b"\0" * 16):
        offer = await told(message(MAC, pxe(0, o97=bad)))
        assert 97 not in offer.options and offer.file == b"undionly.kpxe"


async def test_the_captured_client_identifier_comes_back() -> None:
    """iPXE's, as RFC 6842 has it."""
    assert (await told(captured("ipxe-bios"))).options[61] == b"\x01\x52\x54\x00\x77\x00\x00"


@pytest.mark.parametrize("user_class", [b"iPXE", b"\x04iPXE"])
async def test_ipxe_is_known_by_its_user_class_counted_or_not(user_class: bytes) -> None:
    """RFC 3004 counts, iPXE does not."""
    said = pxe(0) | {77: user_class}
    assert (await told(message(MAC, said))).file == SCRIPT


async def test_one_address_for_firmware_ipxe_and_system_whatever_identifier_they_send() -> None:
    """The MAC comes first: three stages, three client identifiers, one dynamic address."""
    bench, seen = Bench(declared=False), set()
    for identifier, said in (
        (b"", pxe(0)),
        (b"\x01abcdef", ipxe()),
        (b"\xff\x01\x02\x03\x04DUID", {12: b"x"}),
    ):
        stage = said | ({61: identifier} if identifier else {})
        offer = await bench.told(message(MAC, stage))
        chosen = {50: offer.payload[16:20], 54: offer.options[54]}
        ack = await bench.told(message(MAC, stage | chosen, kind=REQUEST))
        seen.add(str(ack.header.yiaddr))
    assert len(seen) == 1


async def test_junk_in_ciaddr_of_a_discover_counts_nothing() -> None:
    """A client that leaves an old address there is answered from the network that it is on."""
    offer = await told(message(MAC, pxe(0), ciaddr="192.168.9.9"))
    assert offer.header.yiaddr == ADDRESS and offer.way == f"frame {MAC} {ADDRESS}"
    assert offer.header.ciaddr == "0.0.0.0"


async def test_a_request_without_50_54_and_ciaddr_is_taken() -> None:
    """Some clients say nothing about the address that they were offered."""
    bench = Bench()
    await bench.told(message(MAC, pxe(0)))
    ack = await bench.told(message(MAC, pxe(0), kind=REQUEST))
    assert ack.options[53] == bytes((ACK,)) and ack.header.yiaddr == ADDRESS


async def test_a_nak_goes_by_broadcast_and_through_a_relay_with_the_flag() -> None:
    """The client has no address that it could be reached at."""
    wrong = pxe(0) | {50: bytes((10, 77, 0, 99)), 54: SERVER_OCTETS}
    nak = await told(message(MAC, wrong, kind=REQUEST))
    assert nak.options[53] == bytes((NAK,)) and nak.way == "broadcast"
    relayed = await told(message(MAC, wrong, kind=REQUEST, giaddr="10.77.0.5"))
    assert relayed.way == "udp 10.77.0.5:67" and int(relayed.header.flags) == 0x8000


async def test_a_client_is_reached_as_its_broadcast_flag_says() -> None:
    """EDK2 sets it, iPXE does not: that one gets a frame to its card."""
    edk2 = captured("edk2-pxe-v6", vendor=b"PXEClient:Arch:00007:UNDI:003000")
    assert (await told(edk2)).way == "broadcast"
    assert (await told(captured("ipxe-bios"))).way.startswith("frame 52:54:00:77:00:00 ")


async def test_no_dynamic_address_ends_in_0_or_255() -> None:
    """A range that holds nothing else has no address to give."""
    crossing = network(subnet="10.77.0.0/16", first="10.77.8.255", last="10.77.9.1")
    offer = await told(message(MAC, pxe(0)), networks=[crossing], declared=False)
    assert offer.header.yiaddr == "10.77.9.1"


async def test_firmware_gets_the_short_lease() -> None:
    """ROMs do not drain a range: 300 seconds until the boot is claimed."""
    for said in (pxe(0), http(16), ipxe()):
        assert int.from_bytes((await told(message(MAC, said))).options[51], "big") == 300


@pytest.mark.parametrize("said", [http(16), ipxe()])
async def test_urls_name_an_address_and_the_script_ends_in_ipxe(said: dict[int, bytes]) -> None:
    """Some firmware hands no name server on; a built-in iPXE looks at the suffix."""
    offer = await told(message(MAC, said))
    assert offer.file.startswith(f"http://{SERVER}/".encode())
    assert 77 not in said or offer.file.endswith(b".ipxe")


async def test_pxelinux_gets_its_options_though_nobody_asks() -> None:
    """It reads the ACK that the ROM was given, and the ROM asks for no 208 to 211."""
    options = {209: "pxelinux.cfg/default", 210: "http://10.77.0.9/pxelinux/"}
    offer = await told(message(MAC, pxe(0)), tag_options=options, program="lpxelinux.0")
    assert (
        offer.options[210] == b"http://10.77.0.9/pxelinux/" and offer.options[209] == b"pxelinux.cfg/default"
    )


async def test_grub_finds_the_server_in_siaddr() -> None:
    """GRUB takes what the ROM's ACK says: header and 66 agree."""
    offer = await told(message(MAC, pxe(7)), program="grubnetx64.efi")
    assert (offer.header.siaddr, offer.options[66]) == (SERVER, SERVER.encode() + b"\0")


def test_edk2_asks_the_size_first_and_its_blocks_fit_into_a_frame() -> None:
    """The captured request for the size alone is answered like any other, with 1468 octets at most."""
    size, real = (tftp.parse(datagram) for datagram in tftp_requests("edk2-http-boot-v4"))
    assert isinstance(size, tftp.Request) and isinstance(real, tftp.Request)
    assert dict(negotiate(size.options, size=1000).answer) == {
        "tsize": 1000,
        "blksize": 1468,
        "windowsize": 4,
    }
    assert "tsize" not in dict(negotiate(real.options, size=1000).answer)
    huge = negotiate({"blksize": "65464"}, size=1000)
    assert huge.blksize == 1468


@pytest.mark.parametrize("kind", [DECLINE, RELEASE])
async def test_decline_and_release_without_a_server_are_taken(kind: int) -> None:
    """Broken clients leave option 54 out; the dynamic address is given back or rests all the same."""
    bench, said = Bench(declared=False), {60: b"udhcp 1.35.0"}
    offer = await bench.told(message(MAC, said))
    address = offer.payload[16:20]
    await bench.told(message(MAC, said | {50: address, 54: offer.options[54]}, kind=REQUEST))
    where = {"ciaddr": number(address)} if kind == RELEASE else {}
    await bench.say(message(MAC, said | ({} if where else {50: address}), kind=kind, **where))
    reported = offer.world.reported("dhcp_release" if where else "dhcp_decline")
    assert len(reported) == 1 and number(address) in reported[0]


@pytest.mark.parametrize("name", [rb"\boot\grub.efi", b"/boot//grub.efi", b"boot/GRUB.EFI", b"boot/grub.efi"])
def test_tftp_names_of_every_style_lead_to_one_file(tmp_path: Path, name: bytes) -> None:
    """As scapy writes the request: backslashes, doubled and leading slashes, upper case."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / "grub.efi").write_text("grub")
    asked = tftp.parse(raw(TFTP(op=1) / TFTP_RRQ(filename=name, mode=b"octet")))
    assert isinstance(asked, tftp.Request)
    served = Served(str(tmp_path), str(tmp_path))
    opened = open_name(served, clean_name(asked.name))
    os.close(opened.fd)
    assert opened.size == 4
    with pytest.raises(Refused):
        clean_name(rb"..\..\etc\passwd".decode())


# beside another DHCP server (proxyDHCP)


PROXIED = [replace(network(), mode="proxy", ranges=())]


@pytest.mark.parametrize("said", [pxe(0), pxe(7), http(16), ipxe()])
async def test_an_offer_beside_another_server_names_us_in_54_and_siaddr(said: dict[int, bytes]) -> None:
    """Without either the client broadcasts its question to port 4011."""
    offer = await told(message(MAC, said), networks=PROXIED)
    assert (number(offer.options[54]), offer.header.siaddr) == (SERVER, SERVER)
    assert offer.header.yiaddr == "0.0.0.0" and offer.options[60][:9] in (b"PXEClient", b"HTTPClien")


async def test_uefi_beside_another_server_asks_port_4011() -> None:
    """It sees the class and no 43: what EDK2 takes for a boot server, and other UEFI does not ignore."""
    offer = await told(message(MAC, pxe(7)), networks=PROXIED)
    assert offer.options[60] == b"PXEClient" and 43 not in offer.options and offer.file == b"snponly.efi"
    bios = await told(message(MAC, pxe(0)), networks=PROXIED)
    assert bios.options[43] == bytes.fromhex("060108ff")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_names_the_code_that_has_it(rule: Rule) -> None:
    """A reader finds it: module and name exist, and who found out is said."""
    module, _, name = rule.where.partition(":")
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert rule.match and rule.effect and rule.source
