"""`netboot audit list`: who changed what by the API, and whose tries were refused."""

from __future__ import annotations

import argparse

from netboot.cli import Subparsers
from netboot.cli.client import Column, Json, add_noun, add_verb, connect, moment, print_items

COLUMNS: tuple[Column, ...] = (
    ("at", lambda e: moment(e["at"])),
    ("who", lambda e: f"{e['name']} ({e['role']})" if e["name"] else None),
    ("from", lambda e: e["source"]),
    ("what", lambda e: f"{e['method']} {e['path']}"),
    ("asked", lambda e: " ".join(f"{key}={value}" for key, value in e["request"].items())),
    ("ended", lambda e: _end(e)),
)


def register(verbs: Subparsers) -> None:
    """Add the noun `audit`."""
    noun = add_noun(verbs, "audit", "who changed what by the API, and whose tries were refused")
    listing = add_verb(noun, "list", "list changes and refused tries, newest first", _list)
    listing.add_argument(
        "--limit", type=int, default=100, metavar="N", help="how many at most (default: 100)"
    )


def _list(args: argparse.Namespace) -> int:
    return print_items(connect(args).items("audit", limit=args.limit), COLUMNS, args.output)


def _end(entry: Json) -> str:
    """How it ended: the HTTP status, why it was refused, the operation that it started."""
    if entry["status"] is None:
        return "unknown: no answer left"
    words = f"{entry['status']} refused: {entry['why']}" if entry["refused"] else str(entry["status"])
    return f"{words}, operation {entry['operation']}" if entry["operation"] else words
