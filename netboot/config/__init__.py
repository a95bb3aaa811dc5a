"""The operator's file: read, checked and translated into frozen values. The door of this room.

`load` is what the program starts with; `examine` tells everything that `netboot check` prints. Reading
touches the named files and the nodes files only; what belongs to this host is looked at by `here`. The
path of a file: `yaml_source` (text to tree), `merge` (several files as one), `reading` (tree to `schema`),
`nodes_file`, `checks` (contradictions), `translate` (to the nouns of the model).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from netboot.config import checks, nodes_file, reading, schema, translate
from netboot.config.checks import Declared, Facts
from netboot.config.keys import RawPath
from netboot.config.model import (
    Api,
    BootLimits,
    Config,
    Limit,
    NamedFile,
    Server,
    StormLimits,
    TftpLimits,
)
from netboot.config.problems import Place, Problem, report
from netboot.config.reading import Source
from netboot.errors import ConfigError
from netboot.model.manners import UNLIMITED, Rate

__all__ = [
    "UNLIMITED",
    "Api",
    "BootLimits",
    "Config",
    "Examined",
    "Limit",
    "NamedFile",
    "Rate",
    "Server",
    "StormLimits",
    "TftpLimits",
    "examine",
    "load",
]


@dataclass(frozen=True)
class Examined:
    """What was found in the operator's file."""

    seen: Config
    """What could be read: the whole configuration where there are no problems, else what is right of it."""
    problems: tuple[str, ...]
    absent: tuple[str, ...]
    """Nodes files that are not there: a warning of `check`, a problem for everybody else."""

    @property
    def config(self) -> Config | None:
        """The configuration where it is accepted; nodes files may be absent."""
        return None if self.problems else self.seen


def load(paths: Sequence[Path | str]) -> Config:
    """The configuration of these files (or directories of *.yaml), later ones over earlier ones.

    Raises ConfigError with every problem in one report.
    """
    found = examine(paths)
    if found.problems or found.absent:
        raise ConfigError([*found.problems, *found.absent])
    return found.seen


def examine(paths: Sequence[Path | str]) -> Examined:
    """Everything there is to say about these files; never raises for what stands in them."""
    collecting = gc.isenabled()
    gc.disable()  # a hundred thousand nodes make no garbage, and each full collection would walk them all
    try:
        return _examine([Path(path) for path in paths])
    finally:
        if collecting:
            gc.enable()


def _examine(paths: list[Path]) -> Examined:
    source, problems = reading.gather(paths)
    valid, rest, wrong = reading.validated(source)
    root = translate.settled(valid)
    found = _Nodes(root, rest)
    facts = Facts(source, rest, root, tuple(found.declared))
    told = {problem.path for problem in wrong}
    problems += [*wrong, *(p for p in checks.refused(source) if p.path not in told)]
    problems += [*found.problems, *checks.all_problems(facts)]
    seen = Config(
        files=(*source.files, *found.files),
        server=translate.server(root),
        api=translate.api(root),
        inventory=translate.inventory(root, (d.node for d in found.declared)),
        warnings=tuple(checks.warnings(facts, found.later)),
        named_files=tuple(_named_files(root, rest)),
    )
    return Examined(seen, report(problems, map(str, seen.files)), tuple(found.absent))


class _Nodes:
    """The nodes of every pool: those of the file itself, then those of its nodes file."""

    def __init__(self, root: schema.Root, source: Source) -> None:
        self.declared: list[Declared] = []
        self.problems: list[Problem] = []
        self.later: list[tuple[Place, tuple[str, ...]]] = []
        self.files: list[Path] = []
        self.absent: list[str] = []
        for index, pool in enumerate(root.pools):
            for number, node in enumerate(pool.nodes):
                at = ("pools", index, "nodes", number)
                said = translate.node(node, pool.name)
                self.declared.append(Declared(said, source.place(at), source.name(at)))
            if pool.nodes_file:
                named = source.problem(("pools", index, "nodes_file"), "", "")
                self._read(pool.nodes_file, pool.name, named)

    def _read(self, path: Path, pool: str, named: Problem) -> None:
        self.files.append(path)
        try:
            for row in nodes_file.rows(path, pool, translate.node):
                if isinstance(row, Problem):
                    self.problems.append(row)
                    continue
                place = Place(str(path), row.line)
                self.declared.append(Declared(row.node, place, row.node.name))
                if row.later:
                    self.later.append((place, row.later))
        except nodes_file.Absent as error:
            remedy = "put the file there, or take nodes_file out"
            self.absent.append(str(Problem(named.place, named.path, str(error), remedy)))


def _named_files(root: schema.Root, source: Source) -> Iterator[NamedFile]:
    """Files that the configuration names and that are read later: kubeconfigs, TLS, tokens, passwords."""
    named = [*_paths(("server", "api"), root.server.api, "tokens_file")]
    if https := root.server.boot_https:
        named += _paths(("server", "boot_https"), https, "certificate", "key", "ca")
    if tls := root.server.api.tls:
        named += _paths(("server", "api", "tls"), tls, "certificate", "key")
    for name, image in root.images.items():
        named += _paths(("images", name), image, "public_key")
    for index, cluster in enumerate(root.clusters):
        keys = ("kubeconfig", "certificate_key_file", "ca_certificate", "ca_key_file", "directory")
        named += _paths(("clusters", index, "join"), cluster.join, *keys)
    for index, pool in enumerate(root.pools):
        for number, node in enumerate(pool.nodes):
            if node.bmc:
                named += _paths(("pools", index, "nodes", number, "bmc"), node.bmc, "password_file")
    for at, path in named:
        yield NamedFile(str(source.place(at)), source.name(at), path)


def _paths(at: RawPath, entry: schema.Entry, *keys: str) -> list[tuple[RawPath, Path]]:
    return [((*at, key), path) for key in keys if (path := getattr(entry, key))]
