"""What firmware makes of the answers that it gets."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from netboot.dhcp.wire import Kind
from netboot.probe.clients import GUISES
from netboot.probe.offers import BootServer, File, Nothing, Offer, chosen, plan
from tests.dhcp.world import discover
from tests.shadow.talk import NODE, answer

SERVER, PROXY = "10.77.0.1", "10.77.0.3"
HTTP = {60: b"HTTPClient"}
LOAD_AT_ONCE = bytes.fromhex("060108ff")


def offer(address: str = "10.77.0.20", server: str = SERVER, **said: object) -> Offer:
    """An OFFER as it came."""
    packet = answer(discover(NODE), Kind.OFFER, address, server=server, **said)
    return Offer(IPv4Address(server), IPv4Address(server), packet, 0.1)


def proxy(**said: object) -> Offer:
    """A proxyDHCP server's OFFER."""
    options = {60: b"PXEClient", **said.pop("options", {})}  # type: ignore[dict-item]
    return offer("0.0.0.0", PROXY, options=options, **said)


@pytest.mark.parametrize(
    ("guise", "offers", "found"),
    [
        ("bios", [offer(file=b"a.0", siaddr="10.77.0.7")], File("a.0", "10.77.0.7")),
        ("uefi", [offer(options={67: b"a.efi\0"})], File("a.efi", SERVER)),
        ("bios", [offer(file=b"a.0", options={60: b"PXEClient", 43: LOAD_AT_ONCE})], File("a.0", SERVER)),
        ("uefi", [offer(), proxy(file=b"p.efi", siaddr=PROXY)], File("p.efi", PROXY)),
        ("uefi", [proxy(file=b"p.efi"), offer()], File("p.efi", PROXY)),
        ("ipxe", [offer(file=b"http://h/boot.ipxe")], File("http://h/boot.ipxe", SERVER)),
        (
            "uefi-http",
            [offer(file=b"http://h/a.efi", options={60: b"HTTPClient"})],
            File("http://h/a.efi", SERVER),
        ),
    ],
)
def test_a_boot_file_is_found_as_firmware_finds_it(guise: str, offers: list[Offer], found: File) -> None:
    """In the header or option 67, of the server itself or of a proxy beside it."""
    assert plan(GUISES[guise], offers) == found


@pytest.mark.parametrize(
    ("offers", "server"),
    [
        ([offer(file=b"a.efi", options={60: b"PXEClient"})], SERVER),
        ([offer(options={60: b"PXEClient", 43: LOAD_AT_ONCE})], SERVER),
        ([offer(), proxy(options={43: b"\6\1\0\xff"})], PROXY),
    ],
)
def test_some_answers_send_firmware_to_port_4011(offers: list[Offer], server: str) -> None:
    """A class without "load at once", or a proxy without a file."""
    found = plan(GUISES["uefi"], offers)
    assert isinstance(found, BootServer) and str(found.server) == server and found.why


@pytest.mark.parametrize(
    ("guise", "offers", "reason"),
    [
        ("bios", [], "nobody offers"),
        ("bios", [proxy(file=b"a.0")], "nobody offers it an address"),
        ("bios", [offer()], "no boot file"),
        ("uefi-http", [offer(file=b"http://h/a.efi")], "answers with no class"),
        ("uefi-http", [offer(file=b"http://h/a.efi", options={60: b"PXEClient"})], "class 'PXEClient'"),
        ("uefi-http", [offer(file=b"a.efi", options={60: b"HTTPClient"})], "names no URL"),
        ("ipxe", [offer(file=b"undionly.kpxe")], "load itself for ever"),
        ("ipxe", [offer(file=b"http://h/x/snponly.efi")], "load itself for ever"),
        ("ipxe", [offer(), proxy(file=b"ipxe.efi")], "load itself for ever"),
    ],
)
def test_what_does_not_boot_is_told_with_its_reason(guise: str, offers: list[Offer], reason: str) -> None:
    """No address, no file, a class that the firmware does not take, iPXE that is told iPXE."""
    found = plan(GUISES[guise], offers)
    assert isinstance(found, Nothing) and reason in found.reason


def test_an_offer_with_a_boot_file_goes_before_one_without() -> None:
    """And the first before the second."""
    plain, complete = offer(), offer("10.77.0.21", PROXY, file=b"a.0")
    assert chosen([plain, complete]) is complete and chosen([plain]) is plain
    assert chosen([proxy(file=b"a.0")]) is None
