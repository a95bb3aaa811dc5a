"""`netboot assignment list|show`: what was assigned at run time, and how it departs from the file."""

from __future__ import annotations

import argparse

from netboot.cli import Subparsers
from netboot.cli.client import Column, add_noun, add_verb, connect, moment, print_item, print_items

COLUMNS: tuple[Column, ...] = (
    ("machine", lambda a: a["machine"]),
    ("cluster", lambda a: a["cluster"]),
    ("pool", lambda a: a["pool"]),
    ("name", lambda a: a["name"]),
    ("address", lambda a: a["address"]),
    ("tags", lambda a: a["tags"]),
    ("since", lambda a: moment(a["since"])),
    ("drift", lambda a: "; ".join(a["drift"])),
    ("broken", lambda a: a["broken"]),
)


def register(verbs: Subparsers) -> None:
    """Add the noun `assignment`."""
    noun = add_noun(verbs, "assignment", "what was assigned at run time, and how it departs from the file")
    add_verb(noun, "list", "list the assignments", _list)
    add_verb(noun, "show", "show one machine's", _show).add_argument("machine", metavar="MAC|NAME")


def _list(args: argparse.Namespace) -> int:
    return print_items(connect(args).items("assignments"), COLUMNS, args.output)


def _show(args: argparse.Namespace) -> int:
    return print_item(connect(args).get("nodes", args.machine, "assignment"), args.output)
