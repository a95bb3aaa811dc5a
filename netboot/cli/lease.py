"""`netboot lease list|show|release`: which machine holds which address until when, and which rest."""

from __future__ import annotations

import argparse

from netboot.cli import Subparsers
from netboot.cli.client import Column, Json, add_noun, add_verb, connect, moment, print_item, print_items

COLUMNS: tuple[Column, ...] = (
    ("address", lambda x: x["address"]),
    ("name", lambda x: x["name"]),
    ("mac", lambda x: x["mac"]),
    ("network", lambda x: x["network"]),
    ("state", lambda x: x["state"]),
    ("expires", lambda x: _expires(x)),
    ("last seen", lambda x: moment(x["last_seen"])),
    ("note", lambda x: _why_resting(x["rest"])),
)


def register(verbs: Subparsers) -> None:
    """Add the noun `lease`; one is shown or released by its address, a MAC or a name."""
    noun = add_noun(verbs, "lease", "which machine holds which address until when, and which addresses rest")
    add_verb(noun, "list", "list leases and resting addresses", _list).add_argument(
        "--network", metavar="NAME", help="of this network alone"
    )
    add_verb(noun, "show", "show one lease", _show).add_argument("which", metavar="ADDRESS|MAC|NAME")
    release = add_verb(
        noun, "release", "forget a lease, so that another machine may get its address", _release
    )
    release.add_argument("which", metavar="ADDRESS|MAC|NAME")
    release.add_argument(
        "--force",
        action="store_true",
        help="also where its machine shows a sign of life, and may go on using the address",
    )


def _list(args: argparse.Namespace) -> int:
    found = connect(args).items("leases", network=args.network, limit=100_000)
    return print_items(found, COLUMNS, args.output)


def _show(args: argparse.Namespace) -> int:
    return print_item(connect(args).get("leases", args.which), args.output)


def _release(args: argparse.Namespace) -> int:
    gone = connect(args).delete("leases", args.which, force="true" if args.force else None)
    return print_item(gone, args.output, lambda x: f"{x['address']} of {x['name']} ({x['mac']}) is released")


def _expires(lease: Json) -> str:
    if lease["expires"] is None:
        return "never" if lease["mac"] else "-"
    return moment(lease["expires"])


def _why_resting(rest: Json | None) -> str | None:
    """Why nobody is given an address now."""
    if rest is None:
        return None
    who = f"by {rest['mac']}" if rest["mac"] else "behind a router"
    what = f"declined {who}" if rest["cause"] == "declined" else f"used {who} without a lease"
    return f"{what}: rests until {moment(rest['until'])}"
