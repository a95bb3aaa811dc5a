"""Values that the tests of the stores share."""

from __future__ import annotations

from ipaddress import IPv4Address

from netboot.model.binding import Binding
from netboot.model.boot import Boot, Claim, Step, TokenRecord
from netboot.model.lease import Lease
from netboot.model.machine import Mac

NOW = 1_700_000_000.0


def lease(number: int, address: int | None = None, *, network: str = "compute", seen: float = NOW) -> Lease:
    """The lease of node `number`, on the address of that number where no other is asked for."""
    at = IPv4Address(0x0A000000 + (number if address is None else address))
    mac = Mac.from_bytes(number.to_bytes(6, "big"))
    return Lease(f"n{number}", mac, at, network, f"n{number}", seen + 60, seen, f"boot{number}")


def claim(boot_id: str = "b1", request: str = "aa") -> Claim:
    """A claim of a boot."""
    return Claim(boot_id, IPv4Address("10.0.0.1"), request, "CERTIFICATE", "bb", NOW, csr="REQUEST")


def boot(number: int, started: float = NOW) -> Boot:
    """A boot with everything set that a boot can have."""
    return Boot(
        id=f"b{number}",
        mac=Mac("52:54:00:00:00:01"),
        node=f"n{number}",
        cluster="blue",
        image="debian-12",
        generation="ab" * 32,
        state="stopped",
        started=started,
        ended=started + 9,
        steps=(Step("discover", started), Step("squashfs", started + 1, 5, 10, "half")),
        stopped_at="squashfs",
        cause="the link went down",
        claimed=True,
        address=IPv4Address("10.0.0.1"),
        system_uuid="4c4c4544-0042-3510-8054-b4c04f564232",
        quirks=("uefi-pxe (class PXEClient, architecture 7)",),
    )


def token(number: int, boot_id: str = "b1") -> TokenRecord:
    """A token's record."""
    return TokenRecord(f"abcde{number}", boot_id, "blue", "cc" * 32, NOW + 900)


def binding(number: int, expires: float = NOW + 900) -> Binding:
    """What a token was made for."""
    mac, at = Mac.from_bytes(number.to_bytes(6, "big")), IPv4Address(0x0A000000 + number)
    return Binding("blue", f"abcde{number}", f"b{number}", f"n{number}", mac, expires, at, "uuid")
