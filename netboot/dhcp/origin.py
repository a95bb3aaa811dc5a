"""Where a message came from, and whether a program without rights on a running machine may have sent it.

Firmware has its machine for itself. Once a system runs there, its programs may speak as firmware does: then
the message must open no boot that is trusted with a secret.
"""

from __future__ import annotations

from collections.abc import Container
from ipaddress import IPv4Address
from typing import NamedTuple

PRIVILEGED = 1024
"""To send from a port below this needs a privilege (ip(7)); BOOTP's are 67 and 68 (RFC 2131 section 4.1)."""


class Origin(NamedTuple):
    """The source of a datagram, as the kernel has it."""

    host: str
    """The address as text, as a socket gives it."""
    port: int
    to_all: bool = False
    """It came by broadcast, so that its sender is on the link."""


def forgeable(
    origin: Origin, giaddr: IPv4Address | None, relays: Container[IPv4Address], *, leased: bool
) -> str:
    """How a program without rights may have sent a message of firmware; empty where none can have.

    A process has to take a port that is free for all. What is in a container may take any port, but has a
    network of its own: it reaches us by unicast, from its machine's address, which is `leased`. Firmware asks
    everybody (RFC 2131 section 4.4.1), and a relay agent is no machine of ours. A relay agent in `relays` is
    believed whatever port it sends from (RFC 8357).
    """
    if giaddr is not None and IPv4Address(origin.host) in relays:
        return ""
    sent = f"was sent by {origin.host}"
    if origin.port >= PRIVILEGED:
        return f"its request {sent} from UDP port {origin.port}, as any program may (firmware's port is 68)"
    if giaddr is None and not origin.to_all:
        return f"its request {sent} to our address alone, as any container may (firmware asks by broadcast)"
    if giaddr is not None and leased:
        return f"its request, relayed by {giaddr}, {sent}, a machine's address and no listed relay agent's"
    return ""
