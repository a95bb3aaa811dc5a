"""`netboot pool list|show`: machines that share a cluster, a network and tags, and the addresses for them."""

from __future__ import annotations

import argparse

from netboot.cli import Subparsers
from netboot.cli.client import (
    Column,
    Json,
    add_noun,
    add_verb,
    connect,
    facts,
    moment,
    print_item,
    print_items,
    table,
)
from netboot.cli.lease import COLUMNS as LEASE_COLUMNS

COLUMNS: tuple[Column, ...] = (
    ("name", lambda p: p["name"]),
    ("cluster", lambda p: p["cluster"]),
    ("network", lambda p: p["network"]),
    ("image", lambda p: p["image"]),
    ("tags", lambda p: p["tags"]),
    ("catch-all", lambda p: p["catch_all"]),
    ("nodes", lambda p: p["nodes"]),
    ("dynamic", lambda p: _of(p, "size")),
    ("used", lambda p: _of(p, "used")),
    ("free", lambda p: _of(p, "free")),
    ("resting", lambda p: _of(p, "resting")),
    ("exhausted since", lambda p: moment(_of(p, "exhausted_since"))),
)


def register(verbs: Subparsers) -> None:
    """Add the noun `pool`."""
    noun = add_noun(verbs, "pool", "machines that share a cluster, a network and tags")
    add_verb(noun, "list", "list the pools, and how full the ranges of their networks are", _list)
    show = add_verb(noun, "show", "show one pool, and who holds the addresses of its network's ranges", _show)
    show.add_argument("name", metavar="NAME")


def _list(args: argparse.Namespace) -> int:
    return print_items(connect(args).items("pools"), COLUMNS, args.output)


def _show(args: argparse.Namespace) -> int:
    return print_item(connect(args).get("pools", args.name), args.output, _drawn)


def _of(pool: Json, key: str) -> float | None:
    """A figure of the ranges of its network; None where that has none."""
    return pool["addresses"][key] if pool["addresses"] else None


def _drawn(pool: Json) -> str:
    """Facts, then the holders as a table."""
    shown = {key: value for key, value in pool.items() if key != "holders"}
    text = facts(shown)
    return f"{text}\n\n{table(pool['holders'], LEASE_COLUMNS)}" if pool["holders"] else text
