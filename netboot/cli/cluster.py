"""`netboot cluster list|show`: the Kubernetes clusters that machines join."""

from __future__ import annotations

from netboot.cli import Subparsers
from netboot.cli.client import Column, register_noun

COLUMNS: tuple[Column, ...] = (
    ("name", lambda c: c["name"]),
    ("endpoint", lambda c: c["endpoint"]),
    ("image", lambda c: c["image"]),
    ("join", lambda c: c["join"]["method"]),
    ("pools", lambda c: c["pools"]),
    ("problem", lambda c: c["problem"]),
)


def register(verbs: Subparsers) -> None:
    """Add the noun `cluster`."""
    register_noun(verbs, "cluster", "the Kubernetes clusters that machines join", COLUMNS)
