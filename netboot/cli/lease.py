"""`netboot lease list|show`: which machine holds which address until when."""

from __future__ import annotations

from netboot.cli import Subparsers
from netboot.cli.client import Column, moment, register_noun

COLUMNS: tuple[Column, ...] = (
    ("address", lambda x: x["address"]),
    ("name", lambda x: x["name"]),
    ("mac", lambda x: x["mac"]),
    ("network", lambda x: x["network"]),
    ("live", lambda x: x["live"]),
    ("expires", lambda x: "never" if x["expires"] is None else moment(x["expires"])),
    ("last seen", lambda x: moment(x["last_seen"])),
)


def register(verbs: Subparsers) -> None:
    """Add the noun `lease`; one is shown by its address, a MAC or a name."""
    register_noun(verbs, "lease", "which machine holds which address until when", COLUMNS)
