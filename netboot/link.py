"""An ear on one interface: DHCP frames as they pass, whoever has port 67. It has no way to send.

A packet socket sees what other programs of this host send and receive, too; the kernel's filter lets only
DHCP through (UDP ports 67, 68 and 4011).
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections.abc import Iterator

from netboot.errors import StartError
from netboot.net import interface
from netboot.shadow.frame import PORTS
from netboot.shadow.pcap import Frame

ETHERNET = 1
"""The link type of what is heard."""

_ETH_P_ALL, _ETH_P_IP = 3, 0x0800
_SO_ATTACH_FILTER, _SO_LOCK_FILTER = 26, 44
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_MOST = 65536
_BUFFER = 4 * 1024 * 1024

# classic BPF (linux/filter.h): instruction codes
_LD_HALF, _LD_BYTE, _LD_HALF_INDEXED, _LDX_HEADER = 0x28, 0x30, 0x48, 0xB1
_EQUAL, _ANY_BIT, _RETURN = 0x15, 0x45, 0x06
_VLAN_PRESENT = 0xFFFFF000 + 48  # SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT

_Instruction = tuple[int, int, int, int]


def dhcp_filter() -> bytes:
    """The kernel's filter: untagged IPv4, UDP, not a further fragment, one of DHCP's ports either way.

    Frames of a VLAN are the affair of that VLAN's own interface.
    """
    tests: list[tuple[_Instruction, ...]] = [
        ((_LD_BYTE, 0, 0, _VLAN_PRESENT), (_EQUAL, 0, -1, 0)),
        ((_LD_HALF, 0, 0, 12), (_EQUAL, 0, -1, 0x0800)),
        ((_LD_BYTE, 0, 0, 23), (_EQUAL, 0, -1, socket.IPPROTO_UDP)),
        ((_LD_HALF, 0, 0, 20), (_ANY_BIT, -1, 0, 0x1FFF)),
        ((_LDX_HEADER, 0, 0, 14),),
    ]
    program = [instruction for test in tests for instruction in test]
    ports = sorted(PORTS)
    for offset in (14, 16):
        program.append((_LD_HALF_INDEXED, 0, 0, offset))
        program += [(_EQUAL, -2, 0, port) for port in ports]
    reject = len(program)
    program += [(_RETURN, 0, 0, 0), (_RETURN, 0, 0, _MOST)]
    return b"".join(_instruction(at, each, reject) for at, each in enumerate(program))


def replies_filter() -> bytes:
    """The kernel's filter: untagged IPv4, UDP, no further fragment, to DHCP's client port."""
    program: list[_Instruction] = [
        (_LD_BYTE, 0, 0, _VLAN_PRESENT),
        (_EQUAL, 0, -1, 0),
        (_LD_BYTE, 0, 0, 23),
        (_EQUAL, 0, -1, socket.IPPROTO_UDP),
        (_LD_HALF, 0, 0, 20),
        (_ANY_BIT, -1, 0, 0x1FFF),
        (_LDX_HEADER, 0, 0, 14),
        (_LD_HALF_INDEXED, 0, 0, 16),
        (_EQUAL, 1, 0, 68),
        (_RETURN, 0, 0, 0),
        (_RETURN, 0, 0, _MOST),
    ]
    reject = len(program) - 2
    return b"".join(_instruction(at, each, reject) for at, each in enumerate(program))


def _instruction(at: int, instruction: _Instruction, reject: int) -> bytes:
    """One instruction: a jump to -1 goes to the end that rejects, one to -2 to the end that takes."""
    code, true, false, value = instruction
    ends = {-1: reject - at - 1, -2: reject + 1 - at - 1}
    return struct.pack("=HBBI", code, ends.get(true, true), ends.get(false, false), value)


class Ear:
    """Hears the DHCP frames of one interface; only what others reply to clients where `replies` is True."""

    def __init__(self, name: str, *, replies: bool = False) -> None:
        """Raises StartError where there is no such interface, or no right to listen."""
        interface(name)
        self.name = name
        # a socket for one protocol is not shown what this host sends
        code, protocol = (replies_filter(), _ETH_P_IP) if replies else (dhcp_filter(), _ETH_P_ALL)
        try:
            self._socket = _listening(name, code, protocol)
        except PermissionError:
            raise StartError(
                f"listening on {name} takes the capability CAP_NET_RAW",
                "Start as root (sudo), or give the program that capability",
            ) from None
        except OSError as error:
            raise StartError(f"{name} cannot be listened on: {error.strerror}", "Is it up?") from None
        if self._socket.getsockname()[3] not in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK):
            self._socket.close()
            raise StartError(f"{name} carries no Ethernet frames", "Name an interface that does")

    def fileno(self) -> int:
        """Readable when a frame waits."""
        return self._socket.fileno()

    def hear(self, most: int = 64) -> Iterator[Frame]:
        """At most `most` frames that wait."""
        for _ in range(most):
            try:
                data = self._socket.recv(_MOST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # the interface went down; what comes later shows that it is back
                return
            yield Frame(time.time(), ETHERNET, data, len(data), self.name)

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


def _listening(name: str, code: bytes, protocol: int) -> socket.socket:
    """The socket, filtered before it is bound: nothing else is ever in its queue."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    ear = socket.socket(socket.AF_PACKET, kind, 0)
    try:
        buffer = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer))
        ear.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        ear.setsockopt(socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        ear.bind((name, protocol))
    except BaseException:
        ear.close()
        raise
    return ear
