"""Whether a Node object is the one of a machine (R17). Pure."""

from __future__ import annotations

from netboot.cluster import NodeObject
from netboot.model.machine import other_order, uuid_of
from netboot.model.operation import Operation

CORDONED_BY = "netboot/cordoned-by"
"""The annotation of a Node object that we cordoned; its value is the operation's id."""


def same_uuid(one: str | None, other: str | None) -> bool:
    """Whether two UUIDs name one machine, in whichever byte order their firmware says them."""
    first, second = uuid_of(one or ""), uuid_of(other or "")
    return first is not None and second is not None and second in (first, other_order(first))


def doubt(operation: Operation, node: NodeObject) -> str:
    """Why this Node object may not be the machine's; empty where it is."""
    if operation.uuid is None:
        return "neither a declared UUID nor one of an earlier boot tells whose it is"
    if same_uuid(operation.uuid, node.system_uuid):
        return ""
    return (
        f"its systemUUID is {node.system_uuid or 'not known'}, and not {operation.uuid} ({operation.uuid_is})"
    )


def cordoned_by_us(node: NodeObject, operation: Operation | None = None) -> bool:
    """Whether we cordoned it: in this operation, or in any."""
    by = node.annotations.get(CORDONED_BY)
    return node.unschedulable and by is not None and (operation is None or by == operation.id)
