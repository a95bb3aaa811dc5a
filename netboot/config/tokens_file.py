"""`server.api.tokens_file`: who else may use the API, as a list of {name, role, sha256}.

It holds no secret, yet a SHA-256 can be guessed from where the token was weak: `doubts` tells of a file
that others may read. It is read again when it changes; a bad one leaves the old one in force.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import PlainValidator, ValidationError

from netboot.config import plain, values
from netboot.config.keys import Key, tree
from netboot.config.problems import Bad, Place, Problem
from netboot.config.reading import explain
from netboot.config.schema import Entry
from netboot.config.yaml_source import Map, Seq, document
from netboot.errors import ConfigError
from netboot.model.access import ADMIN_TOKEN, ROLE_WORDS, ApiToken, Role

MAX_BYTES = 256 << 10
MAX_TOKENS = 1000
"""Each try of a token is compared with all of them."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def _name(value: object) -> str:
    text = values.line(value)
    if not _NAME.fullmatch(text) or text == ADMIN_TOKEN:
        raise Bad("it is not a token's name", "write 1 to 63 letters, digits and . _ @ -, not admin.token")
    return text


def _digest(value: object) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        remedy = "write the 64 hex digits that `netboot token make` prints, in quotes"
        raise Bad("it is not a SHA-256 in hex", remedy)
    return value.lower()


class Token(Entry):
    """One entry."""

    name: Annotated[str, PlainValidator(_name)]
    role: Annotated[str, PlainValidator(values.choice(*ROLE_WORDS))]
    sha256: Annotated[str, PlainValidator(_digest)]


_KEYS: Key = tree(Token)


def read(path: Path) -> tuple[ApiToken, ...]:
    """The tokens of a file. Raises ConfigError with every problem in one report."""
    file = str(path)
    try:
        raw = plain.read(path, MAX_BYTES)
    except OSError as error:
        what, remedy = f"it cannot be read: {error.strerror}", "put it there, readable by server.user"
        raise _refused([Problem(Place(file, 0), "", what, remedy)]) from None
    if len(raw) > MAX_BYTES:
        what = f"the file is larger than {MAX_BYTES >> 10} KiB"
        raise _refused([Problem(Place(file, 0), "", what, f"write at most {MAX_TOKENS} tokens")])
    top, problems = document(raw, file)
    entries = _entries(top, file, problems)
    found = [(entry.place, token) for entry in entries if (token := _token(entry, problems))]
    problems += _doubled(found)
    if problems:
        raise _refused(problems)
    return tuple(token for _, token in found)


def doubts(path: Path) -> Iterator[str]:
    """Who else than its owner and its group may read the file, or change it."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return
    if mode & 0o022:
        yield f"{path} has mode {mode:04o}: others can add tokens of their own; run chmod 640 {path}"
    elif mode & 0o004:
        yield f"{path} has mode {mode:04o}: others can guess at its tokens; run chmod 640 {path}"


def _entries(top: object, file: str, problems: list[Problem]) -> list[Map]:
    if top is None:
        return []
    if not isinstance(top, Seq):
        remedy = "write a list: one `- {name: ..., role: ..., sha256: ...}` per token"
        problems.append(Problem(Place(file, 1), "", "the file is not a list", remedy))
        return []
    if len(top) > MAX_TOKENS:
        what = f"there are {len(top)} tokens"
        problems.append(Problem(Place(file, 0), "", what, f"write at most {MAX_TOKENS}"))
        return []
    for number, (entry, place) in enumerate(zip(top, top.at, strict=True)):
        if not isinstance(entry, Map):
            remedy = "write {name: ..., role: ..., sha256: ...}"
            problems.append(Problem(place, f"[{number}]", "it is not a mapping", remedy))
    return [entry for entry in top if isinstance(entry, Map)]


def _token(entry: Map, problems: list[Problem]) -> ApiToken | None:
    try:
        said = Token.model_validate(entry)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            for path, what, remedy in explain(one, _KEYS):
                key = str(path[-1])
                place = entry.at.get(key, entry.place)
                problems.append(Problem(place, key if key in Token.model_fields else "", what, remedy))
        return None
    return ApiToken(said.name, Role.of(said.role), said.sha256)


def _doubled(found: list[tuple[Place, ApiToken]]) -> Iterator[Problem]:
    """Two tokens of one name, or one token under two names: the audit could not tell who it was."""
    names: dict[str, Place] = {}
    digests: dict[str, Place] = {}
    for place, token in found:
        if token.name in names:
            what = f"the name {token.name} stands on line {names[token.name].line} too"
            yield Problem(place, "name", what, "give each token its own name")
        if token.sha256 in digests:
            what = f"the same token stands on line {digests[token.sha256].line} too"
            yield Problem(place, "sha256", what, "give each name its own token (`netboot token make`)")
        names.setdefault(token.name, place)
        digests.setdefault(token.sha256, place)


def _refused(problems: list[Problem]) -> ConfigError:
    ranked = sorted(problems, key=lambda problem: problem.place.line)
    return ConfigError(list(dict.fromkeys(map(str, ranked))))


def wrong(entry: dict[str, str]) -> str | None:
    """What is wrong with an entry that somebody is about to write, None for nothing."""
    try:
        Token.model_validate(entry)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            for path, what, remedy in explain(one, _KEYS):
                return f"{path[-1]}: {what}; {remedy}"
    return None
