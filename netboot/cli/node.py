"""`netboot node list|show`: machines, what they belong to and why."""

from __future__ import annotations

from netboot.cli import Subparsers
from netboot.cli.client import Column, Json, register_noun

COLUMNS: tuple[Column, ...] = (
    ("name", lambda n: n["name"]),
    ("macs", lambda n: n["macs"]),
    ("address", lambda n: n["address"]),
    ("cluster", lambda n: n["cluster"]),
    ("pool", lambda n: n["pool"]),
    ("image", lambda n: n["image"]),
    ("declared", lambda n: n["declared"]),
    ("last boot", lambda n: _boot(n["boot"])),
)


def register(verbs: Subparsers) -> None:
    """Add the noun `node`."""
    register_noun(verbs, "node", "machines, what they belong to and why", COLUMNS)


def _boot(boot: Json | None) -> str | None:
    if boot is None:
        return None
    at = boot["stopped_at"] or (boot["steps"][-1]["step"] if boot["steps"] else "-")
    return str(boot["state"]) if boot["state"] == "joined" else f"{boot['state']} at {at}"
