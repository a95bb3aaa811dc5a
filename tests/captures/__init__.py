"""Real clients' packets, each capture with a readable decode beside it.

`scripts/captures` writes the decodes anew; `scripts/captures FOLDER` takes further captures in first.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from scapy.all import IP, UDP, Ether, PcapNgReader  # type: ignore[attr-defined]

from netboot.dhcp.options import BY_CODE
from netboot.dhcp.wire import Packet, decode

FOLDER = Path(__file__).parent
CAPTURES = sorted(FOLDER.glob("*.pcapng"))


class Message(NamedTuple):
    """One DHCP message of a capture."""

    after: float
    """Seconds since the capture's first packet."""
    source: str
    destination: str
    payload: bytes


def messages(capture: Path) -> Iterator[Message]:
    """The DHCP messages of a capture, both ways, oldest first."""
    first = None
    with PcapNgReader(str(capture)) as reader:
        for frame in reader:
            first = float(frame.time) if first is None else first
            if Ether in frame and UDP in frame and {frame[UDP].sport, frame[UDP].dport} & {67}:
                payload = bytes(frame[UDP].payload)
                yield Message(float(frame.time) - first, frame[IP].src, frame[IP].dst, payload)


def requests(capture: Path) -> list[Packet]:
    """What the clients of a capture said."""
    return [packet for m in messages(capture) if (packet := decode(m.payload)).op == 1]


def readable(capture: Path) -> str:
    """A capture's DHCP messages as text: header fields that are set, then each option with its name."""
    return "\n".join(_message(m) for m in messages(capture))


def _message(message: Message) -> str:
    packet = decode(message.payload)
    kind = packet.kind.name if packet.kind else "BOOTP"
    lines = [
        f"{message.after:8.3f}s {message.source} > {message.destination} {kind} {len(message.payload)} octets"
    ]
    numbers = ("xid", "secs", "flags", "ciaddr", "yiaddr", "siaddr", "giaddr")
    lines += [f"    {name} {getattr(packet, name):#x}" for name in numbers if getattr(packet, name)]
    lines += [f"    chaddr {packet.chaddr.hex(':')}"]
    lines += [f"    {name} {getattr(packet, name)!r}" for name in ("sname", "file") if getattr(packet, name)]
    lines += [_option(code, value) for code, value in packet.options.items()]
    return "\n".join(lines) + "\n"


def _option(code: int, value: bytes) -> str:
    name = BY_CODE[code].name if code in BY_CODE else "-"
    text = f"  {value!r}" if value and all(32 <= octet < 127 for octet in value) else ""
    return f"    {code:3} {name}: {value.hex(' ')}{text}"


def main() -> None:
    """Take further captures in, then write every decode."""
    for folder in sys.argv[1:]:
        for capture in Path(folder).glob("*.pcapng"):
            shutil.copyfile(capture, FOLDER / capture.name)
    for capture in sorted(FOLDER.glob("*.pcapng")):
        capture.with_suffix(".txt").write_text(readable(capture))
        print(capture.with_suffix(".txt").relative_to(FOLDER.parent.parent))
