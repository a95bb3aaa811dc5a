"""`nodes_file`: nodes of a pool, one per line, for farms of thousands.

`*.csv`: a head line with key names, lists separated by blanks, dots for nested keys (`boot.program`,
`options.ntp-servers`, `settings.labels.rack`). `*.jsonl`: one node per line, with the operator's keys.
Plain lines (name, identities, address, tags, image) are read without the schema, ten times as fast; both ways
use the same readers of single values and say the same of a bad one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from netboot.config import node_values, schema, values
from netboot.config.keys import Key, marked
from netboot.config.problems import Bad, Place, Problem, shown
from netboot.config.reading import explain
from netboot.model.inventory import Node

MAX_BYTES = 256 << 20
MAX_COLUMNS = 200
_PLAIN = frozenset(
    {"name", "macs", "address", "tags", "image", "uuid", "client_id", "circuit_id", "remote_id"}
)
_LISTS = frozenset(
    {"macs", "tags", "boot.quirks", "settings.modules", "settings.kernel_parameters", "settings.taints"}
)
_BY_KEY = ("options.", "settings.labels.", "settings.sysctls.", "settings.kubelet_args.")
_NO_CELL = frozenset(
    f"settings.{key}" for key in ("ssh_authorized_keys", "mounts", "files", "units", "hosts")
)
_REMEDY = "write lines of an editor's plain UTF-8"


@dataclass(frozen=True, slots=True)
class Row:
    """One line: the node that it declares, and the keys that have no effect yet."""

    line: int
    node: Node
    later: tuple[str, ...] = ()


class Absent(Exception):
    """The file is not there or may not be read: the operator's file itself is not wrong."""


def rows(path: Path, pool: str, convert: Callable[[schema.Node, str], Node]) -> Iterator[Row | Problem]:
    """Every line's node, or what is wrong with it. Raises Absent."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise Absent(f"{path} cannot be read: {error.strerror}") from None
    file = str(path)
    if len(raw) > MAX_BYTES:
        yield Problem(
            Place(file, 0), "", f"it is larger than {MAX_BYTES >> 20} MiB", "split it over several pools"
        )
        return
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = Place(file, raw.count(b"\n", 0, error.start) + 1)
        yield Problem(at, "", "the text is not UTF-8", _REMEDY)
        return
    read = {".csv": _csv, ".jsonl": _jsonl}.get(path.suffix)
    if read is None:
        yield Problem(Place(file, 0), "", "it is neither *.csv nor *.jsonl", "name it by what it holds")
        return
    for line, entry in read(text, file):
        yield entry if isinstance(entry, Problem) else _row(entry, Place(file, line), pool, convert)


def _row(
    entry: Mapping[str, object], place: Place, pool: str, convert: Callable[[schema.Node, str], Node]
) -> Row | Problem:
    """A line's node: by hand where it is plain and right, else by the schema."""
    if plain := _plain(entry, pool):
        return Row(place.line, plain)
    try:
        checked = schema.Node.model_validate(entry)
    except ValidationError as error:
        each = error.errors(include_url=False, include_input=False)
        said = [one for found in each for one in explain(found, _NODE)]
        what = "; ".join(f"{'.'.join(map(str, path))}: {what}" for path, what, _ in said)
        name = entry.get("name")
        return Problem(place, shown(name)[1:-1] if isinstance(name, str) else "", what, said[0][2])
    later = tuple(key.path for _, key in marked(entry, _NODE))
    return Row(place.line, convert(checked, pool), later)


_NODE = schema.KEYS.below["pools"].below["nodes"]


def _plain(entry: Mapping[str, object], pool: str) -> Node | None:
    """A node of plain keys only; None where the schema has to look at it."""
    macs, tags, address = entry.get("macs"), entry.get("tags", ()), entry.get("address")
    name, image = entry.get("name"), entry.get("image")
    if not entry.keys() <= _PLAIN or name is None or not isinstance(tags, list | tuple):
        return None
    try:
        return Node(
            name=values.hostname(name),
            pool=pool,
            macs=values.macs(macs),
            address=None if address is None else values.ipv4(address),
            tags=tuple(map(values.name, tags)),
            image=None if image is None else values.image(image),
            uuid=None if (uuid := entry.get("uuid")) is None else values.uuid(uuid),
            client_id=_octets(entry, "client_id"),
            circuit_id=_octets(entry, "circuit_id"),
            remote_id=_octets(entry, "remote_id"),
        )
    except ValueError:
        return None


def _octets(entry: Mapping[str, object], key: str) -> bytes | None:
    value = entry.get(key)
    return None if value is None else values.octets(value)


_Entries = Iterator[tuple[int, Mapping[str, object] | Problem]]


def _jsonl(text: str, file: str) -> _Entries:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = _DECODER.decode(line)
        except Bad as bad:
            yield number, Problem(Place(file, number), "", bad.what, bad.remedy)
            continue
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "nested too deep")
            yield (
                number,
                Problem(Place(file, number), "", f"not valid JSON: {reason}", "write one node per line"),
            )
            continue
        if not isinstance(entry, dict):
            yield (
                number,
                Problem(
                    Place(file, number), "", "it is not a JSON object", 'write {"name": ..., "macs": [...]}'
                ),
            )
            continue
        yield number, entry


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Bad(f"the key {shown(twice)} stands twice", "keep one of the two")
    return found


def _no_constant(text: str) -> object:
    raise Bad(f"{text} is no value", "write a number or a text")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=str, parse_constant=_no_constant)


def _csv(text: str, file: str) -> _Entries:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        yield 1, Problem(Place(file, 1), "", f"not valid CSV: {error}", _REMEDY)
        return
    wrong = list(_head(head))
    if wrong:
        for bad in wrong:
            yield 1, Problem(Place(file, 1), "", bad.what, bad.remedy)
        return
    columns = [_column(name) for name in head]
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield (
                line,
                Problem(Place(file, line), "", f"not valid CSV: {error}", "look at the quotes of this line"),
            )
            return
        if cells is None:
            return
        if not cells or (len(cells) == 1 and not cells[0].strip()):
            continue
        if len(cells) != len(head):
            what = f"{len(cells)} cells under {len(head)} column names"
            yield (
                line,
                Problem(
                    Place(file, line), "", what, "write one cell per column, empty where there is no value"
                ),
            )
            continue
        try:
            yield line, _entry(columns, cells)
        except Bad as bad:
            yield line, Problem(Place(file, line), "", bad.what, bad.remedy)


def _head(head: Sequence[str]) -> Iterator[Bad]:
    """What is wrong with the head line."""
    if "macs" not in head:
        yield Bad("the head line has no column macs", "write the keys' names into the first line")
        return
    if len(head) > MAX_COLUMNS:
        yield Bad(
            f"the head line has more than {MAX_COLUMNS} columns", "write what many nodes share into tags"
        )
        return
    known = _columns()
    for column in head:
        if head.count(column) > 1:
            yield Bad(f"the column {shown(column)} stands twice", "keep one of the two")
        elif column in _NO_CELL or column.startswith(tuple(f"{key}." for key in _NO_CELL)):
            yield Bad(f"{column} does not fit into cells", "write it in a *.jsonl file or in a tag")
        elif column not in known and not (column.startswith(_BY_KEY) and column not in _BY_KEY):
            listed = ", ".join((*known, *(f"{prefix}NAME" for prefix in _BY_KEY)))
            remedy = values.nearest(column, known) or f"take it out; known here: {listed}"
            yield Bad(f"unknown column {shown(column)}", remedy)


def _columns() -> tuple[str, ...]:
    """Every key of a node that a column can hold as it is."""
    return tuple(_leaves(_NODE, ""))


def _leaves(key: Key, prefix: str) -> Iterator[str]:
    for name, child in key.below.items():
        column = f"{prefix}{name}"
        if child.below and not child.free and column not in _NO_CELL:
            yield from _leaves(child, f"{column}.")
        elif column not in _NO_CELL and f"{column}." not in _BY_KEY:
            yield column


_Column = tuple[tuple[str, ...], Callable[[str], object]]
"""Where a cell goes in the node's entry, and how it is read."""


def _column(name: str) -> _Column:
    if name in _LISTS:
        return tuple(name.split(".")), str.split
    for prefix in _BY_KEY:
        if name.startswith(prefix):
            read: Callable[[str], object] = _option_cell if prefix == "options." else str
            return (*prefix[:-1].split("."), name[len(prefix) :]), read
    if name == "settings.debug_shell":
        return ("settings", "debug_shell"), _flag_cell
    return tuple(name.split(".")), str


def _option_cell(cell: str) -> object:
    """A DHCP option's value: its type decides whether blanks part a list."""
    return node_values.Cell(cell)


def _flag_cell(cell: str) -> object:
    return {"true": True, "false": False}.get(cell, cell)


def _entry(columns: Sequence[_Column], cells: Sequence[str]) -> dict[str, object]:
    """A line as the schema knows a node; empty cells say nothing."""
    entry: dict[str, object] = {}
    for (path, read), cell in zip(columns, cells, strict=True):
        cell = cell.strip()
        if not cell:
            continue
        if len(path) == 1:
            entry[path[0]] = read(cell)
            continue
        here: dict[str, object] = entry
        for part in path[:-1]:
            here = here.setdefault(part, {})  # type: ignore[assignment]
        here[path[-1]] = read(cell)
    return entry
