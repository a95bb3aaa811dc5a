"""`netboot cluster list|show|doctor`: the Kubernetes clusters that machines join."""

from __future__ import annotations

import argparse

from netboot.cli import Subparsers
from netboot.cli.client import (
    Column,
    Json,
    add_noun,
    add_verb,
    connect,
    print_item,
    print_items,
    printable,
)

COLUMNS: tuple[Column, ...] = (
    ("name", lambda c: c["name"]),
    ("endpoint", lambda c: c["endpoint"]),
    ("image", lambda c: c["image"]),
    ("join", lambda c: c["join"]["method"]),
    ("pools", lambda c: c["pools"]),
    ("state", lambda c: c["state"]),
    ("nodes", lambda c: _counted(c)),
    ("waiting", lambda c: c["waiting"]),
    ("problem", lambda c: c["problem"]),
)


def register(verbs: Subparsers) -> None:
    """Add the noun `cluster`."""
    noun = add_noun(verbs, "cluster", "the Kubernetes clusters that machines join")
    add_verb(noun, "list", "list the clusters", _list)
    add_verb(noun, "show", "show one cluster", _show).add_argument("name", metavar="NAME")
    doctor = add_verb(noun, "doctor", "say what is missing in a cluster, or too much", _doctor)
    doctor.add_argument("name", metavar="NAME")


def _list(args: argparse.Namespace) -> int:
    return print_items(connect(args).items("clusters"), COLUMNS, args.output)


def _counted(found: Json) -> str:
    """Node objects, of how many."""
    count = "?" if found["nodes"] is None else found["nodes"]
    return f"{count} of {found['max_nodes']}" if found["max_nodes"] else str(count)


def _show(args: argparse.Namespace) -> int:
    return print_item(connect(args).get("clusters", args.name), args.output)


def _doctor(args: argparse.Namespace) -> int:
    """Exit status 1 where something has to be mended."""
    found = connect(args).get("clusters", args.name, "doctor")
    print_item(found, args.output, _examined)
    return 0 if found["healthy"] else 1


def _examined(found: Json) -> str:
    """One line per finding, its remedy below it."""
    lines = []
    for each in found["findings"]:
        lines.append(printable(f"{each['state']}: {each['what']}"))
        lines += [printable(f"    {each['remedy']}")] if each["remedy"] else []
    return "\n".join(lines)
