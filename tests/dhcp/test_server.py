"""The server: its sockets, and what goes wrong with one datagram."""

from __future__ import annotations

import asyncio
import socket

import pytest

from netboot.dhcp.wire import Op, encode
from netboot.model.boot import Boot
from netboot.model.machine import Mac
from tests.dhcp.world import (
    NODE_ADDRESS,
    NODE_MACS,
    OTHER_STRANGER,
    PXE_X64,
    STRANGER,
    Feed,
    World,
    discover,
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 300,
        encode(discover(STRANGER))[:100],
        encode(discover(STRANGER, {82: b"\x01\x01x"})),
        encode(discover(STRANGER, giaddr="10.77.0.1")),
        encode(discover(STRANGER)._replace(op=Op.REPLY)),
        encode(discover(STRANGER)._replace(chaddr=b"\xff" * 6)),
        encode(discover(STRANGER)._replace(htype=6)),
        b"\x01\x01\x06\0" + b"\xff" * 5000,
    ],
)
async def test_a_malformed_datagram_is_counted_and_logged_once(data: bytes) -> None:
    """No answer, no harm; the next machine is served."""
    world = World()
    for _ in range(10):
        assert await world.say(data, source="10.77.0.66") is None
    assert world.journal.counters["dhcp_malformed"] == 10
    assert len(world.reported("dhcp_malformed")) == 1
    assert (await world.get_address(NODE_MACS[0])).yiaddr == int(NODE_ADDRESS)


async def test_each_card_that_sends_bad_octets_is_named() -> None:
    """Machines without an address all come from 0.0.0.0: there the card tells one from another."""
    world = World()
    for mac in (STRANGER, OTHER_STRANGER, STRANGER):
        await world.say(encode(discover(mac))[:243] + b"\x0c\xff")
    assert len(world.reported("dhcp_malformed")) == 2


async def test_an_error_of_ours_costs_one_datagram() -> None:
    """Whatever goes wrong with one packet is reported, and the server goes on."""
    world = World()

    def fail(boot: Boot) -> None:
        raise RuntimeError("observer broke")

    world.server.on_boot.append(fail)
    assert await world.say(discover(STRANGER, PXE_X64)) is None
    assert "observer broke" in world.reported("dhcp_internal_error")[0]
    assert await world.say(discover(STRANGER)) is not None


async def test_a_running_server_drains_its_sockets_and_lets_go_of_them() -> None:
    """`run` reads what arrives on each endpoint, answers many in one go, and ends when it is cancelled."""
    world = World()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with ours, theirs:
        running = asyncio.ensure_future(world.server.run([Wire(world, ours)]))  # type: ignore[list-item]
        await asyncio.sleep(0)
        for i in range(100):
            theirs.send(encode(discover(Mac(f"02:00:00:00:00:{i:02x}"))))
        async with asyncio.timeout(10):
            while len(world.port.sent) < 100:  # noqa: ASYNC110
                await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
        assert not asyncio.get_running_loop().remove_reader(ours.fileno())


class Wire(Feed):
    """The world's port on a real socket."""

    def __init__(self, world: World, own: socket.socket) -> None:
        super().__init__(world, [])
        self._socket = own

    def fileno(self) -> int:
        """The socket's."""
        return self._socket.fileno()

    def receive(self, most: int) -> list[tuple[bytes, str, int, bool]]:
        """What arrived."""
        found = []
        while len(found) < most:
            try:
                found.append((self._socket.recv(4096), "0.0.0.0", 68, False))
            except BlockingIOError:
                break
        return found
