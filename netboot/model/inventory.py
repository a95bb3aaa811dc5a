"""What the operator declared, as the program sees it, and whose machine a MAC is.

`netboot.config` translates the operator's file into one immutable `Inventory`; a reload swaps the
whole snapshot. `Inventory.match` is the one place that decides what a machine belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from netboot.model.machine import Client, Mac
from netboot.model.settings import Settings, merge

INFINITE = float("inf")
_NO_SETTINGS = Settings()

OptionValue = int | str | tuple[int | str, ...]
"""A DHCP option as the operator wrote it; `dhcp.options` turns it into bytes by the option's type."""

Options = Mapping[int, OptionValue]
"""DHCP options by code; a str `hex:...` is raw bytes."""


@dataclass(frozen=True, slots=True)
class AddressRange:
    """First to last dynamic address, both included."""

    first: IPv4Address
    last: IPv4Address

    def __contains__(self, address: object) -> bool:
        return isinstance(address, IPv4Address) and self.first <= address <= self.last


@dataclass(frozen=True, slots=True)
class Network:
    """One subnet that we answer on. Durations are seconds; `INFINITE` where the operator says so."""

    name: str
    subnet: IPv4Network
    interface: str | None
    """None: relayed only, no interface of ours is on it."""
    address: IPv4Address | None
    """Where its nodes reach us; None until `serve` fills in the interface's own."""
    mode: str = "server"
    ranges: tuple[AddressRange, ...] = ()
    lease: float = 12 * 3600.0
    renew: float | None = None
    rebind: float | None = None
    boot_lease: float = 300.0
    gateway: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    domain: str | None = None
    relays: tuple[IPv4Address, ...] = ()
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """How the nodes of one cluster join it."""

    method: str = "none"
    kubeconfig: Path | None = None
    bind: str = "node"
    token_ttl: float = 900.0
    discovery: str = "token"
    role: str = "worker"
    cri_socket: str = "unix:///run/containerd/containerd.sock"
    ignore_preflight: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Kubernetes cluster that machines join."""

    name: str
    endpoint: str
    """host:port, IPv6 in brackets."""
    image: str | None = None
    """NAME, or NAME@sha256:HEX for one generation."""
    tags: tuple[str, ...] = ()
    join: JoinSettings = JoinSettings()
    mark_unknown: bool = True
    """Whether the Node object of a machine that came back may be set to Unknown, so that it joins at once."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Machines that share a cluster, a network and tags."""

    name: str
    cluster: str
    network: str
    tags: tuple[str, ...] = ()
    image: str | None = None
    priority: int = 0
    catch_all: bool = False
    node_name: str = "node-{mac}"


@dataclass(frozen=True, slots=True)
class BootOverride:
    """What one node's firmware is told where the firmware table is wrong for it."""

    program: str | None = None
    quirks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A declared machine."""

    name: str
    pool: str
    macs: tuple[Mac, ...]
    address: IPv4Address | None = None
    tags: tuple[str, ...] = ()
    image: str | None = None
    uuid: str | None = None
    client_id: bytes | None = None
    circuit_id: bytes | None = None
    remote_id: bytes | None = None
    options: Options = field(default_factory=dict)
    boot: BootOverride = BootOverride()
    settings: Settings = _NO_SETTINGS


@dataclass(frozen=True, slots=True)
class Tag:
    """A named bundle of settings and DHCP options."""

    name: str
    settings: Settings = _NO_SETTINGS
    dhcp_options: Options = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which cluster and pool a machine belongs to, under which name, and why."""

    name: str
    pool: Pool
    cluster: Cluster
    network: Network
    node: Node | None
    """None for a machine that nobody declared."""
    image: str | None
    settings: Settings
    options: Options
    """DHCP options, merged by the precedence of the operator's contract (without boot options)."""
    reason: str
    """In the operator's words: `declared in pool compute`, `undeclared: catch-all pool unknown`."""

    @property
    def address(self) -> IPv4Address | None:
        """The reserved address, None where one comes from the network's ranges."""
        return self.node.address if self.node else None


@dataclass(frozen=True, slots=True)
class NoMatch:
    """A machine that is left alone, and the reason an operator is told."""

    reason: str


@dataclass(frozen=True)
class Inventory:
    """Everything that was declared: one immutable snapshot."""

    networks: Mapping[str, Network]
    clusters: Mapping[str, Cluster]
    pools: Mapping[str, Pool]
    nodes: tuple[Node, ...]
    tags: Mapping[str, Tag] = field(default_factory=dict)

    @cached_property
    def by_mac(self) -> Mapping[Mac, Node]:
        """Each declared MAC's node."""
        return {mac: node for node in self.nodes for mac in node.macs}

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Each declared node by its name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def reserved(self) -> Mapping[IPv4Address, Node]:
        """Each reserved address's node."""
        return {node.address: node for node in self.nodes if node.address}

    def index(self) -> None:
        """Build all indexes now, so that no packet waits for them."""
        for name in ("by_mac", "by_name", "reserved", "_catch_all"):
            getattr(self, name)

    @cached_property
    def _catch_all(self) -> Mapping[str, Pool]:
        return {pool.network: pool for pool in self.pools.values() if pool.catch_all}

    def network_of(self, *, interface: str | None, giaddr: IPv4Address | None) -> tuple[Network, ...]:
        """The networks that a packet may belong to: the relay's subnet, else those of its interface."""
        if giaddr is not None:
            return tuple(n for n in self.networks.values() if giaddr in n.subnet)
        return tuple(n for n in self.networks.values() if n.interface and n.interface == interface)

    def match(self, client: Client, networks: Iterable[Network]) -> Assignment | NoMatch:
        """Whose machine this is, seen from the networks that its packet arrived on. MAC first."""
        node = self.by_mac.get(client.mac)
        candidates = tuple(networks)
        for network in candidates:
            if node and self.pools[node.pool].network == network.name:
                return self.assign(node)
        if node:
            where = ", ".join(n.name for n in candidates) or "no network of ours"
            declared = self.pools[node.pool].network
            return NoMatch(f"{node.name} is declared in network {declared}, but asks from {where}")
        if not candidates:
            return NoMatch("declared in no pool, and asks from no network of ours")
        for network in candidates:
            if pool := self._catch_all.get(network.name):
                return self.catch(client.mac, pool)
        return NoMatch("declared in no pool, and its network has no catch-all pool")

    def assign(self, node: Node) -> Assignment:
        """What a declared node belongs to."""
        pool = self.pools[node.pool]
        return self._assignment(node.name, pool, node, f"declared in pool {pool.name}")

    def catch(self, mac: Mac, pool: Pool) -> Assignment:
        """What an undeclared machine belongs to: the catch-all pool, under a name made of its MAC."""
        name = pool.node_name.replace("{mac}", mac.digits)
        return self._assignment(name, pool, None, f"undeclared: catch-all pool {pool.name}")

    def _assignment(self, name: str, pool: Pool, node: Node | None, reason: str) -> Assignment:
        cluster = self.clusters[pool.cluster]
        network = self.networks[pool.network]
        settings, options = self._bundle(pool, node.tags if node else ())
        if node and node.options:
            options = {**options, **node.options}
        if node and node.settings != Settings():
            settings = merge([settings, node.settings])
        return Assignment(
            name=name,
            pool=pool,
            cluster=cluster,
            network=network,
            node=node,
            image=(node.image if node else None) or pool.image or cluster.image,
            settings=settings,
            options=options,
            reason=reason,
        )

    def _bundle(self, pool: Pool, node_tags: tuple[str, ...]) -> tuple[Settings, Options]:
        """Settings and DHCP options of a pool's machines with these tags, merged once and shared by them."""
        key = (pool.name, node_tags)
        if key not in self._bundles:
            # strongest last: network < all < cluster's < pool's < node's tags < the node itself
            names = ("all", *self.clusters[pool.cluster].tags, *pool.tags, *node_tags)
            tags = [tag for name in names if (tag := self.tags.get(name))]
            options = dict(self.networks[pool.network].options)
            for tag in tags:
                options.update(tag.dhcp_options)
            self._bundles[key] = merge([tag.settings for tag in tags]), options
        return self._bundles[key]

    @cached_property
    def _bundles(self) -> dict[tuple[str, tuple[str, ...]], tuple[Settings, Options]]:
        return {}
