"""What the operator declared, as the program sees it, and whose machine a MAC is.

`netboot.config` translates the operator's file into one immutable `Inventory`; a reload swaps the
whole snapshot. `Inventory.match` is the one place that decides what a machine belongs to.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from netboot.model.boot import Kept
from netboot.model.machine import Client, Mac, other_order
from netboot.model.manners import UNLIMITED, Admit, Limits, Rate
from netboot.model.placement import Placement
from netboot.model.settings import Settings, merge

INFINITE = float("inf")
_NO_SETTINGS = Settings()

OptionValue = int | str | tuple[int | str, ...]
"""A DHCP option as the operator wrote it; `dhcp.options` turns it into bytes by the option's type."""

Options = Mapping[int, OptionValue]
"""DHCP options by code; a str `hex:...` is raw bytes."""

RelayKey = tuple[str, bytes | None, bytes | None]
"""A place behind a relay agent: the network's name, circuit id, remote id (option 82)."""


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
    """`server`: we lease addresses. `proxy`: another DHCP server does, we add what to boot."""
    ranges: tuple[AddressRange, ...] = ()
    lease: float = 12 * 3600.0
    renew: float | None = None
    rebind: float | None = None
    boot_lease: float = 300.0
    gateway: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    domain: str | None = None
    relays: tuple[IPv4Address, ...] = ()
    admit: Admit | None = None
    """None: everybody is answered."""
    limits: Limits | None = None
    """None: without limits."""
    options: Options = field(default_factory=dict)

    @property
    def proxy(self) -> bool:
        """Whether another DHCP server gives the addresses."""
        return self.mode == "proxy"

    def has_host(self, address: IPv4Address) -> bool:
        """Whether one machine may be at the address: in the subnet, and not everybody's there."""
        subnet = self.subnet
        return address in subnet and (
            subnet.prefixlen > 30 or address not in (subnet.network_address, subnet.broadcast_address)
        )


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """How the nodes of one cluster join it."""

    method: str = "none"
    kubeconfig: Path | None = None
    bind: str = "node"
    token_ttl: float = 900.0
    discovery: str = "token"
    role: str = "worker"
    """`worker` or `control-plane`."""
    cri_socket: str = "unix:///run/containerd/containerd.sock"
    ignore_preflight: tuple[str, ...] = ()
    certificate_key_file: Path | None = None
    """The key that `kubeadm init phase upload-certs` told, for `role: control-plane`."""
    max_nodes: float = INFINITE
    """How many Node objects the cluster may have before machines that nobody declared are turned away."""
    ca_certificate: Path | None = None
    ca_key_file: Path | None = None
    """Of join method `static`: what signs, or `directory` with what is signed already."""
    directory: Path | None = None

    @property
    def has_api(self) -> bool:
        """Whether there is a Kubernetes API that we may ask; a pod's own account needs no kubeconfig."""
        return self.method != "none" and (self.method != "static" or self.kubeconfig is not None)


@dataclass(frozen=True, slots=True)
class NodeActions:
    """What we may do to Node objects, each by its own switch."""

    labels: bool = False
    taints: bool = False
    cordon: bool = False
    drain: bool = False
    mark_unknown: bool = True
    """Set the Node object of a machine that came back to Unknown, so that it joins at once."""
    delete: bool = False


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
    node_actions: NodeActions = NodeActions()
    approves_serving: bool = False
    """Whether kubelets' serving certificates that fit the inventory are approved."""


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
    claims: Rate = UNLIMITED
    """Boots of this pool whose claims are admitted."""
    admission: str = "automatic"
    """`automatic`, or `approval`: an operator lets each machine that nobody declared join."""


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
    placed: Placement | None = None
    """What it was assigned at run time (`overlay`), None while it is as the file declares it."""

    @property
    def holder(self) -> str:
        """What its lease is held under, whatever name it was assigned: the declared name, else its MAC."""
        return self.placed.machine if self.placed is not None else self.name

    @property
    def present_pool(self) -> str:
        """The pool that it is in now: of its run-time assignment, else the one that it is declared in."""
        return self.placed.pool if self.placed is not None and self.placed.pool is not None else self.pool

    @property
    def declared(self) -> bool:
        """Whether the operator's file names it; else only a run-time assignment makes it a node."""
        return self.placed is None or self.placed.home is None

    @property
    def known_further(self) -> bool:
        """Whether something beside its MACs identifies it, so that a card not listed may be its own, too."""
        return bool(self.uuid or self.client_id or self.circuit_id or self.remote_id)


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
    known_by: str = "MAC"
    """Which of a declared node's identities fitted: `MAC`, `UUID`, `client identifier`, `relay agent`,
    or `lease` for a card that DHCP knew by another one before."""

    @property
    def address(self) -> IPv4Address | None:
        """The reserved address, None where one comes from the network's ranges."""
        return self.node.address if self.node else None


@dataclass(frozen=True, slots=True)
class NoMatch:
    """A machine that is left alone, and the reason an operator is told."""

    reason: str


Indexes = dict[str, dict[Any, Node]]
"""The nodes by what they are looked up by."""

_INDEXES = ("by_mac", "by_uuid", "by_client_id", "by_relay", "by_name", "reserved")
_INDEXED_AT_ONCE = 500


@dataclass(frozen=True)
class Inventory:
    """Everything that was declared: one immutable snapshot."""

    networks: Mapping[str, Network]
    clusters: Mapping[str, Cluster]
    pools: Mapping[str, Pool]
    nodes: tuple[Node, ...]
    tags: Mapping[str, Tag] = field(default_factory=dict)
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By image name: base URLs that nodes ask for its root before us."""

    @cached_property
    def by_mac(self) -> Mapping[Mac, Node]:
        """Each declared MAC's node."""
        return {mac: node for node in self.nodes for mac in node.macs}

    @cached_property
    def by_uuid(self) -> Mapping[str, Node]:
        """Each declared UUID's node, in the byte order that the operator wrote."""
        return {node.uuid: node for node in self.nodes if node.uuid}

    @cached_property
    def by_client_id(self) -> Mapping[bytes, Node]:
        """Each declared client identifier's node."""
        return {node.client_id: node for node in self.nodes if node.client_id}

    @cached_property
    def by_relay(self) -> Mapping[RelayKey, Node]:
        """Each declared place at a relay agent's switch: network, circuit id, remote id, None for any."""
        return {
            (self.pools[node.pool].network, node.circuit_id, node.remote_id): node
            for node in self.nodes
            if node.circuit_id or node.remote_id
        }

    @cached_property
    def known_further(self) -> bool:
        """Whether some node is known by more than its MACs."""
        return bool(self.by_uuid or self.by_client_id or self.by_relay)

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
        for _ in self.indexing():
            pass

    def indexing(self) -> Iterator[None]:
        """As `index`, in steps of a millisecond or so, between which others may have their turn."""
        made: Indexes = {name: {} for name in _INDEXES}
        for at in range(0, len(self.nodes), _INDEXED_AT_ONCE):
            part = replace(self, nodes=self.nodes[at : at + _INDEXED_AT_ONCE])
            for name, index in made.items():
                index.update(getattr(part, name))
            yield
        vars(self).update(made)

    def indexes(self) -> Indexes:
        """Copies of all indexes."""
        return {name: dict(getattr(self, name)) for name in _INDEXES}

    def entries_of(self, node: Node) -> Indexes:
        """What one node puts into each index."""
        return replace(self, nodes=(node,)).indexes()

    def sharing(self, nodes: tuple[Node, ...], indexes: Indexes) -> Inventory:
        """A snapshot with other nodes, whose indexes are given; what is merged of tags is shared with it."""
        other = replace(self, nodes=nodes)
        vars(other).update(indexes, _bundles=self._bundles)
        return other

    @cached_property
    def _catch_all(self) -> Mapping[str, Pool]:
        return {pool.network: pool for pool in self.pools.values() if pool.catch_all}

    def network_of(
        self,
        *,
        interface: str | None,
        giaddr: IPv4Address | None,
        link: IPv4Address | None = None,
        subnet: IPv4Address | None = None,
    ) -> tuple[Network, ...]:
        """The networks that a packet may belong to: the relay's subnet, else those of its interface.

        `link` (RFC 3527) names another subnet than giaddr's and counts where that network lists the relay
        agent; `subnet` (RFC 3011) only chooses among the networks that are possible without it.
        """
        every = self.networks.values()
        if giaddr is None:
            found = tuple(n for n in every if n.interface and n.interface == interface)
        else:
            behind = tuple(n for n in every if link is not None and link in n.subnet and giaddr in n.relays)
            found = behind or tuple(n for n in every if n.has_host(giaddr))
        chosen = tuple(n for n in found if subnet is not None and subnet in n.subnet)
        return chosen or found

    def match(
        self, client: Client, networks: Iterable[Network], *, held_as: str = ""
    ) -> Assignment | NoMatch:
        """Whose machine this is, seen from the networks that its packet arrived on.

        In this order: MAC, UUID (in either byte order), client identifier, relay agent's ids, and at last
        `held_as`, the node under whose name DHCP leases to this card already: a running system does not say
        the UUID that its firmware said.
        """
        candidates = tuple(networks)
        node, by = self._identify(client, candidates, held_as)
        for network in candidates:
            if node and self.pools[node.pool].network == network.name:
                return self.assign(node, by)
        if node:
            where = ", ".join(n.name for n in candidates) or "no network of ours"
            declared = self.pools[node.pool].network
            which = "" if by == "MAC" else f", known by its {by},"
            return NoMatch(f"{node.name}{which} is declared in network {declared}, but asks from {where}")
        if not candidates:
            return NoMatch("declared in no pool, and asks from no network of ours")
        for network in candidates:
            if pool := self._catch_all.get(network.name):
                return self.catch(client.mac, pool)
        return NoMatch("declared in no pool, and its network has no catch-all pool")

    def _identify(
        self, client: Client, networks: tuple[Network, ...], held_as: str
    ) -> tuple[Node | None, str]:
        if node := self.by_mac.get(client.mac):
            return node, "MAC"
        if not self.known_further:
            return None, ""
        uuid = client.uuid
        if uuid and (node := self.by_uuid.get(uuid) or self.by_uuid.get(other_order(uuid))):
            return node, "UUID"
        if client.client_id and (node := self.by_client_id.get(client.client_id)):
            return node, "client identifier"
        if node := self._behind_relay(client, networks):
            return node, "relay agent"
        node = self.by_name.get(held_as)
        return (node, "lease") if node and node.known_further else (None, "")

    def _behind_relay(self, client: Client, networks: tuple[Network, ...]) -> Node | None:
        """The node at this place of a relay agent's switch, where the network believes that agent."""
        circuit, remote = client.circuit_id, client.remote_id
        for network in networks:
            if client.giaddr in network.relays:
                for key in ((circuit, remote), (circuit, None), (None, remote)):
                    if key != (None, None) and (node := self.by_relay.get((network.name, *key))):
                        return node
        return None

    def named_by(self, client: Client) -> Node | None:
        """The node whose UUID or client identifier this machine says, whichever node its card is of."""
        uuid, said = client.uuid, client.client_id
        node = (self.by_uuid.get(uuid) or self.by_uuid.get(other_order(uuid))) if uuid else None
        return node or (self.by_client_id.get(said) if said else None)

    def assign(self, node: Node, known_by: str = "MAC") -> Assignment:
        """What a node belongs to: as declared, or as it was assigned at run time."""
        how = "" if known_by == "MAC" else f", known by its {known_by}"
        home, placed = self.pools[node.pool], node.placed
        declared = f"declared in pool {home.name}" if node.declared else f"undeclared: from pool {home.name}"
        if placed is None:
            return self._assignment(node.name, home, None, node, f"{declared}{how}", known_by)
        reason = f"assigned to {placed.target} at run time ({declared}){how}"
        pool = self.pools[placed.pool] if placed.pool is not None else home
        return self._assignment(node.name, pool, placed.cluster, node, reason, known_by)

    def as_claimed(self, found: Assignment, kept: Kept) -> Assignment:
        """What a boot belonged to when it was claimed, whatever its machine was assigned to since.

        Raises LookupError where that cluster or pool is not declared any more.
        """
        node = replace(found.node, tags=kept.tags) if found.node is not None else None
        pool = self.pools[kept.pool]
        return self._assignment(kept.node, pool, kept.cluster, node, found.reason, found.known_by)

    def catch(self, mac: Mac, pool: Pool) -> Assignment:
        """What an undeclared machine belongs to: the catch-all pool, under a name made of its MAC."""
        name = self.free_name(mac, pool)
        return self._assignment(name, pool, None, None, f"undeclared: catch-all pool {pool.name}")

    def free_name(self, mac: Mac, pool: Pool) -> str:
        """By the pool's template; by another one where a declared node has that very name already."""
        templates = itertools.chain(
            (pool.node_name, "node-{mac}"), map("node-{{mac}}-{}".format, itertools.count(2))
        )
        names = (template.replace("{mac}", mac.digits) for template in templates)
        return next(name for name in names if name not in self.by_name)

    def _assignment(
        self,
        name: str,
        pool: Pool,
        instead: str | None,
        node: Node | None,
        reason: str,
        known_by: str = "MAC",
    ) -> Assignment:
        """`instead` names a cluster in place of the pool's own: then the pool's image counts for nothing."""
        cluster = self.clusters[pool.cluster if instead is None else instead]
        network = self.networks[(self.pools[node.pool] if node else pool).network]
        settings, options = self._bundle(pool, cluster, network, node.tags if node else ())
        if node and node.options:
            options = {**options, **node.options}
        if node and node.settings != Settings():
            settings = merge([settings, node.settings])
        of_pool = pool.image if cluster.name == pool.cluster else None
        return Assignment(
            name=name,
            pool=pool,
            cluster=cluster,
            network=network,
            node=node,
            image=(node.image if node else None) or of_pool or cluster.image,
            settings=settings,
            options=options,
            reason=reason,
            known_by=known_by,
        )

    def _bundle(
        self, pool: Pool, cluster: Cluster, network: Network, node_tags: tuple[str, ...]
    ) -> tuple[Settings, Options]:
        """Settings and DHCP options of the machines with these tags, merged once and shared by them."""
        key = (pool.name, cluster.name, network.name, node_tags)
        if key not in self._bundles:
            # strongest last: network < all < cluster's < pool's < node's tags < the node itself
            names = ("all", *cluster.tags, *pool.tags, *node_tags)
            tags = [tag for name in names if (tag := self.tags.get(name))]
            options = dict(network.options)
            for tag in tags:
                options.update(tag.dhcp_options)
            self._bundles[key] = merge([tag.settings for tag in tags]), options
        return self._bundles[key]

    @cached_property
    def _bundles(self) -> dict[tuple[str, str, str, tuple[str, ...]], tuple[Settings, Options]]:
        return {}
