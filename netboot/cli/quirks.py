"""`netboot quirks`: what the appliance does differently for some firmware, as it is built in."""

from __future__ import annotations

import argparse

from netboot.boot.quirks import QUIRKS, Quirk
from netboot.boot.rules import RULES, Rule
from netboot.cli import Subparsers
from netboot.cli.client import Column, Json, print_items

COLUMNS: tuple[Column, ...] = (
    ("id", lambda row: row["id"]),
    ("match", lambda row: row["match"]),
    ("effect", lambda row: row["effect"]),
    ("source", lambda row: row["source"]),
)


def register(verbs: Subparsers) -> None:
    """Add the verb `quirks`."""
    text = "list what some firmware is answered differently, and who found that it needs it"
    parser = verbs.add_parser("quirks", help=text, description=text)
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print quirks, which a node can name, then the rules that hold for everybody."""
    return print_items([*map(_quirk, QUIRKS), *map(_rule, RULES)], COLUMNS, args.output)


def _quirk(row: Quirk) -> Json:
    return {
        "id": row.id,
        "match": row.match_text,
        "effect": str(row.effect),
        "source": row.source,
        "why": row.why,
        "kind": "quirk",
        "automatic": row.automatic,
    }


def _rule(row: Rule) -> Json:
    return {
        "id": row.id,
        "match": row.match,
        "effect": row.effect,
        "source": row.source,
        "why": "",
        "kind": "rule",
        "automatic": True,
    }
