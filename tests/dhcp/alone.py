"""The DHCP server alone, without the rest of the appliance: for trials, interop tests and the bench.

    python -m tests.dhcp.alone --interface vS --clients 1000

`--clients N` declares the machines that a load generator invents: MAC 00:0c:01:02:03:04 + i has the
i-th address from 10.77.8.1 on, 250 in each /24. `--node NAME=ADDRESS=MAC,MAC` declares one more.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from netboot.dhcp.server import DhcpServer
from netboot.events import Boots, Journal, boot_id, configure_logging
from netboot.model.inventory import AddressRange, Cluster, Inventory, Network, Node, Pool
from netboot.model.machine import Mac
from netboot.net import open_endpoint
from netboot.store import LeaseStore
from tests.dhcp.world import BootMemory, Leases


def load_node(i: int) -> Node:
    """The i-th machine of a load generator."""
    mac = Mac((0x000C01020304 + i).to_bytes(6, "big").hex(":"))
    return Node(f"load-{i}", "lab", (mac,), IPv4Address(f"10.77.{8 + i // 250}.{1 + i % 250}"))


def declared(text: str) -> Node:
    """NAME=ADDRESS=MAC,MAC as a node."""
    name, address, macs = text.split("=")
    return Node(name, "lab", tuple(map(Mac, macs.split(","))), IPv4Address(address) if address else None)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--interface", required=True)
    parser.add_argument("--subnet", default="10.77.0.0/16", type=IPv4Network)
    parser.add_argument("--range", default="10.77.128.1-10.77.255.250")
    parser.add_argument("--lease", default=43200.0, type=float)
    parser.add_argument("--boot-lease", default=300.0, type=float)
    parser.add_argument("--clients", default=0, type=int)
    parser.add_argument("--node", action="append", default=[], type=declared)
    parser.add_argument("--sqlite", type=Path, help="keep leases on disk, with the store of the appliance")
    parser.add_argument("--ready", type=Path, help="written once the server listens")
    return parser.parse_args()


def stock(args: argparse.Namespace) -> Inventory:
    """What the command line declares."""
    first, last = map(IPv4Address, args.range.split("-"))
    network = Network(
        "lab",
        args.subnet,
        args.interface,
        None,
        ranges=(AddressRange(first, last),),
        lease=args.lease,
        boot_lease=args.boot_lease,
        gateway=args.subnet[1],
        dns=(args.subnet[1],),
        domain="lab.test",
    )
    pools = {"lab": Pool("lab", "blue", "lab"), "all": Pool("all", "blue", "lab", catch_all=True)}
    nodes = (*args.node, *map(load_node, range(args.clients)))
    return Inventory({"lab": network}, {"blue": Cluster("blue", "10.77.0.1:6443")}, pools, nodes)


async def leases(args: argparse.Namespace) -> LeaseStore:
    """A store in memory, or the appliance's own on disk."""
    if args.sqlite is None:
        return Leases()
    from netboot.store.sqlite import SqliteStore

    return await SqliteStore.open(args.sqlite)


async def main() -> None:
    """Serve until killed."""
    args = options()
    configure_logging()
    inventory = stock(args)
    journal = Journal(time.time)
    boots = Boots(BootMemory(), journal, time.time, lambda: boot_id(time.time(), os.urandom(4)))  # type: ignore[arg-type]
    server = DhcpServer(
        inventory=lambda: inventory,
        leases=await leases(args),
        boots=boots,
        journal=journal,
        clock=time.time,
        boot_port=80,
    )
    endpoint = open_endpoint(args.interface)
    if args.ready:
        args.ready.write_text("ready\n")
    await server.run([endpoint])


if __name__ == "__main__":
    asyncio.run(main())
