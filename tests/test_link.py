"""The kernel's filter, run as the kernel runs it, and who may listen."""

from __future__ import annotations

import struct

import pytest
from scapy.all import ARP, IP, TCP, UDP, Dot1Q, Ether, IPOption, IPv6, fragment  # type: ignore[attr-defined]

from netboot import link
from netboot.errors import StartError
from netboot.link import Ear, dhcp_filter


def passes(frame: bytes, *, tagged: bool = False) -> bool:
    """Whether classic BPF takes a frame (linux Documentation/networking/filter.rst)."""
    program = [struct.unpack_from("=HBBI", dhcp_filter(), at) for at in range(0, len(dhcp_filter()), 8)]
    at = a = x = 0
    for _ in range(len(program)):
        code, true, false, k = program[at]
        if code == link._RETURN:
            return bool(k)
        try:
            if code == link._LD_BYTE:
                a = int(tagged) if k == link._VLAN_PRESENT else frame[k]
            elif code == link._LD_HALF:
                (a,) = struct.unpack_from("!H", frame, k)
            elif code == link._LD_HALF_INDEXED:
                (a,) = struct.unpack_from("!H", frame, x + k)
            elif code == link._LDX_HEADER:
                x = 4 * (frame[k] & 15)
            else:
                holds = a == k if code == link._EQUAL else bool(a & k)
                at += true if holds else false
        except (IndexError, struct.error):
            return False
        at += 1
    raise AssertionError("the program has no end")


@pytest.mark.parametrize("ports", [(68, 67), (67, 68), (67, 67), (4011, 50000), (50000, 4011)])
def test_dhcp_passes_the_filter_either_way(ports: tuple[int, int]) -> None:
    """Client, server, relay agent and boot server; IP options shift the ports."""
    udp = UDP(sport=ports[0], dport=ports[1]) / b"dhcp"
    assert passes(bytes(Ether() / IP() / udp))
    assert passes(bytes(Ether() / IP(options=[IPOption(b"\1")] * 8) / udp))


@pytest.mark.parametrize(
    "frame",
    [
        Ether() / IP() / UDP(sport=53, dport=69) / b"x",
        Ether() / IP() / TCP(sport=67, dport=68),
        Ether() / IPv6() / UDP(sport=68, dport=67),
        Ether() / ARP(),
        Ether() / Dot1Q(vlan=5) / IP() / UDP(sport=68, dport=67),
        Ether() / fragment(IP() / UDP(sport=68, dport=67) / bytes(2000), 800)[1],
    ],
)
def test_everything_else_stays_outside(frame: Ether) -> None:
    """Other traffic, further fragments, frames of a VLAN."""
    assert not passes(bytes(frame))


def test_a_frame_of_a_vlan_is_its_own_interfaces_affair() -> None:
    """The kernel takes the tag off before the filter sees the frame, and tells that there was one."""
    assert not passes(bytes(Ether() / IP() / UDP(sport=68, dport=67)), tagged=True)


def test_an_interface_that_is_not_there_is_named() -> None:
    """With those that are."""
    with pytest.raises(StartError, match="there is no interface nic99"):
        Ear("nic99")


def test_an_ear_has_no_way_to_send() -> None:
    """Nothing of it takes a payload."""
    assert {name for name in dir(Ear) if not name.startswith("_")} == {"close", "fileno", "hear"}


def test_without_the_capability_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """CAP_NET_RAW, whoever runs this test; tests/interop/test_probe.py asks as nobody."""

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(link.socket, "socket", refused)
    monkeypatch.setattr(link, "interface", lambda name: None)
    with pytest.raises(StartError, match="CAP_NET_RAW"):
        Ear("lo")
