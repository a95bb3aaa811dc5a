"""What stops nothing but should be known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netboot.config import schema
from netboot.config.checks.facts import Facts, few
from netboot.config.keys import NotYet, marked
from netboot.config.problems import Place
from netboot.config.reading import Source


def warnings(facts: Facts, rows: Iterable[tuple[Place, tuple[str, ...]]]) -> Iterator[str]:
    """What stops nothing but should be known. `rows`: keys without effect in nodes files."""
    if not facts.source.tree.get("networks"):
        yield "no network is declared: nothing will be served; write one under networks"
    yield from _in_proxy_mode(facts)
    yield from _shut_out(facts)
    yield from _unbelieved(facts)
    yield from _idle_switches(facts)
    if without_effect := _later(facts.source, rows):
        yield without_effect


_SERVERS_ONLY = ("lease", "renew", "rebind", "boot_lease", "dns", "domain", "options")
"""Keys of a network that another DHCP server answers for, where one gives the addresses."""


def _in_proxy_mode(facts: Facts) -> Iterator[str]:
    for network in facts.root.networks:
        if network.mode != "proxy":
            continue
        if said := [key for key in _SERVERS_ONLY if key in network.model_fields_set]:
            what = f"networks[{network.name}]: {', '.join(said)} have no effect in mode proxy"
            yield f"{what}: the network's own DHCP server tells its machines these"
        if network.relayed:
            what = f"networks[{network.name}]: it is relayed and in mode proxy: its machines load iPXE and"
            yield f"{what} no system, for nothing proves there that an address is the machine's own"


def _shut_out(facts: Facts) -> Iterator[str]:
    """Declared nodes that their network's `admit` never answers."""
    networks = {n.name: n for n in facts.root.networks if n.admit.macs and not n.admit.vendors}
    pools = {p.name: p.network for p in facts.root.pools}
    shut: dict[str, list[str]] = {}
    for declared in facts.nodes:
        network = networks.get(pools.get(declared.node.pool) or "")
        if network and not any({mac, mac[:8]} & set(network.admit.macs) for mac in declared.node.macs):
            shut.setdefault(network.name, []).append(declared.node.name)
    for name, nodes in shut.items():
        what = f"networks[{name}].admit: {few(nodes)} of its pools are declared and never answered"
        yield f"{what}; add their MACs to admit.macs"


def _unbelieved(facts: Facts) -> Iterator[str]:
    """Nodes known by their place at a relay agent, in networks that believe none."""
    networks = {n.name: n for n in facts.root.networks}
    pools = {p.name: p.network for p in facts.root.pools}
    idle: dict[str, list[str]] = {}
    for declared in facts.nodes:
        node = declared.node
        network = networks.get(pools.get(node.pool) or "")
        if network and not network.relays and (node.circuit_id or node.remote_id):
            idle.setdefault(network.name, []).append(node.name)
    for name, nodes in idle.items():
        what = f"networks[{name}]: no relays are listed, so that circuit_id and remote_id identify nobody"
        yield f"{what} ({few(nodes)}); list the relay agents whose option 82 you trust under relays"


def _idle_switches(facts: Facts) -> Iterator[str]:
    """Drains that do not hold, and an admission that nobody waits for."""
    for cluster in facts.root.clusters:
        if cluster.node_actions.drain and not cluster.node_actions.cordon:
            what = (
                f"clusters[{cluster.name}].node_actions: drain without cordon: evicted pods may come back to"
            )
            yield f"{what} the node; write cordon: true"
    for pool in facts.root.pools:
        if pool.admission == "approval" and not pool.catch_all:
            what = (
                f"pools[{pool.name}].admission has no effect: its machines are declared, and only those that"
            )
            yield f"{what} nobody declared wait for an operator; write it in a pool with catch_all: true"


def _later(source: Source, rows: Iterable[tuple[Place, tuple[str, ...]]]) -> str | None:
    """The one warning that names every key without effect yet, and its first lines."""
    places: dict[str, list[str]] = {}
    for path, key in marked(source.tree, schema.KEYS):
        if not isinstance(key.marker, NotYet):
            places.setdefault(key.path, []).append(str(source.place(path)))
    for place, keys in rows:
        for name in keys:
            places.setdefault(name, []).append(str(place))
    if not places:
        return None
    each = [f"{name} ({few(at)})" for name, at in sorted(places.items())]
    return f"accepted, but without effect yet: {', '.join(each)}"
