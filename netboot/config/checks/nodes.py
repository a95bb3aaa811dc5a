"""What nodes say, in the file and in nodes files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from netboot.config import schema
from netboot.config.checks.facts import Declared, Facts, leases_nothing, usable
from netboot.config.problems import Problem, shown
from netboot.model.machine import other_order


def tags(facts: Facts) -> Iterator[Problem]:
    """Tags of nodes that are not declared."""
    known = {*facts.names("tags"), "all"}
    for declared in facts.nodes:
        for tag in declared.node.tags:
            if tag not in known:
                what = f"there is no {shown(tag)} under tags"
                yield declared.problem(
                    what, f"declare it there; declared are {', '.join(facts.names('tags'))}"
                )


def quirks(facts: Facts) -> Iterator[Problem]:
    """A quirk that a node names and switches off at once."""
    for declared in facts.nodes:
        named = declared.node.boot.quirks
        for name in named:
            if f"no-{name}" in named:
                what = f"boot.quirks asks for {name} and for no-{name}"
                yield declared.problem(what, "keep the one that its firmware needs")


def identities(facts: Facts) -> Iterator[Problem]:
    """Names, MACs, addresses and further identities that two nodes claim."""
    seen: dict[tuple[str, object], Declared] = {}
    pools = {p.name: p for p in facts.root.pools}
    for declared in facts.nodes:
        node = declared.node
        claims: list[tuple[str, object]] = [("the name", node.name), *(("the MAC", mac) for mac in node.macs)]
        if node.address:
            claims.append(("the address", node.address))
        if node.uuid:
            claims.append(("the UUID", _either_order(node.uuid)))
        if node.client_id:
            claims.append(("the client_id", node.client_id))
        if node.circuit_id or node.remote_id:
            network = pools[node.pool].network if node.pool in pools else None
            claims.append(("the place", (network, node.circuit_id, node.remote_id)))
        for claim in claims:
            other = seen.setdefault(claim, declared)
            if other is not declared:
                yield _twice(declared, other, claim)
            elif claims.count(claim) > 1:
                yield declared.problem(f"{claim[0]} {claim[1]} stands twice in this node", "write it once")


def _either_order(text: str) -> str:
    """One text for a UUID and for the same one with its first fields in the other byte order."""
    return min(text, other_order(text))


def _twice(declared: Declared, other: Declared, claim: tuple[str, object]) -> Problem:
    word, value = claim
    node = declared.node
    if isinstance(value, bytes):
        value = f"hex:{value.hex()}"
    if word == "the UUID":
        value = node.uuid
    if word == "the place":
        both = (("circuit_id", node.circuit_id), ("remote_id", node.remote_id))
        word, value = "the", " and ".join(f"{key} hex:{raw.hex()}" for key, raw in both if raw)
    if word == "the name":
        return declared.problem(
            f"the name {value} stands at {other.place} too", "give each node its own name"
        )
    return declared.problem(
        f"{word} {value} belongs to {other.node.name} too ({other.place})", "keep it with one"
    )


def addresses(facts: Facts) -> Iterator[Problem]:
    """Reserved addresses: inside the network, outside its ranges, nobody else's."""
    networks = {n.name: n for n in facts.root.networks}
    pools = {p.name: p for p in facts.root.pools}
    own = facts.root.server.address
    patterns = {_pattern(p.node_name) for p in facts.root.pools if p.catch_all}
    for declared in facts.nodes:
        node = declared.node
        yield from _generated(declared, patterns)
        network = networks.get(pools[node.pool].network or "") if node.pool in pools else None
        if network is None:
            continue
        if node.address is None:
            if not network.range and leases_nothing(facts, network.name):
                what = f"it has no address, and network {network.name} has no range to take one from"
                yield declared.problem(what, "write its address")
            continue
        yield from _address(declared, node.address, network, own)


def _pattern(node_name: str) -> re.Pattern[str]:
    return re.compile(re.escape(node_name).replace(re.escape("{mac}"), "([0-9a-f]{12})"))


def _address(
    declared: Declared, address: IPv4Address, network: schema.Network, own: IPv4Address | None
) -> Iterator[Problem]:
    if not usable(network, address):
        what = f"its address {address} is no machine's address in {network.subnet} of network {network.name}"
        yield declared.problem(what, "write an address of this network, or move the node to another pool")
    for range_ in network.range:
        if address in range_:
            what = f"its address {address} lies in the range {range_.first}-{range_.last}"
            yield declared.problem(f"{what} of network {network.name}", "reserve one outside the ranges")
    for whose, taken in (("the gateway's", network.gateway), ("our own", network.address or own)):
        if address == taken:
            yield declared.problem(f"its address {address} is {whose}", "write another one")


def _generated(declared: Declared, patterns: Iterable[re.Pattern[str]]) -> Iterator[Problem]:
    """A name that an undeclared machine could be given."""
    node = declared.node
    for pattern in patterns:
        match = pattern.fullmatch(node.name)
        if match and match[1] not in {mac.digits for mac in node.macs}:
            what = f"an undeclared machine with the MAC {match[1]} would get the name {node.name} too"
            yield declared.problem(what, "choose another name")
