"""`netboot pool list|show`: machines that share a cluster, a network and tags."""

from __future__ import annotations

from netboot.cli import Subparsers
from netboot.cli.client import Column, register_noun

COLUMNS: tuple[Column, ...] = (
    ("name", lambda p: p["name"]),
    ("cluster", lambda p: p["cluster"]),
    ("network", lambda p: p["network"]),
    ("image", lambda p: p["image"]),
    ("tags", lambda p: p["tags"]),
    ("catch-all", lambda p: p["catch_all"]),
    ("nodes", lambda p: p["nodes"]),
)


def register(verbs: Subparsers) -> None:
    """Add the noun `pool`."""
    register_noun(verbs, "pool", "machines that share a cluster, a network and tags", COLUMNS)
