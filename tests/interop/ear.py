"""Hears what passes a card of a namespace: DHCP messages as scapy reads them, with the frames around them."""

from __future__ import annotations

import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from scapy.all import BOOTP, DHCP, IP, UDP, Ether  # type: ignore[attr-defined]

from tests.lab.namespace import enter, wait_until

ALL = 0x0003
KINDS = ("", "discover", "offer", "request", "decline", "ack", "nak", "release", "inform")


@dataclass(frozen=True, slots=True)
class Heard:
    """One DHCP message on the wire."""

    frame: Any

    @property
    def kind(self) -> str:
        """Its type in words."""
        return KINDS[self.option("message-type") or 0]

    @property
    def source(self) -> str:
        """Of the IP header."""
        return str(self.frame[IP].src)

    @property
    def to(self) -> str:
        """Of the IP header."""
        return str(self.frame[IP].dst)

    @property
    def ports(self) -> tuple[int, int]:
        """Source and destination."""
        return self.frame[UDP].sport, self.frame[UDP].dport

    @property
    def bootp(self) -> Any:
        """Its header fields by scapy's names."""
        return self.frame[BOOTP]

    @property
    def mac(self) -> str:
        """chaddr."""
        return bytes(self.bootp.chaddr[:6]).hex(":")

    def option(self, name: str) -> Any:
        """An option by scapy's name; None where absent."""
        options = self.frame[DHCP].options if DHCP in self.frame else []
        return next((row[1] for row in options if isinstance(row, tuple) and row[0] == name), None)

    def whole(self, code: int) -> bytes:
        """All octets of an option, its parts joined, by the plainest reading of RFC 2131."""
        raw, at, found = bytes(self.frame[UDP].payload)[240:], 0, b""
        while at < len(raw) and raw[at] != 255:
            if raw[at] == 0:
                at += 1
                continue
            if raw[at] == code:
                found += raw[at + 2 : at + 2 + raw[at + 1]]
            at += 2 + raw[at + 1]
        return found

    def __str__(self) -> str:
        at = self.bootp
        return f"{self.kind} {self.source}>{self.to} ci={at.ciaddr} yi={at.yiaddr} gi={at.giaddr}"


class Ear:
    """`with Ear(namespace, card) as ear`: `ear.heard()` is all DHCP so far."""

    def __init__(self, namespace: str, card: str = "eth0") -> None:
        self._namespace, self._card = namespace, card
        self._frames: list[bytes] = []
        self._ready, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "the ear did not open"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(5)

    def _run(self) -> None:
        enter(self._namespace)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as ear:
            ear.bind((self._card, ALL))
            ear.settimeout(0.1)
            self._ready.set()
            while not self._end.is_set():
                with contextlib.suppress(TimeoutError):
                    frame = ear.recv(65536)
                    if frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_UDP:
                        self._frames.append(frame)

    def heard(self, kind: str = "", mac: str = "") -> list[Heard]:
        """The DHCP messages so far, of this kind and this client where given."""
        found = [Heard(frame) for frame in map(Ether, list(self._frames)) if BOOTP in frame]
        return [h for h in found if kind in ("", h.kind) and mac in ("", h.mac)]

    def wait_for(self, kind: str, mac: str = "", *, times: int = 1, timeout: float = 20) -> Heard:
        """The last message of this kind, once there are so many."""
        try:
            wait_until(f"{times} {kind}", lambda: len(self.heard(kind, mac)) >= times, timeout)
        except TimeoutError as error:
            raise AssertionError(f"{error}; heard " + "; ".join(map(str, self.heard()))) from None
        return self.heard(kind, mac)[-1]


class Voice:
    """Sends frames as they stand from a card of a namespace; `with Voice(namespace) as voice`."""

    def __init__(self, namespace: str, card: str = "eth0") -> None:
        self._card = card
        self._threads = ThreadPoolExecutor(1, namespace, lambda: enter(namespace))
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        self._socket = self._threads.submit(self._open).result(10)
        return self

    def _open(self) -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made.bind((self._card, 0))
        return made

    def say(self, *frames: Any) -> None:
        """Send each, scapy's or octets."""
        assert self._socket
        for frame in frames:
            self._socket.send(bytes(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket:
            self._socket.close()
        self._threads.shutdown()
