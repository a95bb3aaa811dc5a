"""Join method `none`: the machine boots and joins nothing."""

from __future__ import annotations

from netboot.join import JoinMaterial, JoinRequest


class NoJoin:
    """Tells the node that it is finished when it is configured."""

    async def material(self, request: JoinRequest, now: float) -> JoinMaterial:
        """The method's name alone."""
        return JoinMaterial("none", {"join/method": (b"none\n", 0o644)})

    async def revoke(self, boot_id: str) -> None:
        """Nothing was given."""
