"""Simulated machines of a rack: each has a card and an address of its own, and boots step by step.

A machine is a macvlan on the link's client side. Its boot is what firmware, iPXE, initrd and agent ask:
DISCOVER to ACK, the first-stage program by TFTP, script, kernel, initrd, seed, claim, squashfs,
configuration, report. Files are counted and discarded by the kernel, so that the client costs little.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Final, TypeVar
from urllib.parse import urlsplit

from tests.bench.frame import sites
from tests.bench.frame.link import INTERFACE, PREFIX, SERVER, Link
from tests.lab.namespace import enter, run

STEPS = (
    "address", "program", "script", "kernel", "initrd", "seed", "claim", "squashfs", "config", "report",
)  # fmt: skip
"""What a machine does, in this order."""
NICE = 10
_PATIENCE: Final = 30.0  # seconds without a byte
_DHCP_TRIES: Final = (1.0, 2.0, 4.0, 8.0, 8.0, 8.0)  # seconds, as firmware waits
_NOWHERE = bytearray(4 << 20)  # the kernel discards what is read with MSG_TRUNC: nobody writes here
_MAGIC: Final = b"\x63\x82\x53\x63"
_CLASS: Final = b"PXEClient:Arch:00007:UNDI:003016"
_DISCOVER, _OFFER, _REQUEST, _ACK = 1, 2, 3, 5
_T = TypeVar("_T")


class Failed(Exception):
    """Why a machine could not go on."""


@dataclass(slots=True)
class Machine:
    """One machine of the rack, and when it came through each step (seconds since all were switched on)."""

    number: int
    done: dict[str, float] = field(default_factory=dict)
    repeated: int = 0
    """DHCP messages that it had to send again."""
    waited: int = 0
    """How often it was told to wait for its turn."""
    failed: str = ""

    @property
    def mac(self) -> str:
        """Its card."""
        return sites.mac(self.number)

    @property
    def address(self) -> IPv4Address:
        """Its declared address."""
        return sites.FIRST_ADDRESS + self.number

    @property
    def device(self) -> str:
        """Its interface on the client's side."""
        return f"m{self.number}"


def plug_in(link: Link, machines: Sequence[Machine]) -> None:
    """Make their interfaces: each answers for its own address alone."""
    lines = []
    for machine in machines:
        lines += [
            f"link add link {INTERFACE} name {machine.device} address {machine.mac} type macvlan mode bridge",
            f"address add {machine.address}/{PREFIX} dev {machine.device}",
            f"link set {machine.device} up",
        ]
    inside = ("ip", "netns", "exec", link.client)
    for name, value in (("arp_ignore", 1), ("arp_announce", 2), ("rp_filter", 0)):
        run(*inside, "sysctl", "-qw", f"net.ipv4.conf.all.{name}={value}")
        run(*inside, "sysctl", "-qw", f"net.ipv4.conf.default.{name}={value}")
    for limit, most in ((1, 4096), (2, 8192), (3, 16384)):
        for namespace in (link.client, link.server):
            words = ("sysctl", "-qw", f"net.ipv4.neigh.default.gc_thresh{limit}={most}")
            run("ip", "netns", "exec", namespace, *words, check=False)
    run("ip", "-n", link.client, "-batch", "-", stdin="\n".join(lines) + "\n", timeout=300)


def lease(machine: Machine) -> None:
    """DISCOVER to ACK as firmware, which opens a boot; call it in the client's namespace. Raises Failed."""
    now = time.monotonic()
    _Boot(machine, "", now, now + _PATIENCE)._lease()


def boot_all(link: Link, machines: Sequence[Machine], certificate: str, patience: float) -> None:
    """Switch them all on at once; back when each has come to its end, or `patience` (seconds) is over.

    They claim with the same `certificate` (PEM): making one each would cost more than all the rest.
    """
    began = time.monotonic()
    threads = [
        threading.Thread(
            target=_guarded, args=(link, machine, certificate, began, began + patience), daemon=True
        )
        for machine in machines
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, began + patience + _PATIENCE - time.monotonic()))


def _guarded(link: Link, machine: Machine, certificate: str, began: float, until: float) -> None:
    try:
        enter(link.client)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        _Boot(machine, certificate, began, until).run()
    except (OSError, Failed, ValueError, KeyError) as error:
        step = next((step for step in STEPS if step not in machine.done), "the end")
        machine.failed = f"{step}: {type(error).__name__} {error}"


class _Boot:
    """One machine's boot, from power-on to its report."""

    def __init__(self, machine: Machine, certificate: str, began: float, until: float) -> None:
        self._machine, self._began, self._until = machine, began, until
        self._certificate = certificate

    def run(self) -> None:
        """All steps, in order."""
        machine = self._machine
        program = self._step("address", self._lease)
        self._step("program", lambda: self._tftp(program))
        script = self._step("script", self._script)
        kernel, initrd, seed = (_url(script, name) for name in ("vmlinuz", "initrd.img", "seed.cpio"))
        root = _url(script, "root.squashfs")
        self._step("kernel", lambda: self._download(kernel))
        self._step("initrd", lambda: self._download(initrd))
        self._step("seed", lambda: self._ask("GET", seed))
        wanted = {"mac": machine.mac, "uuid": "", "certificate": self._certificate, "csr": ""}
        claim = seed.replace("seed.cpio", "claim")
        session = self._step("claim", lambda: self._ask("POST", claim, json.dumps(wanted).encode()))
        bearer = f"Authorization: Bearer {json.loads(session)['session']}"
        self._step("squashfs", lambda: self._download(root))
        self._step("config", lambda: self._ask("GET", "/boot/config", fields=(bearer,)))
        told = json.dumps({"step": "join", "detail": "none"}).encode()
        self._step("report", lambda: self._ask("POST", "/boot/report", told, (bearer,)))

    def _step(self, name: str, work: Callable[[], _T]) -> _T:
        found = work()
        self._machine.done[name] = time.monotonic() - self._began
        return found

    def _rest(self, seconds: float) -> None:
        if time.monotonic() + seconds > self._until:
            raise Failed("the patience of this bench is over")
        time.sleep(seconds)

    # DHCP

    def _lease(self) -> str:
        """DISCOVER to ACK as firmware; the name of the boot program."""
        with _socket(self._machine, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.bind(("", 68))
            offer = self._exchange(sock, _DISCOVER, _OFFER)
            server, address = _option(offer, 54), offer[16:20]
            ack = self._exchange(sock, _REQUEST, _ACK, bytes([54, 4]) + server + bytes([50, 4]) + address)
        if IPv4Address(ack[16:20]) != self._machine.address:
            raise Failed(f"was given {IPv4Address(ack[16:20])}, not {self._machine.address}")
        return (_option(ack, 67) or ack[108:236]).rstrip(b"\0").decode()

    def _exchange(self, sock: socket.socket, kind: int, wanted: int, more: bytes = b"") -> bytes:
        card, xid = bytes.fromhex(self._machine.mac.replace(":", "")), os.urandom(4)
        head = b"\1\1\6\0" + xid + bytes(20) + card + bytes(202) + _MAGIC
        options = bytes([53, 1, kind, 93, 2, 0, 7, 94, 3, 1, 3, 16, 97, 17]) + bytes(11) + card
        options += bytes([60, len(_CLASS)]) + _CLASS + bytes([55, 4, 1, 3, 66, 67]) + more + b"\xff"
        for patience in _DHCP_TRIES:
            sock.sendto(head + options, ("255.255.255.255", 67))
            until = time.monotonic() + patience
            while (left := until - time.monotonic()) > 0:
                sock.settimeout(left)
                try:
                    reply = sock.recv(2048)
                except TimeoutError:
                    break
                if reply[4:8] == xid and _option(reply, 53) == bytes([wanted]):
                    return reply
            self._machine.repeated += 1
        raise Failed("no answer by DHCP")

    # TFTP

    def _tftp(self, name: str) -> int:
        """A file by TFTP with EDK2's options; its octets."""
        request = b"\0\1" + b"\0".join(
            [name.encode(), b"octet", b"blksize", b"1468", b"windowsize", b"4", b""]
        )
        with _socket(self._machine, socket.SOCK_DGRAM) as sock:
            sock.settimeout(2.0)
            peer, last, size = (str(SERVER), 69), 0, 0
            answer = request
            sock.sendto(answer, peer)
            for _ in range(100_000):
                try:
                    packet, peer = sock.recvfrom(2048)
                except TimeoutError:
                    sock.sendto(answer, peer)
                    continue
                kind, number = packet[1], int.from_bytes(packet[2:4], "big")
                if kind == 5:
                    raise Failed(f"TFTP: {packet[4:-1].decode(errors='replace')}")
                if kind == 3 and number == (last + 1) & 0xFFFF:
                    last, size = number, size + len(packet) - 4
                answer = b"\0\4" + last.to_bytes(2, "big")
                ended = kind == 3 and number == last and len(packet) < 1472
                if kind == 6 or ended or last % 4 == 0 or number != last:
                    sock.sendto(answer, peer)
                if ended:
                    return size
        raise Failed("TFTP comes to no end")

    # HTTP

    def _script(self) -> str:
        """The script that boots; a machine that is told to wait does so and asks DHCP anew."""
        dashed = self._machine.mac.replace(":", "-")
        while True:
            text = self._ask("GET", f"/ipxe?mac={dashed}&uuid=&arch=x86_64-efi").decode()
            if "\nkernel http" in text:
                return text
            seconds = re.search(r"^sleep ([0-9]+)", text, re.MULTILINE)
            if seconds is None:
                raise Failed(f"a script that neither boots nor waits: {text[:200]!r}")
            self._machine.waited += 1
            self._rest(float(seconds[1]))
            if "\ndhcp " in text:
                self._lease()

    def _ask(self, method: str, url: str, body: bytes = b"", fields: Sequence[str] = ()) -> bytes:
        """One small answer, whole."""
        while True:
            status, wait, found = self._talk(method, url, body, fields, keep=True)
            if status in (200, 204):
                return found
            self._later(status, wait, url, found)

    def _download(self, url: str) -> int:
        """One file, discarded."""
        while True:
            status, wait, found = self._talk("GET", url, b"", (), keep=False)
            if status == 200:
                return len(found)
            self._later(status, wait, url, found)

    def _later(self, status: int, wait: str, url: str, said: bytes) -> None:
        if status != 503:
            raise Failed(f"{url}: {status} {said[:200]!r}")
        self._machine.waited += 1
        self._rest(float(wait or 1))

    def _talk(
        self, method: str, url: str, body: bytes, fields: Sequence[str], *, keep: bool
    ) -> tuple[int, str, bytes]:
        """Status, Retry-After and body of an answer; the body of a file is counted and discarded."""
        target = urlsplit(url)
        path = target.path + (f"?{target.query}" if target.query else "")
        lines = [f"{method} {path} HTTP/1.1", "Host: bench", "Connection: close", *fields]
        lines += [f"Content-Length: {len(body)}"] if body else []
        with _socket(self._machine, socket.SOCK_STREAM) as sock:
            sock.settimeout(_PATIENCE)
            sock.connect((str(SERVER), 80))
            sock.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                seen = sock.recv(4096, socket.MSG_PEEK)
                if not seen:
                    raise Failed(f"{url}: the connection ended in the head of the answer")
                end = seen.find(b"\r\n\r\n")
                head += sock.recv(end + 4 if end >= 0 else max(1, len(seen) - 3))
            status = int(head.split()[1])
            length, wait = (_field(head, name) for name in ("content-length", "retry-after"))
            left, found = int(length or 0), b""
            while left:
                if keep or status != 200:
                    found += (piece := sock.recv(min(left, 65536)))
                    got = len(piece)
                else:
                    got = sock.recv_into(_NOWHERE, min(left, len(_NOWHERE)), socket.MSG_TRUNC)
                if not got:
                    raise Failed(f"{url}: the connection ended {left} octets too early")
                left -= got
        return status, wait, found


def _socket(machine: Machine, kind: int) -> socket.socket:
    """A socket of this machine: on its card, from its address."""
    sock = socket.socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, machine.device.encode())
    return sock


def _option(packet: bytes, wanted: int) -> bytes:
    """An option's octets; empty where it is not there."""
    at = 240
    while at + 1 < len(packet) and packet[at] != 255:
        if packet[at] == 0:
            at += 1
            continue
        if packet[at] == wanted:
            return packet[at + 2 : at + 2 + packet[at + 1]]
        at += 2 + packet[at + 1]
    return b""


def _field(head: bytes, name: str) -> str:
    found = re.search(rf"\r\n{name}: ([^\r]*)", head.decode("latin-1"), re.IGNORECASE)
    return found[1] if found else ""


def _url(script: str, file: str) -> str:
    found = re.search(rf"http://[^ \n]*/{re.escape(file)}", script)
    if found is None:
        raise Failed(f"the script names no {file}")
    return found[0]
