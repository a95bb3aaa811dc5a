"""Whose Node object it is (R17)."""

from __future__ import annotations

from dataclasses import replace

from netboot.cluster import NodeObject
from netboot.fleet.ownership import CORDONED_BY, cordoned_by_us, doubt, same_uuid
from netboot.model.operation import Operation, Order, Side
from netboot.model.placement import Placement

UUID, SWAPPED = "4c4c4544-0042-3510-8054-b4c04f564232", "44454C4C-4200-1035-8054-B4C04F564232"
OTHER = "00000000-1111-2222-3333-444444444444"
OPERATION = Operation(
    "o1",
    "m1",
    (),
    Order("red"),
    Side("blue", "p", "m1"),
    Side("red", "p", "m1"),
    Placement("m1", ()),
    uuid=UUID,
)
NODE = NodeObject("m1", "uid", "1", 0.0, "True", system_uuid=UUID)


def test_a_uuid_is_the_same_in_either_byte_order_and_case() -> None:
    """Nothing that names no machine is the same as anything."""
    assert same_uuid(UUID, UUID) and same_uuid(UUID, SWAPPED) and same_uuid(SWAPPED, UUID)
    for one, other in ((UUID, OTHER), (UUID, ""), ("", ""), (None, UUID), ("0" * 32, "0" * 32)):
        assert not same_uuid(one, other)


def test_a_node_object_is_in_doubt_unless_its_uuid_is_the_machines() -> None:
    """With no UUID known it always is."""
    assert doubt(OPERATION, NODE) == ""
    assert OTHER in doubt(OPERATION, replace(NODE, system_uuid=OTHER))
    assert "not known" in doubt(OPERATION, replace(NODE, system_uuid=""))
    assert "neither" in doubt(replace(OPERATION, uuid=None), NODE)


def test_a_cordon_is_ours_by_its_annotation() -> None:
    """An operator's own is left alone, and one that an operator has ended since."""
    ours = replace(NODE, unschedulable=True, annotations={CORDONED_BY: "o1"})
    assert cordoned_by_us(ours) and cordoned_by_us(ours, OPERATION)
    assert not cordoned_by_us(ours, replace(OPERATION, id="o2"))
    assert not cordoned_by_us(replace(NODE, unschedulable=True))
    assert not cordoned_by_us(replace(ours, unschedulable=False))
