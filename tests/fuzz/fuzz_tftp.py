"""Target `tftp`: any datagram is a packet or MalformedPacket, and no ACK leads a transfer out of its file."""

from __future__ import annotations

from netboot.errors import MalformedPacket
from netboot.tftp.transfer import Action, End, Send, SendOack, Transfer, negotiate
from netboot.tftp.wire import Request, ack_number, oack, parse
from tests.fuzz.bites import Bites

MAX_LENGTH = 600
SIZES = (0, 1, 511, 512, 1468, 100_000, 40_000_000)


def one_input(data: bytes) -> None:
    """A request as it stands, then the rest of the octets as ACKs, time-outs and repeated requests."""
    bites = Bites(data)
    size = bites.pick(SIZES)
    datagram = bites.take(bites.byte() * 2)
    assert (number := ack_number(datagram)) is None or parse(datagram).__class__.__name__ == "Ack", number
    options: dict[str, str] = {}
    try:
        packet = parse(datagram)
        if isinstance(packet, Request):
            options = dict(packet.options)
    except MalformedPacket:
        pass
    converse(bites, size, options)


def converse(bites: Bites, size: int, options: dict[str, str]) -> None:
    """Drive one transfer; what it wants sent lies in the file, and its timer never goes back."""
    agreed = negotiate(options, size=size)
    assert 8 <= agreed.blksize <= 65464 and 1 <= agreed.windowsize <= 64
    assert len(oack(agreed.answer)) < 600
    transfer, now = Transfer(size, agreed), 100.0
    action: Action | None = transfer.start(now)
    expect_sound(transfer, action, now)
    while bites.left:
        choice = bites.byte()
        now += (choice >> 2) / 50
        if choice & 3 == 0:
            now = max(now, transfer.due)
            action = transfer.expire(now)
        elif choice & 3 == 1:
            action = transfer.repeat(now)
        else:
            near = transfer.acknowledged // agreed.blksize + (choice >> 2) % (agreed.windowsize + 2)
            number = near if choice & 1 else int.from_bytes(bites.take(2), "big")
            action = transfer.ack(number & 0xFFFF, now)
        expect_sound(transfer, action, now)
        if isinstance(action, End):
            return


def expect_sound(transfer: Transfer, action: object, now: float) -> None:
    """Blocks of the file only, a whole window at most, and a time when we look again."""
    assert 0 <= transfer.acknowledged <= transfer.size
    if isinstance(action, Send):
        assert action.first >= 1 and 0 < action.blocks <= transfer.negotiated.windowsize
        assert action.first + action.blocks - 1 <= transfer.blocks
    if isinstance(action, Send | SendOack):
        assert transfer.due > now, "a timer that is over before it began"
    if isinstance(action, End) and action.error is None:
        assert transfer.acknowledged == transfer.size


def seeds() -> list[bytes]:
    """Requests of firmware, answered well and badly."""
    requests = (
        b"\0\1undionly.kpxe\0octet\0blksize\x001468\0tsize\x000\0windowsize\x004\0",
        b"\0\1x\0octet\0",
        b"\0\1ipxe.efi\0octet\0timeout\x005\0blksize\x00512\0", b"\0\5\0\0no\0", b"\0\4\0\1",
    )  # fmt: skip
    tails = (bytes([3, 7, 3, 7, 3]), bytes([0, 0, 0, 0]), bytes([2, 0, 0, 2, 0, 1, 1, 0, 3, 3]))
    padded = [r if len(r) % 2 == 0 else r + b"\0" for r in requests]
    return [bytes([size, len(r) // 2]) + r + tail for r in padded for tail in tails for size in (3, 5)]
