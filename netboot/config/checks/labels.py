"""Labels that no kubelet may set on itself: only the appliance can, where `node_actions.labels` lets it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from netboot.config import schema
from netboot.config.checks.facts import Facts, few
from netboot.config.problems import Problem, shown
from netboot.model.kubelet import may_set


def forbidden(facts: Facts) -> Iterator[Problem]:
    """Such labels of tags and nodes, in clusters whose Node objects we may not label."""
    bare = {c.name for c in facts.root.clusters if c.join.method != "none" and not c.node_actions.labels}
    users = _users(facts, bare)
    for name, tag in facts.root.tags.items():
        for key in _of_kubernetes(tag.labels):
            if clusters := users.get(name):
                yield facts.problem(("tags", name, "labels", key), _what(key), _remedy(clusters))
    pools = {pool.name: pool.cluster for pool in facts.root.pools}
    for declared in facts.nodes:
        cluster = pools.get(declared.node.pool)
        for key in _of_kubernetes(declared.node.settings.labels):
            if cluster in bare:
                yield declared.problem(_what(key), _remedy([cluster or ""]))


def _users(facts: Facts, bare: set[str]) -> dict[str, list[str]]:
    """By tag: which of these clusters' nodes have it."""
    used: dict[str, list[str]] = {"all": sorted(bare)}
    pools: Mapping[str, schema.Pool] = {pool.name: pool for pool in facts.root.pools}

    def uses(tags: Iterable[str], cluster: str | None) -> None:
        for tag in tags if cluster in bare else ():
            used.setdefault(tag, []).append(cluster or "")

    for cluster in facts.root.clusters:
        uses(cluster.tags, cluster.name)
    for pool in pools.values():
        uses(pool.tags, pool.cluster)
    for tags, pool_name in {(declared.node.tags, declared.node.pool) for declared in facts.nodes}:
        uses(tags, pools[pool_name].cluster if pool_name in pools else None)
    return used


def _of_kubernetes(labels: Iterable[str]) -> list[str]:
    return [key for key in labels if not may_set(key)]


def _what(key: str) -> str:
    return f"a kubelet may not set the label {shown(key)} on itself and would stop, so it is set from here"


def _remedy(clusters: list[str]) -> str:
    return f"write node_actions: {{labels: true}} for cluster {few(sorted(clusters))}, or another label"
