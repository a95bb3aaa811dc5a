"""Two machines that say they are one: which of them is, while it lives (architecture 4).

A node that is known by more than its MACs (UUID, client identifier, place at a relay agent) may be held by a
card that nobody listed. Then another machine may say the same: a copied UUID, a cloned client identifier.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from netboot.dhcp.profile import Profile
from netboot.model.boot import Boot
from netboot.model.inventory import Inventory, Network, Node
from netboot.model.lease import Lease
from netboot.model.machine import Client, Mac, other_order


def is_second(mac: Mac, profile: Profile, lease: Lease | None, boot: Boot | None, now: float) -> bool:
    """Whether this card is not the one that the node's lease is with, and that one lives.

    Cards that are listed together are one machine. Life: the lease runs, or the machine boots.
    """
    if lease is None or lease.mac == mac or (mac in profile.macs and lease.mac in profile.macs):
        return False
    boots = boot is not None and boot.mac == lease.mac and boot.ended is None and boot.state == "booting"
    return boots or lease.live(now)


def said_twice(mac: Mac, profile: Profile, lease: Lease) -> str:
    """What an operator is told of a second machine."""
    node, by = profile.assignment.name, profile.assignment.known_by
    return (
        f"{mac} says that it is {node} (by its {by}), but {lease.mac} is that and lives at {lease.address}; "
        f"give them identities of their own, or list all cards under macs where they are of one machine"
    )


def contradiction(client: Client, node: Node, network: Network) -> str:
    """Which declared identity of the node this machine's firmware does not have; empty for none.

    Its MAC address is enough for an address. A secret is for the machine that fits in all that was declared:
    whoever takes a MAC address over has neither its UUID nor its place. A client identifier tells nothing,
    because firmware, boot loaders and systems each send their own.
    """
    if node.uuid and client.uuid and client.uuid not in (node.uuid, other_order(node.uuid)):
        return f"its firmware's UUID is {client.uuid}, and {node.name} is declared with {node.uuid}"
    if node.circuit_id is None and node.remote_id is None:
        return ""
    if client.giaddr not in network.relays:
        return f"it asks past the listed relay agents, and {node.name} is declared behind one"
    for declared, said, what in (
        (node.circuit_id, client.circuit_id, "circuit id"),
        (node.remote_id, client.remote_id, "remote id"),
    ):
        if declared is not None and said != declared:
            place = said.hex() if said else "none"
            return f"its relay agent's {what} is {place}, and {node.name} is declared with {declared.hex()}"
    return ""


def claims_of(client: Client) -> tuple[object, ...]:
    """Everything beside its card by which a machine may be a node; see `without_claims`."""
    return client.uuid, client.client_id, client.circuit_id, client.remote_id


def without_claims(client: Client) -> Client:
    """The machine by its card alone."""
    return replace(client, uuid=None, client_id=None, circuit_id=None, remote_id=None)


class Cards:
    """Cards that nobody listed, by the node that they were found to be.

    A running system says neither the UUID nor what else its firmware said: it is known by its lease. One card
    per node, so that there are no more than nodes.
    """

    def __init__(self) -> None:
        self._nodes: dict[Mac, str] = {}
        self._cards: dict[str, Mac] = {}

    def node_of(self, mac: Mac) -> str:
        """The node that holds its lease with this card; empty for none."""
        return self._nodes.get(mac, "")

    def leased(self, mac: Mac, profile: Profile) -> None:
        """The node's lease is with this card now, and with no other."""
        node = profile.holder
        if self._cards.get(node) == mac:
            return
        if (gone := self._cards.pop(node, None)) is not None:
            self._nodes.pop(gone, None)
        if mac not in profile.macs:
            self._cards[node], self._nodes[mac] = mac, node

    def learn(self, leases: Iterable[Lease], inventory: Inventory, now: float) -> None:
        """What the leases of an earlier run of ours tell, those that still run."""
        for lease in leases:
            node = inventory.by_name.get(lease.holder)
            if node and node.known_further and lease.live(now) and lease.mac not in inventory.by_mac:
                self._cards[node.holder], self._nodes[lease.mac] = lease.mac, node.holder
