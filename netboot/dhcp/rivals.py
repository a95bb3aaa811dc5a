"""Other DHCP servers, as what passes by tells of them: which of them should not be there, and what to do.

Nothing is ever sent because of what is seen: a forged reply must not make us act. Where another server gives
the addresses (mode proxy) one is expected, the first that is seen; a second one is not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.dhcp.wire import Kind
from netboot.model.inventory import Network
from netboot.model.machine import Mac

REPORT_AGAIN = 3600.0
"""Seconds until a server that goes on answering is worth another report."""

MOST = 256
"""Servers that are remembered; the one unseen for longest is forgotten."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A reply of another server that passed by, or a client's REQUEST to it."""

    place: str
    """Our interface, or the relay agent through which the client came."""
    server: IPv4Address
    """Its identifier (option 54), else where its reply came from."""
    card: Mac | None
    """Whose frame its reply was; None where only the client's REQUEST was seen."""
    kind: Kind
    """OFFER, ACK or NAK; REQUEST for a client's word."""
    client: Mac
    address: IPv4Address | None
    """What the client was given, or asked for."""

    @property
    def boot_only(self) -> bool:
        """Whether it came from a server as we are in mode proxy: what to boot, and no address."""
        return self.kind is Kind.OFFER and self.address is None


@dataclass(frozen=True, slots=True)
class Server:
    """Another DHCP server at a place."""

    first: Sighting
    last: Sighting
    card: Mac | None
    since: float
    at: float
    seen: int
    expected: bool
    """It gives the addresses of a network in mode proxy."""
    reported: float
    """When an operator was told of it."""


class Rivals:
    """The other servers that are known now."""

    def __init__(self) -> None:
        self._servers: OrderedDict[tuple[str, IPv4Address], Server] = OrderedDict()

    @property
    def servers(self) -> tuple[Server, ...]:
        """All that are remembered, the last seen last."""
        return tuple(self._servers.values())

    def note(self, sighting: Sighting, networks: Iterable[Network], now: float) -> str:
        """Remember a sighting at the place of these networks; what to tell an operator now, mostly none."""
        key = (sighting.place, sighting.server)
        known = self._servers.get(key)
        found = tuple(networks)
        proxied = _proxied(found, sighting)
        one = self._expected_at(sighting.place, now)
        expected = proxied is not None and (one is None or one.last.server == sighting.server)
        card = sighting.card or (known.card if known else None)
        first, since, seen = (known.first, known.since, known.seen) if known else (sighting, now, 0)
        reported = known.reported if known else -REPORT_AGAIN
        text = ""
        if not expected and now - reported >= REPORT_AGAIN:
            text = _report(sighting, card, found, proxied, one)
            reported = now
        self._servers[key] = Server(first, sighting, card, since, now, seen + 1, expected, reported)
        self._servers.move_to_end(key)
        if len(self._servers) > MOST:
            self._servers.popitem(last=False)
        return text

    def _expected_at(self, place: str, now: float) -> Server | None:
        """The server that gives the addresses there: the first that was seen, while it is heard of."""
        return next(
            (
                server
                for server in self._servers.values()
                if server.expected and server.last.place == place and now - server.at <= REPORT_AGAIN
            ),
            None,
        )


def _proxied(networks: tuple[Network, ...], sighting: Sighting) -> Network | None:
    """The network in mode proxy that the other server may be speaking for."""
    if sighting.boot_only:
        return None
    proxies = [network for network in networks if network.proxy]
    inside = (n for n in proxies if sighting.address is not None and sighting.address in n.subnet)
    if found := next(inside, None):
        return found
    whole = len(proxies) == len(networks)
    return proxies[0] if proxies and (whole or sighting.address is None) else None


_DID = {
    Kind.OFFER: "it offered {address} to {client}",
    Kind.ACK: "it gave {address} to {client}",
    Kind.NAK: "it refused an address to {client}",
    Kind.REQUEST: "{client} takes {address} from it",
}


def _report(
    seen: Sighting,
    card: Mac | None,
    networks: tuple[Network, ...],
    proxied: Network | None,
    one: Server | None,
) -> str:
    """What is there, what it does, and what an operator can do about it."""
    who = f"{seen.server} ({card})" if card else str(seen.server)
    if seen.boot_only:
        what = f"another boot server (proxyDHCP), {who}, answers on {seen.place}: it told {seen.client}"
        return f"{what} what to boot. Firmware takes whichever it likes: stop the other, or ours there"
    did = _DID[seen.kind].format(address=seen.address or "options", client=seen.client)
    if proxied is not None and one is not None:
        what = f"two DHCP servers answer on {seen.place}: {one.last.server} and {who}; {did}"
        remedy = f"network {proxied.name} (mode proxy) expects one: find the other by its MAC on the switch"
        return f"{what}. {remedy}, and stop it"
    names = [n.name for n in networks if not n.proxy] or ["none of ours"]
    where = f"{seen.place} (network{'s' if len(names) > 1 else ''} {', '.join(names)})"
    what = f"another DHCP server, {who}, answers on {where}; {did}"
    remedy = "Machines take whichever answers first: find it by its MAC on the switch and stop it"
    return f"{what}. {remedy}, or write mode: proxy where it shall give the addresses"
