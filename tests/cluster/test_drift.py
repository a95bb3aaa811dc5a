"""What differs between a Node object and the file, what is put right, and what is left alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.cluster import NodeObject
from netboot.cluster.drift import (
    ANNOTATION,
    Correction,
    Declared,
    Ours,
    correction,
    differences,
    is_machine,
    record,
    recorded,
)
from netboot.model.settings import Taint

SECRET = b"secret"
FOO, BAR = Taint("foo", "1", "NoSchedule"), Taint("bar", "", "NoExecute")
NODE = NodeObject("m1", "uid-1", "7", created=0.0, ready="True", labels={"theirs": "x"}, taints=(BAR,))
WANTED = Declared({"rack": "1"}, (FOO,), corrects_labels=True, corrects_taints=True)


def after(node: NodeObject, made: Correction | None) -> NodeObject:
    """The Node object as the patch leaves it."""
    if made is None:
        return node
    labels = {k: v for k, v in {**node.labels, **made.labels}.items() if v is not None}
    taints = node.taints if made.taints is None else made.taints
    return replace(node, labels=labels, taints=taints, annotations={ANNOTATION: made.annotation})


def test_what_is_declared_is_set_and_what_others_set_stays() -> None:
    """Labels and taints beside each other, the order of the others' taints as it was."""
    made = correction(NODE, WANTED, SECRET)
    assert made is not None
    assert (made.labels, made.taints) == ({"rack": "1"}, (BAR, FOO))
    assert made.differences == (
        "label rack is missing, declared as '1'",
        "taint foo=1:NoSchedule is missing",
    )
    right = after(NODE, made)
    assert right.labels == {"theirs": "x", "rack": "1"}
    assert correction(right, WANTED, SECRET) is None and differences(right, WANTED, SECRET) == ()


def test_another_value_is_put_right_in_its_place() -> None:
    """A label's, and a taint's of the same key and effect; the same key with another effect is another."""
    other = Taint("foo", "9", "NoSchedule")
    apart = Taint("foo", "9", "NoExecute")
    node = replace(NODE, labels={"rack": "2"}, taints=(other, apart))
    made = correction(node, WANTED, SECRET)
    assert made is not None
    assert (made.labels, made.taints) == ({"rack": "1"}, (FOO, apart))
    assert made.differences == (
        "label rack is '2', declared as '1'",
        "taint foo=9:NoSchedule is declared as foo=1:NoSchedule",
    )


def test_what_was_ours_goes_when_it_is_declared_no_more() -> None:
    """And only that; afterwards nothing is remembered of it."""
    right = after(NODE, correction(NODE, WANTED, SECRET))
    none = replace(WANTED, labels={}, taints=())
    made = correction(right, none, SECRET)
    assert made is not None
    assert (made.labels, made.taints) == ({"rack": None}, (BAR,))
    assert made.differences == (
        "label rack is declared no more",
        "taint foo=1:NoSchedule is declared no more",
    )
    gone = after(right, made)
    assert gone.labels == {"theirs": "x"} and recorded(gone, SECRET) == Ours()


def test_a_label_that_somebody_else_set_since_is_theirs() -> None:
    """It was ours once, but says something else now: it stays."""
    right = after(NODE, correction(NODE, WANTED, SECRET))
    changed = replace(right, labels={"rack": "7"}, taints=(Taint("foo", "7", "NoSchedule"),))
    made = correction(changed, replace(WANTED, labels={}, taints=()), SECRET)
    assert made is not None and not made.labels and made.taints is None and made.differences == ()


def test_what_is_right_already_is_only_remembered() -> None:
    """The kubelet's flags set it at the first registration: ours, and taken away again one day."""
    node = replace(NODE, labels={"rack": "1"}, taints=(FOO,))
    made = correction(node, WANTED, SECRET)
    assert made is not None and not made.labels and made.taints is None and made.differences == ()
    assert recorded(after(node, made), SECRET) == Ours({"rack": "1"}, (FOO,))


@pytest.mark.parametrize("which", ["labels", "taints"])
def test_each_switch_stands_for_itself(which: str) -> None:
    """Off: nothing of its kind is touched, but what differs is told all the same."""
    off = replace(WANTED, **{f"corrects_{which}": False})  # type: ignore[arg-type]
    made = correction(NODE, off, SECRET)
    assert made is not None
    assert (not made.labels) is (which == "labels") and (made.taints is None) is (which == "taints")
    assert len(made.differences) == 1 and len(differences(NODE, off, SECRET)) == 2
    ours = recorded(after(NODE, made), SECRET)
    assert (not ours.labels) is (which == "labels") and (not ours.taints) is (which == "taints")


def test_with_both_switches_off_nothing_is_touched() -> None:
    """Not even the annotation."""
    off = replace(WANTED, corrects_labels=False, corrects_taints=False)
    assert correction(NODE, off, SECRET) is None


def test_where_nothing_is_declared_nothing_is_written() -> None:
    """A Node object of which we want nothing gets no annotation."""
    assert correction(NODE, Declared({}, (), True, True), SECRET) is None


@pytest.mark.parametrize(
    "forged",
    [
        json.dumps({"labels": {"theirs": "x"}, "taints": [["bar", "", "NoExecute"]], "signature": "0" * 64}),
        record(replace(NODE, uid="uid-2"), Ours({"theirs": "x"}, (BAR,)), SECRET),
        record(NODE, Ours({"theirs": "x"}, (BAR,)), b"another"),
        "[" * 100_000,
        '{"labels":1,"taints":2,"signature":3}',
        '{"labels":{"theirs":"x"},"taints":[["bar"]],"signature":null}',
        "null",
    ],
)
def test_a_node_cannot_have_us_remove_what_others_set(forged: str) -> None:
    """An annotation that we did not sign for this very Node object counts for nothing."""
    node = replace(NODE, annotations={ANNOTATION: forged})
    made = correction(node, WANTED, SECRET)
    assert made is not None
    assert (made.labels, made.taints) == ({"rack": "1"}, (BAR, FOO))


def test_a_machine_is_known_by_its_uuid_in_either_byte_order() -> None:
    """Another UUID is another machine; none is nobody's, where one is known."""
    uuid = "4c4c4544-0042-3510-8054-b4c04f564232"
    node = replace(NODE, system_uuid=uuid)
    assert is_machine(node, (uuid.upper(),)) and is_machine(node, ("44454c4c-4200-1035-8054-b4c04f564232",))
    assert not is_machine(node, ("00000000-0042-3510-8054-b4c04f564232",))
    assert is_machine(node, ()) and is_machine(node, ("",)) and not is_machine(NODE, (uuid,))


TAINTS = st.lists(
    st.builds(Taint, st.sampled_from("abc"), st.sampled_from(["", "1", "2"]), st.sampled_from(["E", "S"])),
    max_size=4, unique_by=lambda taint: (taint.key, taint.effect),
).map(tuple)  # fmt: skip
LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)


@given(LABELS, TAINTS, LABELS, TAINTS, LABELS, TAINTS)
def test_one_correction_is_enough_and_touches_nothing_else(
    labels: dict[str, str],
    taints: tuple[Taint, ...],
    was: dict[str, str],
    was_taints: tuple[Taint, ...],
    shall: dict[str, str],
    shall_taints: tuple[Taint, ...],
) -> None:
    """Whatever was there, was ours and is declared: it converges at once, and others' are as before."""
    node = replace(NODE, labels=labels, taints=taints)
    node = replace(node, annotations={ANNOTATION: record(node, Ours(was, was_taints), SECRET)})
    declared = Declared(shall, shall_taints, corrects_labels=True, corrects_taints=True)
    right = after(node, correction(node, declared, SECRET))
    assert correction(right, declared, SECRET) is None and differences(right, declared, SECRET) == ()
    assert shall.items() <= right.labels.items() and set(shall_taints) <= set(right.taints)
    for key, value in labels.items():
        if key not in shall and was.get(key) != value:
            assert right.labels[key] == value
    for taint in taints:
        if (taint.key, taint.effect) not in {(t.key, t.effect) for t in shall_taints} | {
            (t.key, t.effect) for t in was_taints
        }:
            assert taint in right.taints
