"""A site for foreign DHCP clients: the daemon on two links, two relay agents behind each other, and machines.

    br0     10.77.0.1/24 "lab" and 10.78.0.1/24 "second", both on one interface
    br1     10.79.0.1/24 "rack"
    relay one  eth0 on br0 (10.77.0.2), its link 10.80.0.1/24 "far"
    relay two  eth0 on relay one's link (10.80.0.2), its link 10.81.0.1/24 "farther"

All of it are namespaces of the test's own, and they go away with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.appliance import Appliance
from tests.lab.namespace import BRIDGE, Lab, die_with_parent, run, wait_until
from tests.lab.site import scratch, write_yaml

SERVER = "10.77.0.1"
DECLARED = "52:54:00:77:00:01"
DECLARED_ADDRESS = "10.77.0.21"
SECOND = "52:54:00:77:00:02"
SECOND_ADDRESS = "10.78.0.21"
FAR_NODE = "52:54:00:77:00:03"
FAR_ADDRESS = "10.80.0.21"
FORWARD = "net.ipv4.ip_forward=1"


def network(name: str, third: int, **more: Any) -> dict[str, Any]:
    """10.X.0.0/24 with addresses .100 to .199 for anybody; T1 and T2 so short that a test sees them."""
    net = f"10.{third}.0"
    return {
        "name": name, "subnet": f"{net}.0/24", "range": f"{net}.100-{net}.199", "gateway": f"{net}.254",
        "lease": "60s", "renew": "2s", "rebind": "5s", "domain": f"{name}.test", **more,
    }  # fmt: skip


def pool(network: str, **more: Any) -> dict[str, Any]:
    """A pool of one network."""
    return {"name": network, "cluster": "alone", "network": network, **more}


def unknown(network: str) -> dict[str, Any]:
    """The pool of those whom nobody declared."""
    return pool(network, **{"name": f"unknown-{network}", "catch_all": True})


def node(name: str, mac: str, address: str, **more: Any) -> dict[str, Any]:
    """A declared machine."""
    return {"name": name, "macs": [mac], "address": address, **more}


def config(directory: Path) -> dict[str, Any]:
    """The operator's file of the site."""
    relayed = {"relayed": True, "address": SERVER}
    return {
        "server": {"data_dir": str(directory / "data"), "images_dir": str(directory / "images")},
        "networks": [
            network("lab", 77, interface="br0", address=SERVER),
            network("second", 78, interface="br0", address="10.78.0.1"),
            network("rack", 79, interface="br1"),
            network("far", 80, gateway="10.80.0.1", relays=["10.80.0.1"], **relayed),
            network("farther", 81, gateway="10.81.0.1", **relayed),
        ],
        "clusters": [{"name": "alone", "endpoint": "10.77.0.1:6443", "join": {"method": "none"}}],
        "pools": [
            pool("lab", nodes=[node("m1", DECLARED, DECLARED_ADDRESS)]),
            pool("second", nodes=[node("m2", SECOND, SECOND_ADDRESS)]),
            pool("far", nodes=[node("m3", FAR_NODE, FAR_ADDRESS)]),
            *map(unknown, ("lab", "rack", "far", "farther")),
        ],
    }


class Host:
    """A namespace with cards on bridges of others; foreign programs run in it."""

    def __init__(self, site: DhcpSite, name: str) -> None:
        self.site = site
        self.short = name
        self.name = f"{site.lab.name}-{name}"
        self.started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        run("ip", "netns", "add", self.name)
        self.ip("link set lo up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.started:
            end(process)
        for pid in run("ip", "netns", "pids", self.name, check=False).split():
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(pid), signal.SIGKILL)
        run("ip", "netns", "del", self.name, check=False)

    def ip(self, arguments: str, *, check: bool = True) -> str:
        """`ip -n NAMESPACE ...`."""
        return run("ip", "-n", self.name, *arguments.split(), check=check)

    def plug(self, where: str, bridge: str, mac: str, card: str = "eth0") -> None:
        """A card of this MAC on a bridge of the namespace `where`, up and without an address."""
        port = f"{card}-{self.short}"[:15]
        self.ip(f"link add {card} address {mac} type veth peer name {port} netns {where}")
        run("ip", "-n", where, "link", "set", port, "master", bridge, "up")
        self.ip(f"link set {card} up")

    def bridge(self, name: str, address: str) -> None:
        """A link of our own."""
        # an address of its own: else it is one of its ports', and another one when that is unplugged
        card = f"02:00:{IPv4Address(address.partition('/')[0]).packed.hex(':')}"
        self.ip(f"link add {name} address {card} type bridge stp_state 0 forward_delay 0")
        self.ip(f"addr add {address} dev {name}")
        self.ip(f"link set {name} up")

    def run(self, *command: str, timeout: float = 40, check: bool = False) -> str:
        """A program to its end; what it said on both channels."""
        return run("ip", "netns", "exec", self.name, *command, check=check, timeout=timeout)

    def start(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """A program that goes on; it ends with the host."""
        with log.open("ab") as stream:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, preexec_fn=die_with_parent,
            )  # fmt: skip
        self.started.append(process)
        return process

    def addresses(self, card: str = "eth0") -> list[str]:
        """The IPv4 addresses of a card."""
        return re.findall(r"inet ([\d.]+)/", self.ip(f"-4 addr show dev {card}", check=False))

    def flush(self, card: str = "eth0") -> None:
        """Take all its addresses away."""
        self.ip(f"-4 addr flush dev {card}")


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    """End a program, at last by force."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


class DhcpSite:
    """The daemon, its links and its relay agents; `machine(...)` plugs a client in."""

    def __init__(self, lab: Lab, appliance: Appliance, directory: Path, stack: ExitStack) -> None:
        self.lab, self.appliance, self.directory = lab, appliance, directory
        self._stack = stack
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        self.one, self.two = Host(self, "r1"), Host(self, "r2")

    def wire(self) -> None:
        """The second link of the server, and the relays' hosts with theirs."""
        for relay in (self.one, self.two):
            self._stack.enter_context(relay)
            relay.run("sysctl", "-qw", FORWARD, check=True)
        self.one.plug(self.lab.name, BRIDGE, "52:54:00:77:fe:01")
        self.one.ip("addr add 10.77.0.2/24 dev eth0")
        self.one.bridge(BRIDGE, "10.80.0.1/24")
        self.two.plug(self.one.name, BRIDGE, "52:54:00:77:fe:02")
        self.two.ip("addr add 10.80.0.2/24 dev eth0")
        self.two.bridge(BRIDGE, "10.81.0.1/24")
        self.one.ip("route add 10.81.0.0/24 via 10.80.0.2")
        self.two.ip("route add default via 10.80.0.1")
        for net in (80, 81):
            self.lab.ip(f"route add 10.{net}.0.0/24 via 10.77.0.2")

    @contextlib.contextmanager
    def relaying(self, relay: Host, *servers: str, extra: Sequence[str] = ("-a",)) -> Iterator[Path]:
        """Debian's dhcrelay on a relay's host, from its own link up to `servers`; its log."""
        log = self.directory / f"{relay.short}.log"
        # no privileges to drop and no fork: it ends with us
        process = relay.start("dhcrelay", "-4", "-d", *extra, "-id", BRIDGE, "-iu", "eth0", *servers, log=log)
        wait_until("the relay agent listens", lambda: b"Sending on" in log.read_bytes(), 20)
        try:
            yield log
        finally:
            end(process)
            log.unlink()

    @contextlib.contextmanager
    def machine(self, name: str, mac: str, where: Host | None = None, bridge: str = "") -> Iterator[Host]:
        """A client on a link: of the server's namespace, or of a relay's."""
        with Host(self, name) as made:
            made.plug(where.name if where else self.lab.name, bridge or BRIDGE, mac)
            yield made

    def lease(self, address: str) -> dict[str, Any] | None:
        """What the daemon knows of an address."""
        found = [row for row in self.appliance.items("/api/v1/leases") if row["address"] == address]
        return found[0] if found else None

    def counted(self, kind: str) -> float:
        """What /metrics says of one kind of event or counter."""
        text = self.appliance.request("GET", "/metrics")[1]
        found = re.findall(rf'^netboot_\w+{{kind="{kind}"}} ([0-9.e+]+)$', text, re.MULTILINE)
        return float(found[0]) if found else 0.0


@contextlib.contextmanager
def dhcp_site(**networks: dict[str, Any]) -> Iterator[DhcpSite]:
    """The whole site, up and ready; `networks` overrides keys of a network by its name."""
    with ExitStack() as stack:
        directory = stack.enter_context(scratch())
        lab = stack.enter_context(Lab())
        lab.ip("addr add 10.78.0.1/24 dev br0")
        lab.ip("link add br1 type bridge stp_state 0 forward_delay 0")
        lab.ip("addr add 10.79.0.1/24 dev br1")
        lab.ip("link set br1 up")
        (directory / "images").mkdir()
        content = config(directory)
        for row in content["networks"]:
            row.update(networks.get(row["name"], {}))
        path = write_yaml(directory / "netboot.yaml", content)
        appliance = stack.enter_context(Appliance(lab, [path], directory, directory / "data"))
        site = DhcpSite(lab, appliance, directory, stack)
        site.wire()
        yield site
