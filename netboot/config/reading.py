"""From paths to the schema's values: files found, read, merged, validated; problems with their places."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from netboot.config import schema
from netboot.config.keys import Key, RawPath
from netboot.config.merge import doubled, merged
from netboot.config.problems import Bad, Many, Place, Problem, shown
from netboot.config.values import nearest
from netboot.config.yaml_source import MAX_BYTES, Map, Seq, read


@dataclass(frozen=True)
class Source:
    """The merged tree of all files, and what it takes to say where something stands."""

    tree: Map
    files: tuple[Path, ...]
    """The directories that were looked into, and every file that was read, in its order."""

    def place(self, path: RawPath) -> Place:
        """The line of the value at a path, or of the nearest mapping that would hold it."""
        here: Any = self.tree
        place = self.tree.place
        for key in path:
            if isinstance(here, Map) and key in here:
                place, here = here.at[str(key)], here[str(key)]
            elif isinstance(here, Seq) and isinstance(key, int) and key < len(here):
                place, here = here.at[key], here[key]
            else:
                break
        return place

    def name(self, path: RawPath) -> str:
        """A path as an operator reads it: `pools[compute].nodes[m1c29].address`."""
        here: Any = self.tree
        text = ""
        for key in path:
            if isinstance(key, int):
                item = here[key] if isinstance(here, list) and key < len(here) else None
                name = item.get("name") if isinstance(item, dict) else None
                text += (
                    f"[{name if isinstance(name, str) and name.isprintable() and len(name) < 64 else key}]"
                )
                here = item
                continue
            here = here.get(key) if isinstance(here, dict) else None
            plain = key.replace("-", "").replace("_", "").isalnum()
            text += (f".{key}" if text else key) if plain else f"[{shown(key)[1:-1]}]"
        return text

    def problem(self, path: RawPath, what: str, remedy: str) -> Problem:
        """A problem at a path of the tree."""
        return Problem(self.place(path), self.name(path), what, remedy)


def gather(paths: Sequence[Path]) -> tuple[Source, list[Problem]]:
    """All files that the paths name, merged in their order."""
    problems: list[Problem] = []
    found = [(file, *_read(file)) for file in _files(paths, problems)]
    tokens = {_tokens_file(top) for _, top, _ in found}
    tree = Map(Place(str(paths[0]) if paths else "", 0))
    files: list[Path] = []
    for file, top, wrong in found:
        if file not in paths and os.path.realpath(file) in tokens:
            continue
        problems += wrong
        problems += doubled(top)
        tree = merged(tree, top) if files else top
        files.append(file)
    directories = [path for path in paths if path.is_dir()]
    return Source(tree, (*directories, *files)), problems


def _tokens_file(top: Map) -> str | None:
    """What a file names as `server.api.tokens_file`: it may lie in the same directory."""
    here: Any = top
    for key in ("server", "api", "tokens_file"):
        here = here.get(key) if isinstance(here, Map) else None
    try:
        return os.path.realpath(here) if isinstance(here, str) else None
    except ValueError:  # a NUL or half a character: the schema says so
        return None


def _read(file: Path) -> tuple[Map, list[Problem]]:
    problems: list[Problem] = []
    top, wrong = read(_bytes(file, problems), str(file))
    return top, [*problems, *wrong]


def _files(paths: Iterable[Path], problems: list[Problem]) -> Iterator[Path]:
    """Each file; a directory stands for its *.yaml in the order of their names."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = _inside(path)
        if not inside:
            problems.append(Problem(Place(str(path), 0), "", "no *.yaml is in this directory", "name a file"))
        yield from inside


def _inside(directory: Path) -> list[Path]:
    try:
        names = sorted(p for p in directory.iterdir() if p.suffix == ".yaml" and not p.name.startswith("."))
    except OSError:
        return []
    return [path for path in names if not path.is_dir()]


def _bytes(file: Path, problems: list[Problem]) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        remedy = "name a file that is there and may be read"
        problems.append(Problem(Place(str(file), 0), "", f"it cannot be read: {error.strerror}", remedy))
        return b""


def validated(source: Source) -> tuple[schema.Root, Source, list[Problem]]:
    """The file by its schema, and every problem of single values.

    With problems the rest of the file is read all the same, so that contradictions stand in the same report:
    the second value is the tree that the first one was made of.
    """
    problems: list[Problem] = []
    rest = source
    for _ in range(8):
        try:
            return schema.Root.model_validate(rest.tree), rest, problems
        except ValidationError as error:
            each = error.errors(include_url=False, include_input=False)
        if rest is source:
            problems = [source.problem(*said) for one in each for said in explain(one)]
        rest = Source(_without(rest.tree, _doomed(each)), rest.files)
    return schema.Root(), Source(Map(source.tree.place), source.files), problems


_Doomed = dict[str | int, Any]
"""Keys to take out (None) or to look into, as a tree."""


def _doomed(errors: Iterable[Any]) -> _Doomed:
    """What has to go: the bad value, or the whole entry where a required one is missing."""
    tree: _Doomed = {}
    for error in errors:
        for path, _, _ in explain(error):
            keys = path[:-1] if error["type"] == "missing" else path
            here: Any = tree
            for key in keys[:-1]:
                here = here.setdefault(key, {})
                if here is None:
                    break
            if here is not None:
                here[keys[-1]] = None
    return tree


def _without(node: Any, doomed: _Doomed) -> Any:
    """A copy of a tree without what is doomed; the rest is shared, and everything keeps its place."""
    if isinstance(node, Map):
        kept = Map(node.place)
        for key, value in node.items():
            if key not in doomed:
                kept.put(key, value, node.at[key])
            elif doomed[key] is not None:
                kept.put(key, _without(value, doomed[key]), node.at[key])
        return kept
    if isinstance(node, Seq):
        rest = Seq(node.place)
        for index, (value, place) in enumerate(zip(node, node.at, strict=True)):
            if index not in doomed:
                rest.put(value, place)
            elif doomed[index] is not None:
                rest.put(_without(value, doomed[index]), place)
        return rest
    return node


def explain(error: Any, top: Key = schema.KEYS) -> Iterator[tuple[RawPath, str, str]]:
    """One error of pydantic as path below `top`, what is wrong, remedy. Values are quoted by `Bad` alone."""
    path: RawPath = tuple(part for part in error["loc"] if part != "[key]")
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, Many):
        for key, bad in cause.each:
            yield (*path, key), bad.what, bad.remedy
    elif isinstance(cause, Bad):
        yield path, cause.what, cause.remedy
    elif error["type"] == "extra_forbidden":
        yield path, *_unknown(path, top)
    else:
        yield path, *_WORDS.get(error["type"], ("its value has the wrong form", "see docs/configuration.md"))


_WORDS = {
    "missing": ("this key is required", "write it"),
    "model_type": ("it is not a mapping", "write `KEY: VALUE` lines below it"),
    "dict_type": ("it is not a mapping", "write `KEY: VALUE` lines below it"),
    "tuple_type": ("it is not a list", "write [...], or one `- ` line per item"),
}


def _unknown(path: RawPath, top: Key) -> tuple[str, str]:
    word = str(path[-1])
    known = _siblings(path, top)
    remedy = nearest(word, known) or f"take it out; known here: {', '.join(known)}"
    return f"unknown key {shown(word)}", remedy


def _siblings(path: RawPath, key: Key) -> Iterable[str]:
    """The keys that may stand beside the last one of a path below `key`."""
    by_name = False
    for part in path[:-1]:
        if isinstance(part, int):
            continue
        if by_name or part not in key.below:
            by_name = False
            continue
        key = key.below[part]
        by_name = key.free
    return key.below
