"""Watches for other DHCP servers: replies that pass by, and what clients say that they take from them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from ipaddress import IPv4Address

from netboot.dhcp import engine
from netboot.dhcp.rivals import Rivals, Server, Sighting
from netboot.dhcp.wire import Kind, Op, Packet, decode
from netboot.errors import MalformedPacket
from netboot.events import Journal
from netboot.model.inventory import Inventory, Network
from netboot.model.machine import Client, Mac
from netboot.shadow.frame import Datagram, datagram
from netboot.shadow.pcap import Frame

_REPLIES = (Kind.OFFER, Kind.ACK, Kind.NAK)
_SOURCE = slice(6, 12)


class Watch:
    """What is known of other servers; reports each once an hour."""

    def __init__(
        self, inventory: Callable[[], Inventory], journal: Journal, clock: Callable[[], float]
    ) -> None:
        self._inventory = inventory
        self._journal = journal
        self._clock = clock
        self._rivals = Rivals()

    @property
    def servers(self) -> tuple[Server, ...]:
        """The other servers that were seen."""
        return self._rivals.servers

    def hear(self, frame: Frame, ours: Collection[int]) -> None:
        """A frame that passed by. Never raises: anybody may have made it."""
        found = datagram(frame)
        if not isinstance(found, Datagram) or found.vlans or int(found.source) in ours:
            return
        try:
            packet = decode(found.payload)
            card, client = Mac.from_bytes(frame.data[_SOURCE]), Mac.from_bytes(packet.chaddr)
        except (MalformedPacket, ValueError):
            self._journal.counters["dhcp_replies_unread"] += 1
            return
        number, kind = packet.u32(54), packet.kind
        if packet.op != Op.REPLY or kind not in _REPLIES or number in ours:
            return
        assert kind is not None
        server = IPv4Address(number) if number else found.source
        address = IPv4Address(packet.yiaddr) if packet.yiaddr else None
        here = self._inventory().network_of(interface=frame.interface, giaddr=None)
        self._note(Sighting(frame.interface, server, card, kind, client, address), here)

    def chosen(self, packet: Packet, client: Client, interface: str, ours: Collection[int]) -> None:
        """A REQUEST: whether the client takes its address from another server."""
        number = packet.u32(54)
        if not number or number in ours or number == packet.giaddr:
            return
        server = IPv4Address(number)
        if server.is_multicast or server.is_reserved or server.is_loopback:
            return  # a broken client: nobody has that address
        if server == client.server_id:
            return  # a relay agent that wants to be asked itself (RFC 5107)
        asked = engine.asked_address(packet, Kind.REQUEST)
        address = IPv4Address(asked) if asked else None
        relay = client.giaddr
        place = f"the relay agent {relay}" if relay is not None else interface
        here = self._inventory().network_of(interface=interface, giaddr=relay)
        self._note(Sighting(place, server, None, Kind.REQUEST, client.mac, address), here)

    def _note(self, sighting: Sighting, networks: Iterable[Network]) -> None:
        if text := self._rivals.note(sighting, networks, self._clock()):
            self._journal.refused("dhcp_rival", text, source=str(sighting.server))
        self._journal.counters["dhcp_replies_of_others"] += 1
