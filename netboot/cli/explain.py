"""`netboot explain MAC`: what a machine would be answered at each step and why, without asking anybody."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from netboot.boot.explain import ARCHITECTURES, USUAL, Said, explain
from netboot.boot.explain_loaders import TOLD
from netboot.boot.firmware import YOURS
from netboot.catalog import Catalog
from netboot.cli import Subparsers, add_config, config_paths, shadow
from netboot.config import load
from netboot.errors import CaptureError, NetbootError, StartError
from netboot.model.machine import Mac
from netboot.tree import files_among


def register(verbs: Subparsers) -> None:
    """Add the verb `explain`."""
    text = "say what a machine would be answered at each step of its boot, and why"
    more = "; with --pcap: what each machine of a capture would have been answered, and the difference"
    parser = verbs.add_parser("explain", help=text, description=text + more)
    parser.add_argument(
        "mac", type=_mac, nargs="?", metavar="MAC", help="the machine's MAC address, or a node's name"
    )
    parser.add_argument(
        "--arch",
        action="append",
        choices=sorted(ARCHITECTURES),
        help=f"what its firmware is, several times if you like (default: {', '.join(USUAL)})",
    )
    parser.add_argument(
        "--loader",
        action="append",
        choices=TOLD,
        help="also the script that this boot loader would get by TFTP (shown by itself where the node's "
        "boot.program names it)",
    )
    parser.add_argument("--vendor-class", default="", metavar="TEXT", help="what it says in option 60")
    parser.add_argument("--user-class", default="", metavar="TEXT", help="what it says in option 77")
    parser.add_argument(
        "--pcap",
        metavar="FILE",
        help="a capture (pcap or pcapng) of another DHCP server's exchanges; - is standard input",
    )
    shadow.add_options(parser)
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the explanation; 1 for a name that nobody declared, or a capture that cannot be read."""
    if (args.mac is None) == (args.pcap is None):
        raise StartError("explain takes a machine or a capture", "Name a MAC, a node, or --pcap FILE")
    return _capture(args) if args.pcap is not None else _machine(args)


def _capture(args: argparse.Namespace) -> int:
    from netboot import observe  # late: it imports the server

    try:
        stream = sys.stdin.buffer if args.pcap == "-" else Path(args.pcap).open("rb")  # noqa: SIM115
    except OSError as error:
        raise CaptureError(f"{args.pcap} cannot be read: {error.strerror}") from None
    with stream, shadow.Proposal(args) as proposal:
        try:
            shown = shadow.display(args.output)
            return observe.replay(config_paths(args), stream, args.pcap, shown, proposal.take)
        except CaptureError as error:
            raise CaptureError(f"{args.pcap}: {error}") from None


def _machine(args: argparse.Namespace) -> int:
    if args.propose or args.output != "text":
        raise StartError("--propose and -o belong to --pcap", "Add --pcap FILE, or leave them out")
    config = load(config_paths(args))
    mac = args.mac
    if not isinstance(mac, Mac):
        node = config.inventory.by_name.get(mac)
        if node is None:
            raise NetbootError(f"{mac!r} is no MAC address, and no node of that name is declared")
        mac = node.macs[0]
    catalog = Catalog(config.server.images_dir)
    for line in explain(
        config.inventory,
        catalog,
        mac,
        boot_port=config.server.boot_port,
        said=Said(args.arch or (), args.vendor_class, args.user_class),
        provided=files_among(config.server.files_dir, YOURS.values()),
        loaders=args.loader or (),
    ):
        print(line)
    return 0


def _mac(text: str) -> Mac | str:
    try:
        return Mac(text)
    except ValueError:
        return text
