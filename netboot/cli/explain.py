"""`netboot explain MAC`: what a machine would be answered at each step and why, without asking anybody."""

from __future__ import annotations

import argparse

from netboot.boot.explain import ARCHITECTURES, USUAL, explain
from netboot.catalog import Catalog
from netboot.cli import Subparsers, add_config, config_paths
from netboot.config import load
from netboot.model.machine import Mac


def register(verbs: Subparsers) -> None:
    """Add the verb `explain`."""
    text = "say what a machine would be answered at each step of its boot, and why"
    parser = verbs.add_parser("explain", help=text, description=text)
    parser.add_argument("mac", type=_mac, metavar="MAC", help="the machine's MAC address, or a node's name")
    parser.add_argument(
        "--arch",
        action="append",
        choices=sorted(ARCHITECTURES),
        help=f"what its firmware is, several times if you like (default: {', '.join(USUAL)})",
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the explanation; 1 for a name that nobody declared."""
    config = load(config_paths(args))
    mac = args.mac
    if not isinstance(mac, Mac):
        node = config.inventory.by_name.get(mac)
        if node is None:
            print(f"error: {mac!r} is no MAC address, and no node of that name is declared")
            return 1
        mac = node.macs[0]
    catalog = Catalog(config.server.images_dir)
    architectures = args.arch or USUAL
    for line in explain(
        config.inventory, catalog, mac, boot_port=config.server.boot_port, architectures=architectures
    ):
        print(line)
    return 0


def _mac(text: str) -> Mac | str:
    try:
        return Mac(text)
    except ValueError:
        return text
