"""Several files as one: later files win for scalars, entries of the same name and equal keys are merged,
lists of plain values append (an equal value once)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netboot.config.problems import Problem, shown
from netboot.config.yaml_source import Map, Seq

IDENTITY = ("name", "where")
"""What tells the entries of a list of mappings apart: names, and a mount's place."""


def merged(low: Map, high: Map) -> Map:
    """`high` over `low`; neither is changed."""
    result = Map(high.place)
    for layer in (low, high):
        for key, value in layer.items():
            below = result.get(key)
            result.put(key, value if layer is low else _over(below, value), layer.at[key])
    return result


def _over(low: Any, high: Any) -> Any:
    if isinstance(low, Map) and isinstance(high, Map):
        return merged(low, high)
    if isinstance(low, Seq) and isinstance(high, Seq):
        return _lists(low, high)
    return high


def _lists(low: Seq, high: Seq) -> Seq:
    result = Seq(low.place)
    positions: dict[object, int] = {}
    for layer in (low, high):
        for item, place in zip(layer, layer.at, strict=True):
            identity = _identity(item)
            at = positions.get(identity) if identity is not None else None
            if at is not None and layer is high:
                result[at] = _over(result[at], item)
                continue
            if identity is not None:
                positions[identity] = len(result)
            result.put(item, place)
    return result


def _identity(item: Any) -> object:
    """What makes two items the same one: an entry's name, a scalar's value and type."""
    if isinstance(item, Map):
        return next(
            ((key, str(item[key])) for key in IDENTITY if isinstance(item.get(key), (str, int))), None
        )
    return (type(item), item) if isinstance(item, (str, int)) else None


def doubled(top: Map) -> Iterator[Problem]:
    """Networks, clusters and pools of one file that share a name (nodes are compared across all files)."""
    for key in ("networks", "clusters", "pools"):
        yield from _doubled(top.get(key), key)


def _doubled(entries: Any, path: str) -> Iterator[Problem]:
    first: dict[object, int] = {}
    if not isinstance(entries, Seq):
        return
    for entry, place in zip(entries, entries.at, strict=True):
        name = entry.get("name") if isinstance(entry, Map) else None
        if not isinstance(name, (str, int)):
            continue
        if name in first:
            what = f"{shown(name)} is declared twice: on line {first[name]} and on line {place.line}"
            yield Problem(place, path, what, "give each entry a name of its own, or put the two together")
        first.setdefault(name, place.line)
