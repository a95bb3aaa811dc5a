"""`netboot image list|show`: the images that machines can boot."""

from __future__ import annotations

from netboot.cli import Subparsers
from netboot.cli.client import Column, register_noun, size

COLUMNS: tuple[Column, ...] = (
    ("name", lambda i: i["name"]),
    ("generation", lambda i: (i["generation"] or "-")[:12]),
    ("generations", lambda i: len(i["generations"])),
    ("created", lambda i: i["created"]),
    ("size", lambda i: None if i["size"] is None else size(i["size"])),
    ("problem", lambda i: i["problem"]),
)


def register(verbs: Subparsers) -> None:
    """Add the noun `image`."""
    register_noun(verbs, "image", "the images that machines can boot", COLUMNS)
