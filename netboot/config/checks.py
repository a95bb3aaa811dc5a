"""Contradictions: what no single value shows. Each check is one function over what was read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import pairwise

from netboot.config import schema
from netboot.config.keys import NotYet, RawPath, marked
from netboot.config.problems import Place, Problem, shown
from netboot.config.reading import Source
from netboot.model.inventory import AddressRange, Node
from netboot.model.machine import other_order


@dataclass(frozen=True, slots=True)
class Declared:
    """A node and where it stands."""

    node: Node
    place: Place
    path: str

    def problem(self, what: str, remedy: str) -> Problem:
        """A problem of this node."""
        return Problem(self.place, self.path, what, remedy)


@dataclass(frozen=True)
class Facts:
    """What the checks look at: `source` as written, `root` what is valid of it, made of `rest`."""

    source: Source
    rest: Source
    root: schema.Root
    nodes: tuple[Declared, ...]

    def names(self, key: str) -> tuple[str, ...]:
        """The names declared under a key, those of refused entries too."""
        entries = self.source.tree.get(key)
        if isinstance(entries, dict):
            return tuple(entries)
        listed = entries if isinstance(entries, list) else []
        return tuple(str(e["name"]) for e in listed if isinstance(e, dict) and "name" in e)

    def problem(self, path: RawPath, what: str, remedy: str) -> Problem:
        """A problem at a path of the valid tree, whose lines are those of the files."""
        return self.rest.problem(path, what, remedy)

    def wrote(self, key: str, name: str, *below: str) -> bool:
        """Whether the entry of that name says something under these keys, be it wrong."""
        entries = self.source.tree.get(key)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and entry.get("name") == name:
                here: object = entry
                for part in below:
                    here = here.get(part) if isinstance(here, dict) else None
                if here is not None:
                    return True
        return False


def all_problems(facts: Facts) -> Iterator[Problem]:
    """Every contradiction."""
    for check in _CHECKS:
        yield from check(facts)


def refused(source: Source) -> Iterator[Problem]:
    """Keys that are refused until they work. A wrong value is told as such elsewhere."""
    for path, key in marked(source.tree, schema.KEYS):
        if isinstance(key.marker, NotYet):
            yield source.problem(path, key.marker.what, key.marker.remedy)


def warnings(facts: Facts, rows: Iterable[tuple[Place, tuple[str, ...]]]) -> Iterator[str]:
    """What stops nothing but should be known. `rows`: keys without effect in nodes files."""
    if not facts.source.tree.get("networks"):
        yield "no network is declared: nothing will be served; write one under networks"
    yield from _in_proxy_mode(facts)
    yield from _shut_out(facts)
    yield from _unbelieved(facts)
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
        what = f"networks[{name}].admit: {_few(nodes)} of its pools are declared and never answered"
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
        yield f"{what} ({_few(nodes)}); list the relay agents whose option 82 you trust under relays"


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
    each = [f"{name} ({_few(at)})" for name, at in sorted(places.items())]
    return f"accepted, but without effect yet: {', '.join(each)}"


def _few(places: list[str]) -> str:
    distinct = list(dict.fromkeys(places))
    more = f" and {len(distinct) - 3} more" if len(distinct) > 3 else ""
    return ", ".join(distinct[:3]) + more


def _api(facts: Facts) -> Iterator[Problem]:
    host, _ = facts.root.server.api.listen
    if host != "::1" and not host.startswith("127."):
        what = f"{host} is not the loopback, where the API must have tls, which is not there yet"
        remedy = "listen on 127.0.0.1, and reach it from elsewhere through ssh -L"
        yield facts.problem(("server", "api", "listen"), what, remedy)


def _interfaces(facts: Facts) -> Iterator[Problem]:
    for index, network in enumerate(facts.root.networks):
        at: RawPath = ("networks", index)
        if network.relayed:
            yield from _relayed(facts, network, at)
        elif network.interface:
            yield from _listened_on(facts, network.interface, (*at, "interface"))
        elif not facts.wrote("networks", network.name, "interface"):
            yield facts.problem(at, "no interface is named", "write the interface that is on this network")


def _relayed(facts: Facts, network: schema.Network, at: RawPath) -> Iterator[Problem]:
    if network.interface:
        what = "relayed: true means that no interface of ours is on it"
        yield facts.problem((*at, "relayed"), what, "take out relayed or interface")
        return
    server = facts.source.tree.get("server")
    of_server = isinstance(server, dict) and server.get("address") is not None
    if not of_server and not facts.wrote("networks", network.name, "address"):
        what = "it is relayed, so no interface tells the address that its nodes reach us at"
        yield facts.problem(at, what, "write its address, or server.address")


def _listened_on(facts: Facts, interface: str, at: RawPath) -> Iterator[Problem]:
    listening = facts.root.server.interfaces
    if listening and interface not in listening:
        what = f"{interface} is not among server.interfaces: nobody would listen on it"
        yield facts.problem(at, what, f"add {interface} to server.interfaces, or leave those out")


def _networks(facts: Facts) -> Iterator[Problem]:
    for index, network in enumerate(facts.root.networks):
        at: RawPath = ("networks", index)
        yield from _times(facts, network, at)
        if network.gateway and not _usable(network, network.gateway):
            what = f"{network.gateway} is no machine's address in {network.subnet}"
            yield facts.problem((*at, "gateway"), what, "write the router's address on this network")
        own = facts.root.server.address
        if network.mode == "proxy" and network.range:
            what = "in mode proxy another DHCP server gives the addresses, we give none"
            yield facts.problem((*at, "range"), what, "take range out, or write mode: server")
        for range_ in network.range:
            yield from _range(facts, network, range_, (*at, "range"), own)
        if network.address and network.address == network.gateway:
            what = f"{network.address} is the gateway's address too"
            yield facts.problem((*at, "address"), what, "write the address that is ours")
        for low, high in pairwise(sorted(network.range, key=lambda r: r.first)):
            if low.first <= high.last and high.first <= low.last:
                what = f"{low.first}-{low.last} and {high.first}-{high.last} overlap"
                yield facts.problem((*at, "range"), what, "write ranges apart from each other")


def _usable(network: schema.Network, address: IPv4Address) -> bool:
    subnet = network.subnet
    return address in subnet and address not in (subnet.network_address, subnet.broadcast_address)


def _times(facts: Facts, network: schema.Network, at: RawPath) -> Iterator[Problem]:
    """T1 before T2 before the end of the lease (RFC 2131 section 4.4.5)."""
    said = facts.wrote("networks", network.name, "lease") or network.renew or network.rebind
    if not said:
        return
    rebind = network.rebind if network.rebind is not None else network.lease * 7 / 8
    renew = network.renew if network.renew is not None else network.lease / 2
    if network.rebind is not None and network.rebind >= network.lease:
        yield facts.problem((*at, "rebind"), "it is not before the lease's end", "write rebind < lease")
    elif network.renew is not None and renew >= rebind:
        yield facts.problem((*at, "renew"), "it is not before rebind", "write renew < rebind < lease")
    elif network.rebind is not None and renew >= rebind:
        yield facts.problem(
            (*at, "rebind"),
            "it is not after renew (half the lease by default)",
            "write renew < rebind < lease",
        )


def _range(
    facts: Facts, network: schema.Network, range_: AddressRange, at: RawPath, own: IPv4Address | None
) -> Iterator[Problem]:
    text = f"{range_.first}-{range_.last}"
    if not (_usable(network, range_.first) and _usable(network, range_.last)):
        yield facts.problem(
            at, f"{text} leaves {network.subnet}", "write addresses of machines in this subnet"
        )
        return
    for whose, address in (("the gateway's", network.gateway), ("our own", network.address or own)):
        if address and address in range_:
            yield facts.problem(
                at, f"{text} holds {whose} address {address}", "leave that address out of the range"
            )
    for address in network.dns:
        if address in range_ and address not in (network.gateway, network.address or own):
            yield facts.problem(
                at, f"{text} holds the name server {address}", "leave that address out of the range"
            )


def _overlaps(facts: Facts) -> Iterator[Problem]:
    """Subnets that share addresses where a packet could belong to both."""
    networks = facts.root.networks
    for index, network in enumerate(networks):
        for earlier in networks[:index]:
            same_link = network.interface == earlier.interface or network.relayed or earlier.relayed
            if same_link and network.name != earlier.name and network.subnet.overlaps(earlier.subnet):
                what = f"{network.subnet} overlaps {earlier.subnet} of network {earlier.name}"
                yield facts.problem(
                    ("networks", index, "subnet"), what, "write subnets apart from each other"
                )


def _unknown(facts: Facts, path: RawPath, kind: str, name: str | None) -> Iterator[Problem]:
    known = facts.names(kind)
    if name is None:
        which = f"one of {', '.join(known)}" if known else f"one, and declare it under {kind}"
        yield facts.problem(
            path, f"none is named, and there is not exactly one under {kind}", f"write {which}"
        )
    elif name not in known:
        listed = f"declared are {', '.join(known)}" if known else f"nothing stands under {kind}"
        yield facts.problem(path, f"there is no {shown(name)} under {kind}", f"declare it there; {listed}")


def _tag_references(facts: Facts, path: RawPath, tags: Iterable[str]) -> Iterator[Problem]:
    for index, tag in enumerate(tags):
        yield from _unknown(facts, (*path, "tags", index), "tags", tag)


def _clusters(facts: Facts) -> Iterator[Problem]:
    for index, cluster in enumerate(facts.root.clusters):
        at: RawPath = ("clusters", index)
        yield from _tag_references(facts, at, cluster.tags)
        if cluster.join.model_fields_set and not facts.wrote("clusters", cluster.name, "join", "method"):
            what = "a join without a method does not join"
            remedy = "write method: kubeadm, or method: none to boot without joining"
            yield facts.problem((*at, "join"), what, remedy)
        if cluster.join.method == "kubeadm":
            yield from _kubeadm(facts, cluster, (*at, "join"))


def _kubeadm(facts: Facts, cluster: schema.Cluster, at: RawPath) -> Iterator[Problem]:
    """What kubeadm needs, and the binding that is the default but not there yet."""
    if not facts.wrote("clusters", cluster.name, "join", "kubeconfig"):
        what = "kubeadm needs a kubeconfig: with it we make each boot's credential"
        yield facts.problem(at, what, "write kubeconfig: /etc/netboot/clusters/NAME.kubeconfig")
    said = facts.wrote("clusters", cluster.name, "join", "bind")
    if said and "bind" not in cluster.join.model_fields_set:
        return  # its value was refused already
    if cluster.join.bind == "node":
        words = "bind: node" if said else "bind: node, the default,"
        what = f"{words} is not there yet: a credential would not be tied to its own node"
        remedy = "write bind: cluster where a booting node may be trusted not to claim another node's name"
        yield facts.problem((*at, "bind"), what, remedy)


def _pools(facts: Facts) -> Iterator[Problem]:
    for index, pool in enumerate(facts.root.pools):
        at: RawPath = ("pools", index)
        yield from _unknown(facts, (*at, "cluster"), "clusters", pool.cluster)
        yield from _unknown(facts, (*at, "network"), "networks", pool.network)
        yield from _tag_references(facts, at, pool.tags)


def _catch_alls(facts: Facts) -> Iterator[Problem]:
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
        if _leases_nothing(facts, pool.network):
            what = f"network {pool.network} has no range: unknown machines would get no address"
            yield facts.problem(at, what, f"give network {pool.network} a range")


def _collide(one: str, other: str) -> bool:
    """Whether two patterns of names can make the same name of different MACs."""
    slots = [pattern.replace("{mac}", "\0" * 12) for pattern in (one, other)]
    both = list(zip(*slots, strict=False))
    fits = all(a == b or (a == "\0" and b in _HEX) or (b == "\0" and a in _HEX) for a, b in both)
    return len(slots[0]) == len(slots[1]) and fits


_HEX = frozenset("0123456789abcdef")


def _leases_nothing(facts: Facts, name: str) -> bool:
    """Whether we should lease there and can not: without a range, and no other server does."""
    known = any(n.name == name and n.mode == "server" for n in facts.root.networks)
    return known and not facts.wrote("networks", name, "range")


def _tags(facts: Facts) -> Iterator[Problem]:
    """Files and units that one tag would write to the same place."""
    for name, tag in facts.root.tags.items():
        for unit in tag.units:
            path = f"/etc/systemd/system/{unit}"
            if path in tag.files:
                what = f"the unit {unit} is written by units too"
                yield facts.problem(("tags", name, "files", path), what, "keep one of the two")


def _node_references(facts: Facts) -> Iterator[Problem]:
    known = {*facts.names("tags"), "all"}
    for declared in facts.nodes:
        for tag in declared.node.tags:
            if tag not in known:
                what = f"there is no {shown(tag)} under tags"
                yield declared.problem(
                    what, f"declare it there; declared are {', '.join(facts.names('tags'))}"
                )


def _quirks(facts: Facts) -> Iterator[Problem]:
    """A quirk that a node names and switches off at once."""
    for declared in facts.nodes:
        named = declared.node.boot.quirks
        for name in named:
            if f"no-{name}" in named:
                what = f"boot.quirks asks for {name} and for no-{name}"
                yield declared.problem(what, "keep the one that its firmware needs")


def _identities(facts: Facts) -> Iterator[Problem]:
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


def _addresses(facts: Facts) -> Iterator[Problem]:
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
            if not network.range and _leases_nothing(facts, network.name):
                what = f"it has no address, and network {network.name} has no range to take one from"
                yield declared.problem(what, "write its address")
            continue
        yield from _address(declared, node.address, network, own)


def _pattern(node_name: str) -> re.Pattern[str]:
    return re.compile(re.escape(node_name).replace(re.escape("{mac}"), "([0-9a-f]{12})"))


def _address(
    declared: Declared, address: IPv4Address, network: schema.Network, own: IPv4Address | None
) -> Iterator[Problem]:
    if not _usable(network, address):
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


_CHECKS = (
    _api,
    _interfaces,
    _networks,
    _overlaps,
    _clusters,
    _pools,
    _catch_alls,
    _tags,
    _node_references,
    _quirks,
    _identities,
    _addresses,
)
