"""How a Node object differs from what the operator's file declares, and what would put it right. Pure.

Only what is declared is ever changed, and what we ourselves set and is declared no more. What was ours stands
in an annotation of the Node object, written by the same patch: it lives and dies with the object, needs no
table, and no crash can come between. A kubelet may write annotations of its own Node object, though not every
label and no taint; so the annotation is signed, or a node could have us remove its quarantine.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from netboot.cluster import NodeObject
from netboot.model.machine import other_order, uuid_of
from netboot.model.settings import Taint

ANNOTATION = "netboot/declared"
"""Labels and taints that we set, as JSON with a signature."""

MOST = 64 << 10
"""Octets of an annotation that are read."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a machine's Node object shall have, and what we may do about it."""

    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    corrects_labels: bool = False
    corrects_taints: bool = False
    uuids: tuple[str, ...] = ()
    """The machine's systemUUID as we know it; empty: any machine under the name is taken for it."""


@dataclass(frozen=True, slots=True)
class Ours:
    """What we set once, as it stands in the annotation."""

    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()


@dataclass(frozen=True, slots=True)
class Correction:
    """One patch."""

    labels: Mapping[str, str | None]
    taints: tuple[Taint, ...] | None
    """All that the Node object has then; None changes nothing."""
    annotation: str
    differences: tuple[str, ...]
    """What it puts right, in words; empty where it only remembers what is ours."""


def is_machine(node: NodeObject, uuids: Sequence[str]) -> bool:
    """Whether a Node object is that of the machine with one of these UUIDs, in either byte order.

    A Node object that tells no UUID yet is nobody's where one is known.
    """
    plain = [found for uuid in uuids if (found := uuid_of(uuid))]
    known = {order for uuid in plain for order in (uuid, other_order(uuid))}
    return not known or node.system_uuid in known


def differences(node: NodeObject, declared: Declared, secret: bytes) -> tuple[str, ...]:
    """In what the Node object differs, whether or not we may correct it; empty: in nothing."""
    ours = recorded(node, secret)
    return (*_label_words(node, declared, ours), *_taint_words(node, declared, ours))


def correction(node: NodeObject, declared: Declared, secret: bytes) -> Correction | None:
    """What puts right what we may correct; None where there is nothing to do."""
    ours = recorded(node, secret)
    labels: Mapping[str, str | None] = {}
    taints: tuple[Taint, ...] | None = None
    words: list[str] = []
    if declared.corrects_labels:
        labels = _label_changes(node, declared, ours)
        words += _label_words(node, declared, ours)
    if declared.corrects_taints:
        wanted = _taints_then(node, declared, ours)
        taints = wanted if wanted != node.taints else None
        words += _taint_words(node, declared, ours)
    fresh = Ours(
        declared.labels if declared.corrects_labels else ours.labels,
        declared.taints if declared.corrects_taints else ours.taints,
    )
    if not labels and taints is None and _same(fresh, ours):
        return None
    return Correction(labels, taints, record(node, fresh, secret), tuple(words))


def recorded(node: NodeObject, secret: bytes) -> Ours:
    """What the annotation says that we set; nothing where it is not there, or not ours."""
    text = node.annotations.get(ANNOTATION, "")
    try:
        said = json.loads(text) if 0 < len(text) <= MOST else {}
        body = {"labels": said["labels"], "taints": said["taints"]}
        if not hmac.compare_digest(str(said["signature"]), _signature(node, body, secret)):
            return Ours()
        return Ours(dict(body["labels"]), tuple(Taint(*map(str, fields)) for fields in body["taints"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return Ours()


def record(node: NodeObject, ours: Ours, secret: bytes) -> str:
    """The annotation that says so, for this very Node object."""
    body = {
        "labels": dict(sorted(ours.labels.items())),
        "taints": [[taint.key, taint.value, taint.effect] for taint in ours.taints],
    }
    return json.dumps({**body, "signature": _signature(node, body, secret)}, separators=(",", ":"))


def _signature(node: NodeObject, body: Mapping[str, object], secret: bytes) -> str:
    text = json.dumps([node.uid, node.name, body], sort_keys=True)
    return hmac.new(secret, text.encode(errors="replace"), sha256).hexdigest()


def _same(one: Ours, other: Ours) -> bool:
    return dict(one.labels) == dict(other.labels) and one.taints == other.taints


def _label_changes(node: NodeObject, declared: Declared, ours: Ours) -> dict[str, str | None]:
    wrong: dict[str, str | None] = {
        key: value for key, value in declared.labels.items() if node.labels.get(key) != value
    }
    return wrong | dict.fromkeys(_stale_labels(node, declared, ours))


def _stale_labels(node: NodeObject, declared: Declared, ours: Ours) -> list[str]:
    """Those that we set and that still say what we set: another value is somebody else's by now."""
    return [k for k, v in ours.labels.items() if k not in declared.labels and node.labels.get(k) == v]


def _stale_taints(node: NodeObject, declared: Declared, ours: Ours) -> list[Taint]:
    wanted = {(taint.key, taint.effect) for taint in declared.taints}
    return [t for t in ours.taints if (t.key, t.effect) not in wanted and t in node.taints]


def _taints_then(node: NodeObject, declared: Declared, ours: Ours) -> tuple[Taint, ...]:
    """The taints as they should be, in their order: others' stay as they are."""
    wanted = {(taint.key, taint.effect): taint for taint in declared.taints}
    stale = _stale_taints(node, declared, ours)
    kept = [wanted.get((t.key, t.effect), t) for t in node.taints if t not in stale]
    return tuple(dict.fromkeys([*kept, *declared.taints]))


def _label_words(node: NodeObject, declared: Declared, ours: Ours) -> Iterator[str]:
    for key, value in sorted(declared.labels.items()):
        if key not in node.labels:
            yield f"label {key} is missing, declared as {value!r}"
        elif node.labels[key] != value:
            yield f"label {key} is {node.labels[key]!r}, declared as {value!r}"
    for key in sorted(_stale_labels(node, declared, ours)):
        yield f"label {key} is declared no more"


def _taint_words(node: NodeObject, declared: Declared, ours: Ours) -> Iterator[str]:
    there = {(taint.key, taint.effect): taint for taint in node.taints}
    for taint in declared.taints:
        found = there.get((taint.key, taint.effect))
        if found is None:
            yield f"taint {taint} is missing"
        elif found != taint:
            yield f"taint {found} is declared as {taint}"
    for taint in _stale_taints(node, declared, ours):
        yield f"taint {taint} is declared no more"
