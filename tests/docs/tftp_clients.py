"""docs/tftp-clients.md: what TFTP clients ask, from their records, and what we answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netboot.tftp.transfer import negotiate
from tests.captures import tftp

SIZE = 1_048_576

HEAD = """# TFTP clients

What each client asks for and what it is answered. Made by `scripts/docs` from the records in
`tests/captures/tftp` (`scripts/captures --tftp` records the clients anew) and from the server's own
negotiation, for a file of 1 MiB over Ethernet; a test fails when this page is stale. "constructed" clients
were not at hand: their requests are made from the source that is named.

| client | version | asks | is answered | record |
|---|---|---|---|---|
"""

TAIL = """
Without options a transfer has blocks of 512 octets, one at a time. `blksize` is cut to what leaves
unfragmented: 1468 on Ethernet. `windowsize` is cut to 64, with `server.tftp.single_port` to 8. Options that
we do not know, and values out of their range, are left out of the answer, as RFC 2347 wants. How names are
read, what is sent again and when, and every limit: [tftp.md](tftp.md).
"""


@dataclass(frozen=True, slots=True)
class Constructed:
    """A client that could not be recorded: its request, and the source that says so."""

    client: str
    options: Mapping[str, str]
    source: str


CONSTRUCTED = (
    Constructed(
        "U-Boot",
        {"timeout": "5", "blksize": "1468"},
        "U-Boot `net/tftp.c`: CONFIG_TFTP_BLOCKSIZE; CONFIG_TFTP_TSIZE adds tsize 0",
    ),
    Constructed(
        "U-Boot with CONFIG_TFTP_WINDOWSIZE=4",
        {"timeout": "5", "blksize": "1468", "windowsize": "4"},
        "U-Boot `net/tftp.c`: sent when it is more than 1",
    ),
    Constructed("Raspberry Pi 3, boot ROM", {}, "raspberrypi/firmware#745: `bootcode.bin`, `bootsig.bin`"),
    Constructed(
        "Raspberry Pi firmware (`SERIAL/start4.elf` ...)",
        {"tsize": "0"},
        "raspberrypi/firmware#1041, raspberrypi/rpi-eeprom#74: asks for the size, aborts, asks again",
    ),
)


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"{line}\n" for line in (*_recorded(), *_constructed())) + TAIL


def _recorded() -> Iterator[str]:
    versions = tftp.versions()
    for kind in tftp.KINDS:
        version = versions.get(kind.client) or versions.get(kind.client.split()[0], "unknown")
        for request in tftp.requests(kind):
            note = f"; {kind.note}" if kind.note else ""
            yield _row(kind.client, version, request.options, f"`{kind.record}.pcap`{note}")


def _constructed() -> Iterator[str]:
    for client in CONSTRUCTED:
        yield _row(client.client, "–", client.options, f"constructed from {client.source}")


def _row(client: str, version: str, options: Mapping[str, str], record: str) -> str:
    answer = dict(negotiate(options, size=SIZE).answer)
    return f"| {client} | {version} | {_words(options)} | {_words(answer)} | {record} |"


def _words(options: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items()) or "no options"
