"""Speaks as machines without an address: frames out, frames in (run in a client's namespace).

Reads lines `MAC PAYLOAD` in hex from stdin, sends each as a broadcast of that card, waits for the reply with
its xid to that card (or to all), and writes the reply's payload in hex. Checks the checksums by scapy.
"""

from __future__ import annotations

import sys
import threading

from scapy.all import BOOTP, IP, UDP, AsyncSniffer, Ether, sendp  # type: ignore[attr-defined]


def main() -> None:
    """Send all, then print the replies in the order of the requests."""
    interface = sys.argv[1]
    asked = [(bytes.fromhex(m), bytes.fromhex(p)) for m, p in (line.split() for line in sys.stdin)]
    heard: dict[tuple[bytes, bytes], bytes] = {}
    done, ready = threading.Event(), threading.Event()

    def hear(frame: Ether) -> None:
        if UDP not in frame or frame[UDP].dport != 68 or BOOTP not in frame:
            return
        payload = bytes(frame[UDP].payload)
        card = payload[28:34]
        if frame.dst not in (card.hex(":"), "ff:ff:ff:ff:ff:ff") or not _intact(frame):
            return
        heard[card, payload[4:8]] = payload
        if len(heard) >= len(asked):
            done.set()

    sniffer = AsyncSniffer(iface=interface, prn=hear, store=False, started_callback=ready.set)
    sniffer.start()
    ready.wait(10)
    for mac, payload in asked:
        datagram = IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / payload
        sendp(Ether(src=mac.hex(":"), dst="ff:ff:ff:ff:ff:ff") / datagram, iface=interface, verbose=False)
    if not done.wait(20):
        sys.exit(f"heard {len(heard)} of {len(asked)} replies")
    sniffer.stop()
    for mac, payload in asked:
        print(heard[mac, payload[4:8]].hex())


def _intact(frame: Ether) -> bool:
    """Whether scapy computes the checksums that the frame carries."""
    again = IP(bytes(frame[IP]))
    sums = (again.chksum, again[UDP].chksum)
    del again.chksum, again[UDP].chksum
    fresh = IP(bytes(again))
    return sums == (fresh.chksum, fresh[UDP].chksum)


main()
