"""What `networks` say: interfaces, ranges, times, subnets."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from itertools import pairwise

from netboot.config import schema
from netboot.config.checks.facts import Facts, usable
from netboot.config.keys import RawPath
from netboot.config.problems import Problem
from netboot.model.inventory import AddressRange


def interfaces(facts: Facts) -> Iterator[Problem]:
    """Each network is on an interface that is listened on, or behind a relay agent."""
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


def contradictions(facts: Facts) -> Iterator[Problem]:
    """Times, gateway, own address and ranges of one network."""
    for index, network in enumerate(facts.root.networks):
        at: RawPath = ("networks", index)
        yield from _times(facts, network, at)
        if network.gateway and not usable(network, network.gateway):
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
    if not (usable(network, range_.first) and usable(network, range_.last)):
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


def overlaps(facts: Facts) -> Iterator[Problem]:
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
