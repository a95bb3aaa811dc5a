"""What is known of each key of the file beside its type: markers of keys without effect, and the tree of all.

A field's metadata in `schema` may hold a marker: `Later` (accepted, named in a warning) or `NotYet` (refused,
for ignoring it would weaken security or change who joins what). Both leave a value alone that says what
happens anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, get_args, get_origin

from pydantic import BaseModel

RawPath = tuple[str | int, ...]
"""Keys from the top of the file to a value; positions in lists are numbers."""


def _unset(value: object) -> bool:
    """Whether a value is empty all the way down."""
    if isinstance(value, dict):
        return all(_unset(v) for v in value.values())
    return value is None or value == []


@dataclass(frozen=True)
class Later:
    """A key without effect yet; `harmless` values say what happens anyway and are not worth a warning."""

    harmless: tuple[object, ...] = ()

    def silent(self, value: object) -> bool:
        """Whether this value asks for nothing that does not happen."""
        return _unset(value) or any(value == h and type(value) is type(h) for h in self.harmless)


@dataclass(frozen=True)
class NotYet(Later):
    """A key that is refused until it works: `what` is missing, `remedy` is there meanwhile."""

    what: str = ""
    remedy: str = ""

    @property
    def chosen(self) -> bool:
        """Whether some values of the key work and others do not yet."""
        return any(isinstance(value, str) and value != "unlimited" for value in self.harmless)


@dataclass(frozen=True)
class Key:
    """One key of the file: its generic name (`networks.lease`, `tags.*.mounts.where`), what is below it."""

    path: str
    marker: Later | None = None
    below: Mapping[str, Key] = field(default_factory=dict)
    """Keys below it, where it is a mapping or a list of mappings with known keys."""
    free: bool = False
    """Its own keys are the operator's (a map by name): `below` is what each of them holds."""


def tree(model: type[BaseModel]) -> Key:
    """The tree of all keys of a model, with the markers that stand in its fields."""
    return Key("", None, _below(model, ""))


def _below(model: type[BaseModel], prefix: str) -> Mapping[str, Key]:
    found: dict[str, Key] = {}
    for name, info in model.model_fields.items():
        path = f"{prefix}{name}"
        marker = next((m for m in info.metadata if isinstance(m, Later)), None)
        entry, free = _entry(info.annotation)
        inside = _below(entry, f"{path}.*." if free else f"{path}.") if entry else {}
        found[name] = Key(path, marker, inside, free)
    return MappingProxyType(found)


def _entry(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The model that a field holds (directly, in a list, by name), and whether by name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    free = get_origin(annotation) is dict
    for part in get_args(annotation):
        model, _ = _entry(part)
        if model:
            return model, free
    return None, False


def marked(raw: object, key: Key, path: RawPath = ()) -> Iterator[tuple[RawPath, Key]]:
    """Every marked key of a raw tree whose value says more than what happens anyway."""
    for place, entry in _entries(raw, key, path):
        for name in entry:
            if name not in key.below:
                continue
            child = key.below[name]
            if child.marker and not child.marker.silent(entry[name]):
                yield (*place, name), child
            if child.below:
                yield from marked(entry[name], child, (*place, name))


def _entries(raw: object, key: Key, path: RawPath) -> Iterator[tuple[RawPath, dict[str, object]]]:
    """The mappings that a key holds: itself, each of a list, or each by its name."""
    if isinstance(raw, dict):
        if not key.free:
            yield path, raw
            return
        items: Iterator[tuple[str | int, object]] = iter(raw.items())
    elif isinstance(raw, list):
        items = iter(enumerate(raw))
    else:
        return
    for at, item in items:
        if isinstance(item, dict):
            yield (*path, at), item
