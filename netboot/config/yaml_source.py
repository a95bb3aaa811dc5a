"""YAML as operators mean it, every value with its file and line.

PyYAML's parser (libyaml's, where it is there) gives events; what they mean is decided here, without the
traps of YAML 1.1: a plain scalar is null (`null`, `~`, nothing), true or false, an integer in its usual
decimal form, and else exactly the text that stands there. So `52:54:00:12:34:56`, `0644`, `1.10`, `no`
and `2024-01-01` are texts, and the schema says what they mean. Integers and booleans turn back into the
text they came from without loss.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from netboot.config.problems import Place, Problem, shown

MAX_BYTES = 64 << 20
"""A larger file is refused: farms of thousands write their nodes into a `nodes_file`."""

MAX_DEPTH = 40
MAX_ALIASED = 100_000
"""How many values aliases may add to those that stand in the file (a bound for nested aliases)."""

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_CONSTANTS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STRING_TAGS = ("!", "tag:yaml.org,2002:str")


class Map(dict[str, Any]):
    """A mapping of the file; `at` has the place of each key, `place` its own."""

    __slots__ = ("at", "place")

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.at: dict[str, Place] = {}

    def put(self, key: str, value: object, place: Place) -> None:
        """Set a key together with its place."""
        self[key] = value
        self.at[key] = place


class Seq(list[Any]):
    """A list of the file; `at` has the place of each item, `place` its own."""

    __slots__ = ("at", "place")

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.at: list[Place] = []

    def put(self, value: object, place: Place) -> None:
        """Append an item together with its place."""
        self.append(value)
        self.at.append(place)


def read(raw: bytes, file: str) -> tuple[Map, list[Problem]]:
    """The mapping that a file holds, and what is wrong with it as YAML. An empty file is an empty mapping."""
    empty = Map(Place(file, 0))
    if len(raw) > MAX_BYTES:
        size = f"the file is larger than {MAX_BYTES >> 20} MiB"
        return empty, [Problem(Place(file, 0), "", size, "write farms of thousands into a nodes_file")]
    top, problems = document(raw, file)
    if top is None:
        return empty, problems
    if not isinstance(top, Map):
        wrong = Problem(
            Place(file, 1), "", "the file is not a mapping", "start it with keys such as `networks:`"
        )
        return empty, [*problems, wrong]
    return top, problems


def document(raw: bytes, file: str) -> tuple[object, list[Problem]]:
    """What a file holds, None for nothing, and what is wrong with it as YAML."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return None, [Problem(Place(file, line), "", "the text is not UTF-8", "save the file as UTF-8")]
    composer = _Composer(text, file)
    try:
        return composer.document(), composer.problems
    except yaml.YAMLError as error:
        return None, [*composer.problems, _syntax(error, text, file)]
    except _GiveUp as stop:
        return None, [*composer.problems, stop.problem]


class _GiveUp(Exception):
    """This file cannot be read any further."""

    def __init__(self, place: Place, what: str, remedy: str) -> None:
        self.problem = Problem(place, "", what, remedy)
        super().__init__(what)


def _syntax(error: yaml.YAMLError, text: str, file: str) -> Problem:
    """What the parser stumbled over. Its snippet of the text is left out: it may hold a secret."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = mark.line + 1 if mark else 0
    if position := getattr(error, "position", None):
        where = text.count("\n", 0, position) + 1
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
    context = getattr(error, "context", None)
    while_doing = f" ({context})" if context else ""
    remedy = "look at the quotes, brackets and indentation of this line and the ones before it"
    return Problem(Place(file, where), "", f"not valid YAML: {what}{while_doing}", remedy)


class _Composer:
    """Turns one file's events into `Map`, `Seq`, texts, integers, booleans and None."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._anchors: dict[str, tuple[object, int]] = {}
        self._open: set[str] = set()
        self._aliased = 0

    def document(self) -> object:
        top: object = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    what = "a second document starts here"
                    raise _GiveUp(self._place(event), what, "write one document per file, without `---`")
                top, _ = self._node(next(self._events), 0)
        return top

    def _place(self, event: Any) -> Place:
        return Place(self.file, event.start_mark.line + 1)

    def _node(self, event: Any, depth: int) -> tuple[object, int]:
        """One value and its size: itself and all that it holds."""
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None and not (isinstance(event, yaml.ScalarEvent) and event.tag in _STRING_TAGS):
            what = "YAML tags (!...) are not read"
            self._problem(event, what, "write the value without a tag, or put the text in quotes")
        if isinstance(event, yaml.ScalarEvent):
            return self._kept(event.anchor, (_scalar(event), 1))
        if depth >= MAX_DEPTH:
            raise _GiveUp(
                self._place(event), f"values are nested deeper than {MAX_DEPTH}", "write it flatter"
            )
        compose = self._mapping if isinstance(event, yaml.MappingStartEvent) else self._sequence
        return self._collection(event, depth, compose)

    def _collection(
        self, event: Any, depth: int, compose: Callable[[Any, int], tuple[object, int]]
    ) -> tuple[object, int]:
        if event.anchor is None:
            return compose(event, depth)
        self._open.add(event.anchor)
        value = compose(event, depth)
        self._open.discard(event.anchor)
        return self._kept(event.anchor, value)

    def _kept(self, anchor: str | None, value: tuple[object, int]) -> tuple[object, int]:
        if anchor is not None:
            self._anchors[anchor] = value
        return value

    def _alias(self, event: Any) -> tuple[object, int]:
        if event.anchor in self._open:
            raise _GiveUp(
                self._place(event), "this alias (*...) stands inside its own anchor", "write the value out"
            )
        if event.anchor not in self._anchors:
            raise _GiveUp(
                self._place(event),
                "this alias (*...) has no anchor",
                "write its anchor (&...) before it, or put the text in quotes",
            )
        value, size = self._anchors[event.anchor]
        self._aliased += size
        if self._aliased > MAX_ALIASED:
            raise _GiveUp(
                self._place(event), f"aliases add more than {MAX_ALIASED} values", "use tags instead"
            )
        return value, size

    def _mapping(self, event: Any, depth: int) -> tuple[object, int]:
        result = Map(self._place(event))
        total = 1
        for key_event in self._events:
            if isinstance(key_event, yaml.MappingEndEvent):
                break
            place = self._place(key_event)
            key = self._key(key_event)
            value, size = self._node(next(self._events), depth + 1)
            total += size + 1
            if key is None:
                continue
            if key in result:
                lines = f"on line {result.at[key].line} and on line {place.line}"
                what = f"the key {shown(key)} stands twice: {lines}"
                self.problems.append(Problem(place, "", what, "keep one of the two"))
                continue
            result.put(key, value, place)
        return result, total

    def _key(self, event: Any) -> str | None:
        """A key's text as it stands; None for one that is refused together with its value."""
        if not isinstance(event, yaml.ScalarEvent):
            raise _GiveUp(self._place(event), "a key is no plain text", "write `key: value`")
        if event.tag is not None and event.tag not in _STRING_TAGS:
            self._problem(event, "YAML tags (!...) are not read", "write the key without a tag")
        if event.value == "<<" and event.implicit[0]:
            self._problem(event, "merge keys (<<) are not read", "use tags, or repeat the keys")
            return None
        self._kept(event.anchor, (str(event.value), 1))
        return str(event.value)

    def _sequence(self, event: Any, depth: int) -> tuple[object, int]:
        result = Seq(self._place(event))
        total = 1
        for item_event in self._events:
            if isinstance(item_event, yaml.SequenceEndEvent):
                break
            place = self._place(item_event)
            value, size = self._node(item_event, depth + 1)
            result.put(value, place)
            total += size
        return result, total

    def _problem(self, event: Any, what: str, remedy: str) -> None:
        self.problems.append(Problem(self._place(event), "", what, remedy))


def _scalar(event: Any) -> object:
    """What a scalar means; quoted and block scalars are always text."""
    text: str = event.value
    if event.tag is not None or not event.implicit[0]:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    return int(text) if _INTEGER.fullmatch(text) else text
