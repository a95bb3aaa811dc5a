"""A PXE client made of scapy's packets, run in a machine's namespace: what a ROM beside two servers does.

    python pxe_client.py INTERFACE MAC ARCH CLASS PORT

It collects every OFFER of 1.5 s, takes the address of the one that has an address, gives it to its card, and
asks the boot server of the other one on port 4011, from PORT. Prints what it heard as one line of JSON.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from typing import Any

from scapy.all import BOOTP, DHCP, IP, UDP, AsyncSniffer, Ether, sendp  # type: ignore[attr-defined]

COLLECT, PATIENCE = 1.5, 5.0


class Card:
    """One card, which hears the replies to its own messages."""

    def __init__(self, interface: str, mac: str) -> None:
        self.interface, self.mac = interface, mac
        self.raw = bytes.fromhex(mac.replace(":", ""))

    def message(self, kind: str, xid: int, options: Iterable[Any], ciaddr: str = "0.0.0.0") -> Any:
        """A DHCP message of ours, as scapy builds it."""
        head = BOOTP(chaddr=self.raw, xid=xid, flags=0x8000, ciaddr=ciaddr)
        return head / DHCP(options=[("message-type", kind), *options, "end"])

    def converse(self, message: Any, wanted: set[int], seconds: float, many: bool) -> list[Any]:
        """Broadcast it; the replies to it of these message types."""
        heard: list[Any] = []
        started, done = threading.Event(), threading.Event()

        def hear(frame: Any) -> None:
            if BOOTP in frame and frame[BOOTP].xid == message.xid and option(frame, "message-type") in wanted:
                heard.append(frame)
                if not many:
                    done.set()

        sniffer = AsyncSniffer(
            iface=self.interface, prn=hear, store=False, filter=None, started_callback=started.set
        )
        sniffer.start()
        started.wait(10)
        datagram = IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / message
        sendp(Ether(src=self.mac, dst="ff:ff:ff:ff:ff:ff") / datagram, iface=self.interface, verbose=False)
        done.wait(seconds)
        sniffer.stop()
        return heard


def option(frame: Any, name: str) -> Any:
    """An option's value as scapy reads it."""
    return next((o[1] for o in frame[DHCP].options if isinstance(o, tuple) and o[0] == name), None)


def told(frame: Any) -> dict[str, Any]:
    """What a reply says, as JSON takes it."""
    bootp = frame[BOOTP]
    vendor = option(frame, "vendor_class_id")
    encapsulated = option(frame, "vendor_specific")
    return {
        "yiaddr": bootp.yiaddr,
        "siaddr": bootp.siaddr,
        "file": bootp.file.rstrip(b"\0").decode("latin-1"),
        "server": option(frame, "server_id"),
        "vendor": vendor.decode("latin-1") if vendor else None,
        "43": encapsulated.hex() if encapsulated else None,
        "type": option(frame, "message-type"),
    }


def main() -> None:
    """One boot up to the name of the first program."""
    interface, mac, arch, vendor_class, port = sys.argv[1:6]
    card, xid = Card(interface, mac), random.getrandbits(32)
    said: list[Any] = [
        ("vendor_class_id", vendor_class.encode()),
        ("pxe_client_architecture", int(arch).to_bytes(2, "big")),
        ("pxe_client_machine_identifier", bytes(17)),
        ("param_req_list", [1, 3, 6, 43, 54, 60, 66, 67]),
    ]
    offers = card.converse(card.message("discover", xid, said), {2}, COLLECT, many=True)
    result: dict[str, Any] = {"offers": [told(frame) for frame in offers]}
    whole = next((f for f in offers if f[BOOTP].yiaddr != "0.0.0.0"), None)
    bare = next((f for f in offers if f[BOOTP].yiaddr == "0.0.0.0"), None)
    if whole is not None:
        address = whole[BOOTP].yiaddr
        chosen = [("requested_addr", address), ("server_id", option(whole, "server_id")), *said]
        acks = card.converse(card.message("request", xid, chosen), {5}, PATIENCE, many=False)
        result["address"] = address if acks else None
        if acks:
            subprocess.run(["ip", "addr", "add", f"{address}/24", "dev", interface], check=True)
    if bare is not None and result.get("address") and int(port):
        result["boot server"] = ask_boot_server(card, result["address"], bare[BOOTP].siaddr, int(port), said)
    print(json.dumps(result))


def ask_boot_server(card: Card, address: str, server: str, port: int, said: list[Any]) -> Any:
    """The unicast REQUEST to port 4011; what comes back to the port that it went out from."""
    xid = random.getrandbits(32)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, port))
        sock.settimeout(PATIENCE)
        sock.sendto(bytes(card.message("request", xid, said, ciaddr=address)), (server, 4011))
        data, source = sock.recvfrom(4096)
    reply = IP() / UDP() / BOOTP(data)
    return {**told(reply), "from": source[1], "xid": reply[BOOTP].xid == xid}


main()
