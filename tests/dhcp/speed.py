"""Exchanges per CPU second of the server's own code, without sockets: `python -m tests.dhcp.speed`.

Prints a figure for a person to read; nothing is gated on it (docs/performance.md has the ratios to peers).
"""

from __future__ import annotations

import asyncio
import sys
import time

from netboot.dhcp.origin import Origin
from netboot.dhcp.wire import Kind, encode
from netboot.model.inventory import Inventory
from tests.dhcp.alone import load_node
from tests.dhcp.world import SYSTEM, World, discover, inventory, message, network

AGENT = Origin("10.77.0.2", 67)
"""A relay agent."""


def stock(machines: int) -> Inventory:
    """Declared machines of a load generator, in one /16."""
    wide = network(subnet="10.77.0.0/16", first="10.77.128.1", last="10.77.255.250")
    return inventory([wide], nodes=[load_node(i) for i in range(machines)])


async def measure(machines: int, rounds: int) -> float:
    """Exchanges (DISCOVER, OFFER, REQUEST, ACK) per second."""
    world = World(stock(machines))
    world.port.frame = world.port.unicast = world.port.broadcast = lambda *_: None  # type: ignore[method-assign]
    world.store.log = []
    requests = []
    for node in world.inventory.nodes:
        mac, address = node.macs[0], node.address
        assert address is not None
        taken = {**SYSTEM, 50: address.packed, 54: b"\x0a\x4d\x00\x01"}
        requests.append((encode(discover(mac, SYSTEM)), encode(message(mac, Kind.REQUEST, taken))))
    for first, second in requests:  # lines of the log and empty caches are not what is measured
        await world.server.handle(first, AGENT, world.port)
        await world.server.handle(second, AGENT, world.port)
    began = time.process_time()
    for _ in range(rounds):
        for first, second in requests:
            await world.server.handle(first, AGENT, world.port)
            await world.server.handle(second, AGENT, world.port)
    return rounds * machines / (time.process_time() - began)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rate = asyncio.run(measure(count, max(1, 20000 // count)))
    print(f"{count} machines: {rate:.0f} exchanges per CPU second, {1e6 / rate:.1f} µs each")
