"""iPXE's scripts as a probe reads them: variables filled in, where they lead, what they would start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urljoin

from netboot.model.machine import Mac

_VARIABLE = re.compile(r"\$\{(?:[a-zA-Z]+[0-9X]*/)?([A-Za-z0-9_.-]+)(?::([a-z0-9]+))?\}")
_STARTERS = frozenset({"boot", "imgexec", "sanboot", "imgselect"})
_VALUED = frozenset({"--name", "-n", "--timeout", "-t"})
"""Options that take a value."""
_LOADERS = frozenset({"kernel", "initrd", "imgfetch", "module", "imgload"})


@dataclass(frozen=True, slots=True)
class Script:
    """What a script says."""

    lines: tuple[str, ...]
    leads_to: str | None
    """The first URL that it chains to."""
    loads: tuple[str, ...]
    """URLs of kernel and initrds."""
    starts: bool
    """Whether it starts what it loaded."""
    says: str
    """What it tells a person last."""
    exits: bool
    """Whether it goes on to the local boot."""


def is_script(data: bytes) -> bool:
    """Whether a file is a script of iPXE's."""
    return data.startswith(b"#!ipxe")


def variables(mac: Mac, uuid: str, platform: str) -> dict[str, str]:
    """What iPXE knows of itself."""
    return {"mac": mac, "uuid": uuid, "buildarch": "x86_64", "platform": platform, "product": "netboot probe"}


def read(text: str, url: str, values: Mapping[str, str]) -> Script:
    """A script that came from `url`, with iPXE's variables filled in."""
    lines = tuple(line for line in text.splitlines()[:500])
    words = [_filled(line, values).split() for line in lines]
    commands = [plain for each in words if (plain := _plain(each))]
    chains = [_joined(url, c[1]) for c in commands if c[0] == "chain" and len(c) > 1]
    loads = [_joined(url, c[1]) for c in commands if c[0] in _LOADERS and len(c) > 1]
    echoes = [" ".join(c[1:]) for c in commands if c[0] == "echo" and len(c) > 1]
    starts = any(c[0] in _STARTERS for c in commands)
    exits = any(c[0] == "exit" for c in commands) and not (starts and loads)
    return Script(lines, chains[0] if chains else None, tuple(loads), starts, _told(echoes), exits)


def _plain(words: list[str]) -> list[str]:
    """A command without its options and their values; nothing for a comment or a label."""
    if not words or words[0][0] in "#:":
        return []
    pairs = zip(["", *words], words, strict=False)
    return [word for before, word in pairs if not word.startswith("-") and before not in _VALUED]


def _joined(base: str, name: str) -> str:
    try:
        return urljoin(base, name)
    except ValueError:
        return name


def _told(echoes: list[str]) -> str:
    """The first line for a person that says more than the script's name."""
    return echoes[0][:200] if echoes else ""


def _filled(line: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: _value(values.get(match[1], ""), match[2]), line)


def _value(text: str, form: str | None) -> str:
    if form == "hexhyp":
        return text.replace(":", "-")
    if form == "hexraw":
        return text.replace(":", "")
    return quote(text) if form == "uristring" else text
