"""The server under arbitrary sequences of datagrams, as a Hypothesis state machine: it shrinks what it finds.

Every step goes through `House`, which checks all promises after each datagram; here machines also behave
well, so that the rules say when an answer must come, not only what it may be.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from netboot.dhcp.wire import Kind, Packet, encode
from netboot.model.machine import Mac
from tests.dhcp.world import HTTP_X64, IPXE, PXE_BIOS, SYSTEM, message
from tests.fuzz.fuzz_engine import ADDRESSES, PASSING, SERVERS
from tests.fuzz.house import CARDS, MACHINES, MOVED, NODE_M2, NODE_M3, RELAY, SERVER, STRANGERS, House

machines = st.sampled_from(MACHINES)
addresses = st.sampled_from(ADDRESSES)
speakers = st.sampled_from([SYSTEM, PXE_BIOS, HTTP_X64, IPXE])
relays = st.sampled_from([0, RELAY])
AT_HOME = {
    **{(card, 0): int(IPv4Address("10.77.0.20")) for card in CARDS},
    (NODE_M3, RELAY): int(IPv4Address("10.78.0.30")),
}
"""Declared addresses by card and relay agent: always offered, and acknowledged even without a disk."""


def packet(mac: Mac, kind: Kind, options: dict[int, bytes], giaddr: int = 0, ciaddr: int = 0) -> bytes:
    """A message as octets."""
    made: Packet = message(mac, kind, options)._replace(giaddr=giaddr, ciaddr=ciaddr)
    return encode(made)


class Rack(RuleBasedStateMachine):
    """Machines that come, stay, lie and leave, and an operator who restarts, reloads and fills the disk."""

    @initialize()
    def begin(self) -> None:
        """A server without leases."""
        self.house = House()
        self.broken = False

    @rule(mac=machines, speaker=speakers, giaddr=relays)
    def boot(self, mac: Mac, speaker: dict[int, bytes], giaddr: int) -> None:
        """DISCOVER and, where an OFFER came, the REQUEST that takes it: an ACK of that address follows.

        Only a disk that refuses may withhold it, and not from a declared address.
        """
        own = AT_HOME.get((mac, giaddr))
        offer = self.house.say(packet(mac, Kind.DISCOVER, speaker, giaddr))
        if offer is None:
            assert own is None, f"{mac} is not offered its declared address"
            return
        assert own in (None, offer.yiaddr), f"{mac} is offered another address than the declared one"
        taken = {50: offer.yiaddr.to_bytes(4, "big"), 54: offer.options[54], **speaker}
        ack = self.house.say(packet(mac, Kind.REQUEST, taken, giaddr))
        declared = own is not None or (self.house.reloaded and mac == NODE_M2 and offer.yiaddr == MOVED)
        if self.broken and not declared:
            assert ack is None, "a dynamic ACK without its claim"
            return
        assert ack is not None and (ack.kind, ack.yiaddr) == (Kind.ACK, offer.yiaddr), ack

    @rule(mac=machines)
    def renew(self, mac: Mac) -> None:
        """A holder asks to go on: while its lease runs, it is never refused, and keeps its address."""
        for address, held in list(self.house.held.items()):
            if held.mac != mac or self.house.world.now >= held.until:
                continue
            giaddr = RELAY if held.network == "far" else 0
            reply = self.house.say(packet(mac, Kind.REQUEST, SYSTEM, giaddr, address))
            if self.broken or self.house.reloaded:
                continue  # what an operator declares for somebody else is refused at the next renewal
            assert reply is not None and reply.kind is Kind.ACK and reply.yiaddr == address, reply

    @rule(mac=machines, asked=addresses, server=st.sampled_from(SERVERS), giaddr=relays)
    def grab(self, mac: Mac, asked: int, server: int, giaddr: int) -> None:
        """A REQUEST of any address, said to be offered by any server."""
        options = {50: asked.to_bytes(4, "big")}
        if server:
            options[54] = server.to_bytes(4, "big")
        self.house.say(packet(mac, Kind.REQUEST, options, giaddr))

    @rule(mac=machines, address=addresses, kind=st.sampled_from([Kind.RELEASE, Kind.DECLINE]))
    def lie(self, mac: Mac, address: int, kind: Kind) -> None:
        """A RELEASE or DECLINE of any address, by anybody: whose it is not loses nothing by it."""
        options = {54: SERVER.to_bytes(4, "big"), 50: address.to_bytes(4, "big")}
        self.house.say(packet(mac, kind, options, 0, address if kind is Kind.RELEASE else 0))

    @rule(seconds=st.sampled_from(PASSING))
    def wait(self, seconds: float) -> None:
        """Time goes on."""
        self.house.pass_time(seconds)

    @rule()
    def restart(self) -> None:
        """Power off and on: what is in the store is all that is left."""
        self.house.restart()

    @rule()
    def reload(self) -> None:
        """The operator declares an address that somebody may hold, or takes that back."""
        self.house.reload()

    @precondition(lambda self: not self.broken)
    @rule()
    def fill_disk(self) -> None:
        """Nothing can be written."""
        self.broken = True
        self.house.break_disk(True)

    @precondition(lambda self: self.broken)
    @rule()
    def heal_disk(self) -> None:
        """All can be written again."""
        self.broken = False
        self.house.break_disk(False)

    @rule(raw=st.binary(max_size=400))
    def noise(self, raw: bytes) -> None:
        """Octets."""
        self.house.say(raw)


Rack.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestRack = Rack.TestCase


def test_the_witness_sees_an_address_in_two_hands() -> None:
    """The promises are checked by somebody who can count: a store that forgets is found out at once."""
    house = House()
    first, second = STRANGERS[:2]
    offer = house.say(packet(first, Kind.DISCOVER, SYSTEM))
    assert offer is not None
    taken = {50: offer.yiaddr.to_bytes(4, "big"), 54: offer.options[54]}
    assert house.say(packet(first, Kind.REQUEST, taken)) is not None
    house.world.store.by_holder.clear()
    house.world.store.by_address.clear()
    try:
        house.say(packet(second, Kind.REQUEST, taken))
    except AssertionError as error:
        assert str(first) in str(error)
    else:
        raise AssertionError("nobody saw it")


def test_a_declared_node_without_an_address_is_served_like_any_other() -> None:
    """The crowd of the house is served as long as there are addresses, the declared ones always."""
    house = House()
    served = [house.say(packet(mac, Kind.DISCOVER, SYSTEM)) for mac in (*CARDS, NODE_M2, *STRANGERS[:3])]
    assert all(offer is not None for offer in served)
