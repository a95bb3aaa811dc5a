"""A machine that boots: what it claims with, and what it reads."""

from __future__ import annotations

import io
import tarfile

from netboot.model.boot import Boot
from tests.boot.identity import Identity
from tests.web.boot_site import MAC, World

HASH = "$6$canary$0123456789abcdefghijklmnopqrstuvwxyz"


def claim_body(node: Identity, mac: str = MAC, **changes: object) -> dict[str, object]:
    uuid = "4c4c4544-0042-3510-8054-b4c04f564232"
    return {"mac": mac, "uuid": uuid, "certificate": node.pem, "csr": "", **changes}


async def claimed(world: World, node: Identity) -> tuple[Boot, str]:
    """A machine with a lease that asked its script and claimed: its boot and session."""
    boot = await world.lease()
    await world.script()
    answer = await world.ask(f"/boot/{world.key(boot)}/claim", method="POST", body=claim_body(node))
    assert answer.status == 200, answer.text
    return boot, answer.json["session"]


def members(sealed: bytes, node: Identity) -> dict[str, str]:
    """The configuration as the agent reads it: opened by openssl, unpacked by tar."""
    with tarfile.open(fileobj=io.BytesIO(node.open(sealed))) as tar:
        return {m.name: (tar.extractfile(m) or io.BytesIO()).read().decode() for m in tar.getmembers()}
