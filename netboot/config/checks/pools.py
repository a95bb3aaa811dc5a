"""What `pools` say."""

from __future__ import annotations

from collections.abc import Iterator

from netboot.config.checks.facts import Facts, leases_nothing, tag_references, unknown
from netboot.config.keys import RawPath
from netboot.config.problems import Problem


def references(facts: Facts) -> Iterator[Problem]:
    """The cluster, the network and the tags of a pool are declared."""
    for index, pool in enumerate(facts.root.pools):
        at: RawPath = ("pools", index)
        yield from unknown(facts, (*at, "cluster"), "clusters", pool.cluster)
        yield from unknown(facts, (*at, "network"), "networks", pool.network)
        yield from tag_references(facts, at, pool.tags)


def catch_alls(facts: Facts) -> Iterator[Problem]:
    """One catch-all pool per network, which has addresses to give, and names of its own."""
    first: dict[str, str] = {}
    templates: dict[str, str] = {}
    for index, pool in enumerate(facts.root.pools):
        if not pool.catch_all or pool.network is None:
            continue
        for other in templates:
            if other != pool.node_name and _collide(other, pool.node_name):
                what = (
                    f"{pool.node_name} and {other} of pool {templates[other]} can make one name of two MACs"
                )
                yield facts.problem(
                    ("pools", index, "node_name"), what, "write both alike, or with different beginnings"
                )
        templates.setdefault(pool.node_name, pool.name)
        at: RawPath = ("pools", index, "catch_all")
        if pool.network in first:
            what = f"network {pool.network} has the catch-all pool {first[pool.network]} already"
            yield facts.problem(at, what, "keep one catch_all pool per network")
        first.setdefault(pool.network, pool.name)
        if leases_nothing(facts, pool.network):
            what = f"network {pool.network} has no range: unknown machines would get no address"
            yield facts.problem(at, what, f"give network {pool.network} a range")


def _collide(one: str, other: str) -> bool:
    """Whether two patterns of names can make the same name of different MACs."""
    slots = [pattern.replace("{mac}", "\0" * 12) for pattern in (one, other)]
    both = list(zip(*slots, strict=False))
    fits = all(a == b or (a == "\0" and b in _HEX) or (b == "\0" and a in _HEX) for a, b in both)
    return len(slots[0]) == len(slots[1]) and fits


_HEX = frozenset("0123456789abcdef")
