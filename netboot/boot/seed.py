"""The seed: a second initrd of one file that carries a boot's key to its machine.

Format newc (`cpio(5)`, the kernel's initramfs buffer format): ASCII heads of 110 bytes, everything padded
to four bytes. The kernel unpacks it before `initrd.img`, as the command line names it first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

SEED_FILE = "netboot/seed.json"

_DIRECTORY = 0o040700
_REGULAR = 0o100400


def seed_cpio(*, key: str, node: str, join: str, server: str, ca: str = "") -> bytes:
    """The seed of one boot: `/netboot/seed.json` (mode 0400) in an uncompressed newc archive."""
    facts = {"key": key, "node": node, "join": join, "server": server, "ca": ca}
    content = json.dumps(facts, separators=(",", ":"), ensure_ascii=True).encode("ascii") + b"\n"
    members = [("netboot", _DIRECTORY, b""), (SEED_FILE, _REGULAR, content), ("TRAILER!!!", 0, b"")]
    return b"".join(_members(members))


def _members(members: Iterable[tuple[str, int, bytes]]) -> Iterable[bytes]:
    for inode, (name, mode, content) in enumerate(members, start=1):
        links = 2 if mode == _DIRECTORY else 1
        fields = (inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % value for value in fields)
        yield _padded(head + name.encode("ascii") + b"\0")
        yield _padded(content)


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 4)
