"""The join method `none`."""

from __future__ import annotations

from netboot.join import JoinRequest
from netboot.join.none import NoJoin
from netboot.model.inventory import Cluster
from netboot.model.machine import Mac


async def test_a_node_that_joins_nothing_is_told_so() -> None:
    """The method's name, and no credential; taking it back is no error."""
    method = NoJoin()
    request = JoinRequest("boot-1", "m1", Mac("52:54:00:12:34:56"), Cluster("none", "192.0.2.1:6443"))
    material = await method.material(request, 0.0)
    assert (material.method, dict(material.files)) == ("none", {"join/method": (b"none\n", 0o644)})
    assert material.credentials == ()
    await method.revoke("boot-1")
