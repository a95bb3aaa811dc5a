"""A machine on the lab's bridge: a namespace with one card, foreign clients and bare sockets in it."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.namespace import ADDRESS, BRIDGE, Lab, enter, run

BOUND = """#!/bin/sh
case "$1" in
deconfig) ip link set "$interface" up ;;
bound|renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/24" dev "$interface"
    echo "got $ip $hostname" ;;
esac
"""
IPXE = ("-V", "PXEClient:Arch:00007:UNDI:003016", "-x", "0x5d:0007", "-x", "0x4d:69505845")
"""What makes busybox's client speak as iPXE does: vendor class, architecture, user class."""


class Stranger:
    """A card with this MAC; without an address until `lease` or `address` gives it one."""

    def __init__(self, lab: Lab, name: str, mac: str, directory: Path) -> None:
        self.lab, self.mac = lab, mac
        self.name = f"{lab.name}-{name}"
        self.address = ""
        self._port = f"p-{name}"
        self._script = directory / f"bound-{name}"
        self._threads = ThreadPoolExecutor(1, self.name, lambda: enter(self.name))

    def __enter__(self) -> Self:
        run("ip", "netns", "add", self.name)
        try:
            self.lab.ip(
                f"link add {self._port} type veth peer name eth0 address {self.mac} netns {self.name}"
            )
            self.lab.ip(f"link set {self._port} master {BRIDGE} up")
            for device in ("lo", "eth0"):
                run("ip", "-n", self.name, "link", "set", device, "up")
        except BaseException:
            self.close()
            raise
        self._script.write_text(BOUND)
        self._script.chmod(0o755)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unplug it."""
        self._threads.shutdown(cancel_futures=True)
        run("ip", "netns", "del", self.name, check=False)

    # Foreign clients

    def run(self, *command: str, timeout: float = 30) -> subprocess.CompletedProcess[bytes]:
        """A program of this machine, to its end, whatever its status."""
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
        )

    def lease(self, *extra: str, tries: int = 5) -> str:
        """Take a lease by busybox's client; the address, empty where nobody gave one."""
        done = self.run(
            "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", str(tries), "-T", "1",
            "-s", str(self._script), *extra,
        )  # fmt: skip
        got = re.search(rb"^got (\S+)", done.stdout, re.MULTILINE)
        self.address = got[1].decode() if got else ""
        return self.address

    def boots(self) -> str:
        """Take a lease as iPXE does, which opens a boot; the address."""
        return self.lease(*IPXE)

    def curl(self, path: str, *extra: str) -> tuple[int, dict[str, str], bytes]:
        """A request to the boot port by curl: status (0 for none), header fields and body."""
        done = self.run("curl", "-sS", "-i", "-m", "15", "--path-as-is", *extra, f"http://{ADDRESS}{path}")
        return parse(done.stdout)

    def script(self, mac: str = "") -> tuple[int, str]:
        """The boot script, asked for as iPXE does."""
        status, _, body = self.curl(f"/ipxe?mac={mac or self.mac}&uuid=&arch=x86_64")
        return status, body.decode()

    def tftp(self, name: str, to: Path) -> int:
        """A file by busybox's TFTP client; its exit status."""
        return self.run("busybox", "tftp", "-g", "-r", name, "-l", str(to), ADDRESS).returncode

    # Bare sockets

    def _make(self, work: Callable[[], socket.socket]) -> socket.socket:
        return self._threads.submit(work).result(20)

    def tcp(self, port: int = 80) -> socket.socket:
        """A connection to the appliance."""
        return self._make(lambda: socket.create_connection((ADDRESS, port), 10))

    def udp(self, own_port: int = 0) -> socket.socket:
        """A datagram socket of this machine."""

        def work() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            made.bind(("0.0.0.0", own_port))
            made.settimeout(1.0)
            return made

        return self._make(work)

    def http(self, raw: bytes, *, patience: float = 3.0) -> bytes:
        """Bytes to the boot port as they stand; all that comes back until the end, or for `patience` s."""
        with self.tcp() as connection:
            connection.settimeout(patience)
            got = bytearray()
            try:
                connection.sendall(raw)
                while part := connection.recv(65536):
                    got += part
            except (TimeoutError, ConnectionError, BrokenPipeError):
                pass
            return bytes(got)


def parse(raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, header fields in lower case and body of an answer; status 0 where there is none."""
    head, _, body = raw.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = re.match(r"HTTP/1\.[01] (\d{3})", first)
    fields = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    return (int(status[1]) if status else 0), fields, body
