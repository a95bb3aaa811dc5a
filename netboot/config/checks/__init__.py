"""Contradictions: what no single value shows. Each check is one function over what was read.

Each section of the operator's file has its checks in a file of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from netboot.config import schema
from netboot.config.checks import clusters, labels, limits, networks, nodes, pools, server, tags
from netboot.config.checks.facts import Declared, Facts
from netboot.config.checks.warnings import warnings
from netboot.config.keys import NotYet, marked
from netboot.config.problems import Problem
from netboot.config.reading import Source

__all__ = ["Declared", "Facts", "all_problems", "refused", "warnings"]

CHECKS: tuple[Callable[[Facts], Iterator[Problem]], ...] = (
    server.api,
    networks.interfaces,
    networks.contradictions,
    networks.overlaps,
    clusters.joins,
    pools.references,
    pools.catch_alls,
    tags.units,
    labels.forbidden,
    limits.counted,
    nodes.tags,
    nodes.quirks,
    nodes.identities,
    nodes.addresses,
)
"""Every check, in the order in which their problems are told of one line."""


def all_problems(facts: Facts) -> Iterator[Problem]:
    """Every contradiction."""
    for check in CHECKS:
        yield from check(facts)


def refused(source: Source) -> Iterator[Problem]:
    """Keys that are refused until they work. A wrong value is told as such elsewhere."""
    for path, key in marked(source.tree, schema.KEYS):
        if isinstance(key.marker, NotYet):
            yield source.problem(path, key.marker.what, key.marker.remedy)
