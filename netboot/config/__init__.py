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
from netboot.config.model import UNLIMITED, Api, BootLimits, Config, Limit, Rate, Server, TftpLimits
from netboot.config.problems import Place, Problem, report
from netboot.config.reading import Source
from netboot.errors import ConfigError

__all__ = [
    "UNLIMITED",
    "Api",
    "BootLimits",
    "Config",
    "Examined",
    "Limit",
    "Rate",
    "Server",
    "TftpLimits",
    "examine",
    "load",
]


@dataclass(frozen=True)
class Examined:
    """What was found in the operator's file. `config` is None where there are problems."""

    config: Config | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    absent: tuple[str, ...]
    """Nodes files that are not there: a warning of `check`, a problem for everybody else."""


def load(paths: Sequence[Path | str]) -> Config:
    """The configuration of these files (or directories of *.yaml), later ones over earlier ones.

    Raises ConfigError with every problem in one report.
    """
    found = examine(paths)
    if found.config is None or found.absent:
        raise ConfigError([*found.problems, *found.absent])
    return found.config


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
    root, rest, wrong = reading.validated(source)
    found = _Nodes(root, rest)
    facts = Facts(source, rest, root, tuple(found.declared))
    problems = [*problems, *wrong, *found.problems, *checks.all_problems(facts)]
    warning = checks.later(source, found.later)
    warnings = (warning,) if warning else ()
    files = (*source.files, *found.files)
    if problems:
        return Examined(None, report(problems, map(str, files)), warnings, tuple(found.absent))
    inventory = translate.inventory(root, (d.node for d in found.declared))
    config = Config(
        files, translate.server(root), translate.api(root), inventory, warnings, _secret_files(root)
    )
    return Examined(config, (), warnings, tuple(found.absent))


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
                self.declared.append(
                    Declared(translate.node(node, pool.name), source.place(at), source.name(at))
                )
            if pool.nodes_file:
                self._read(pool.nodes_file, pool.name, source.problem(("pools", index, "nodes_file"), "", ""))

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


def _secret_files(root: schema.Root) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(_named_files(root)))


def _named_files(root: schema.Root) -> Iterator[Path]:
    """Files that the configuration names and that we read later: kubeconfigs, tokens, passwords."""
    if root.server.api.tokens_file:
        yield root.server.api.tokens_file
    for cluster in root.clusters:
        if cluster.join.kubeconfig:
            yield cluster.join.kubeconfig
    for pool in root.pools:
        yield from (n.bmc.password_file for n in pool.nodes if n.bmc and n.bmc.password_file)
