"""Simulated clients say what real ones say."""

from __future__ import annotations

from ipaddress import IPv4Address
from uuid import UUID

import pytest
from scapy.all import BOOTP, DHCP  # type: ignore[attr-defined]

from netboot.boot.explain import ARCHITECTURES
from netboot.dhcp.options import client_of
from netboot.dhcp.wire import Kind, decode, encode
from netboot.model.machine import Mac, Speaker
from netboot.probe.clients import (
    GUISES,
    Machine,
    ask_boot_server,
    discover,
    discovery_control,
    release,
    request,
)
from tests.captures import CAPTURES, requests
from tests.dhcp.world import message

MAC, UUID_ = Mac("02:11:22:33:44:55"), UUID("4c4c4544-0042-3510-8054-b4c04f564232")


def machine(guise: str = "uefi", giaddr: str | None = None) -> Machine:
    """A simulated machine."""
    return Machine(GUISES[guise], MAC, UUID_, IPv4Address(giaddr) if giaddr else None)


@pytest.mark.parametrize("guise", ["uefi", "uefi-http", "ipxe"])
def test_a_discover_is_that_of_the_captured_client(guise: str) -> None:
    """The same options, classes, architecture, flags and wishes; only MAC and UUID are its own."""
    ours = discover(machine(guise), 7)
    said = (client_of(ours).speaker, client_of(ours).arch)
    discovers = (p for c in CAPTURES for p in requests(c) if p.kind is Kind.DISCOVER)
    real = next(p for p in discovers if (client_of(p).speaker, client_of(p).arch) == said)
    own = {61, 97}
    assert {c: v for c, v in ours.options.items() if c not in own} == {
        c: v for c, v in real.options.items() if c not in own
    }
    assert set(ours.options) == set(real.options) and ours.flags == real.flags


@pytest.mark.parametrize("guise", sorted(set(GUISES) - {"relayed", "system"}))
def test_each_guise_is_taken_for_what_it_is(guise: str) -> None:
    """By the reading of our own server, and well formed for scapy."""
    said = client_of(discover(machine(guise), 7))
    assert (said.speaker, said.arch) == ARCHITECTURES[guise] and said.uuid == str(UUID_)
    theirs = BOOTP(encode(discover(machine(guise), 7)))
    assert ("message-type", 1) in theirs[DHCP].options


def test_a_system_has_no_firmware_and_a_relayed_client_its_relays_address() -> None:
    """Option 82 comes with giaddr, and with nothing else."""
    system = client_of(discover(machine("system"), 7))
    assert system.speaker is Speaker.SYSTEM and system.uuid is None
    relayed = discover(machine("relayed", "10.0.0.2"), 7)
    assert (relayed.giaddr, relayed.hops) == (int(IPv4Address("10.0.0.2")), 1) and 82 in relayed.options
    assert 82 not in discover(machine("uefi"), 7).options


def test_request_and_release_name_server_and_address() -> None:
    """As RFC 2131 table 5 has them."""
    server, address = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.9")
    taking = decode(encode(request(machine(), 7, address, server)))
    assert (taking.kind, taking.options[54], taking.options[50]) == (
        Kind.REQUEST,
        server.packed,
        address.packed,
    )
    giving = decode(encode(release(machine("ipxe", "10.0.0.2"), 7, address, server)))
    assert (giving.kind, giving.ciaddr, giving.giaddr) == (Kind.RELEASE, int(address), 0)
    assert set(giving.options) == {53, 54, 61, 97}
    assert ask_boot_server(machine(), 7).kind is Kind.REQUEST


def test_discovery_control_is_read_from_option_43() -> None:
    """Sub-option 6; junk is none."""
    for raw, control in ((b"\6\1\x08\xff", 8), (b"\6\2\x08\0", None), (b"", None), (b"\6", None)):
        assert discovery_control(message(MAC, Kind.OFFER, {43: raw})) == control
