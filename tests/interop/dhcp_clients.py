"""ISC dhclient, busybox udhcpc, dhcpcd and systemd-networkd, each on a card of a `Host`."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

from tests.interop.dhcp_site import Host, end
from tests.lab.namespace import wait_until

DHCLIENT_SCRIPT = """#!/bin/sh
echo "$reason ${new_ip_address:-$old_ip_address} $new_host_name" >>@LOG@
case "$reason" in
PREINIT) ip link set dev "$interface" up ;;
BOUND|RENEW|REBIND|REBOOT)
    [ -e @REFUSE@ ] && rm @REFUSE@ && exit 1
    ip -4 addr flush dev "$interface"
    ip addr add "$new_ip_address/24" dev "$interface"
    [ -n "$new_routers" ] && ip route replace default via "$new_routers" ;;
*) ip -4 addr flush dev "$interface" ;;
esac
exit 0
"""

UDHCPC_SCRIPT = """#!/bin/sh
echo "$1 $ip $hostname" >>@LOG@
case "$1" in
deconfig) ip -4 addr flush dev "$interface"; ip link set dev "$interface" up ;;
bound|renew)
    ip -4 addr flush dev "$interface"
    ip addr add "$ip/24" dev "$interface"
    [ -n "$router" ] && ip route replace default via "$router" ;;
esac
exit 0
"""

NETWORK_FILE = """[Match]
Name=eth0
[Link]
RequiredForOnline=no
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
IPv4LLRoute=no
[DHCPv4]
ClientIdentifier=%s
SendDecline=yes
"""


class Program:
    """One client on one machine: its words and what its script saw, in files of its own."""

    def __init__(self, host: Host, name: str) -> None:
        self.host = host
        base = host.site.directory / f"{host.short}-{name}"
        base.mkdir(exist_ok=True)
        base.chmod(0o777)
        self.base = base
        self.log, self.events = base / "log", base / "events"
        self.process: subprocess.Popen[bytes] | None = None

    def _script(self, text: str) -> Path:
        path = self.base / "script"
        path.write_text(text.replace("@LOG@", str(self.events)).replace("@REFUSE@", str(self.base / "no")))
        path.chmod(0o755)
        return path

    def start(self, *command: str) -> None:
        """Let it go on."""
        self.process = self.host.start(*command, log=self.log)

    def said(self) -> str:
        """What it wrote."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def saw(self) -> list[list[str]]:
        """Reason, address and name of each call of its script."""
        return [line.split() for line in self.events.read_text().splitlines()] if self.events.exists() else []

    def wait_for(
        self, pattern: str, timeout: float = 25, *, times: int = 1, where: Path | None = None
    ) -> str:
        """Wait until `pattern` stands so often in its log; the last match's first group, or the match."""

        def look() -> re.Match[str] | None:
            text = (where or self.log).read_text(errors="replace") if (where or self.log).exists() else ""
            found = list(re.finditer(pattern, text, re.MULTILINE))
            return found[-1] if len(found) >= times else None

        try:
            match = wait_until(f"{pattern!r} of {self.host.short}", look, timeout)
        except TimeoutError as error:
            server = self.host.site.appliance.log()[-2000:]
            raise AssertionError(f"{error}\n{self.said()[-3000:]}\n--- server\n{server}") from None
        assert isinstance(match, re.Match)
        return str(match[match.re.groups and 1])

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it by a signal."""
        assert self.process
        end(self.process, number)


class Dhclient(Program):
    """ISC's client in the foreground; `bound()` waits for its address."""

    def __init__(self, host: Host, configuration: str = "", name: str = "dhclient") -> None:
        super().__init__(host, name)
        (self.base / "conf").write_text("timeout 15;\nretry 2;\n" + configuration)
        self._files = [
            "-4", "-v", "-sf", str(self._script(DHCLIENT_SCRIPT)), "-cf", str(self.base / "conf"),
            "-lf", str(self.base / "leases"), "-pf", str(self.base / "pid"),
        ]  # fmt: skip

    def run(self) -> None:
        """Start it."""
        self.start("dhclient", "-d", *self._files, "eth0")

    def bound(self, *, times: int = 1) -> str:
        """Its address, once it is bound so often."""
        return self.wait_for(r"^bound to ([\d.]+)", times=times)

    def release(self) -> str:
        """Give the lease back, by a second call, as its manual has it; ends the first."""
        return self.host.run("dhclient", "-r", *self._files, "eth0")

    def refuse_once(self) -> None:
        """Let its script find the next address in use, so that it declines."""
        (self.base / "no").touch()


class Udhcpc(Program):
    """Busybox's client in the foreground."""

    def __init__(self, host: Host, name: str = "udhcpc") -> None:
        super().__init__(host, name)

    def run(self, *extra: str) -> None:
        """Start it; -R releases at its end."""
        script = str(self._script(UDHCPC_SCRIPT))
        words = ["-i", "eth0", "-f", "-R", "-t", "8", "-T", "1", "-A", "1", "-s", script]
        self.start("busybox", "udhcpc", *words, *extra)

    def bound(self, *, times: int = 1) -> str:
        """Its address, once its script was given one so often: it says "obtained" before it probes."""
        return self.wait_for(r"^(?:bound|renew) ([\d.]+)", times=times, where=self.events)


class Dhcpcd(Program):
    """Roy Marples' client, with its DUID as client identifier and its ARP probes.

    Its folders are covered by memory of its own, so that nothing of it is seen on the host.
    """

    def __init__(self, host: Host, name: str = "dhcpcd") -> None:
        super().__init__(host, name)

    def run(self, *extra: str, configuration: str = "duid\noption host_name\n") -> None:
        """Start it; `configuration` is its file."""
        conf = self.base / "conf"
        conf.write_text(f"noipv6\nnoipv4ll\nnohook resolv.conf, hostname\n{configuration}")
        words = ["dhcpcd", "-4", "-B", "-d", "-f", str(conf), *extra, "eth0"]
        cover = " && ".join(
            f"mkdir -p {path} && mount -t tmpfs tmpfs {path}" for path in ("/var/lib/dhcpcd", "/run/dhcpcd")
        )
        self.start("sh", "-c", f"{cover} && exec {' '.join(words)}")

    def bound(self, *, times: int = 1) -> str:
        """Its address, once it was given one so often."""
        return self.wait_for(r"eth0: leased ([\d.]+) for", times=times)


class Networkd(Program):
    """systemd-networkd without systemd: folders in memory, /sys read-only, so that it waits for no udev."""

    BINARY = "/lib/systemd/systemd-networkd"

    def __init__(self, host: Host, name: str = "networkd") -> None:
        super().__init__(host, name)

    def run(self, identifier: str = "duid") -> None:
        """Start it; `identifier` is what it sends as option 61: mac, duid or duid-only."""
        (self.base / "eth0.network").write_text(NETWORK_FILE % identifier)
        steps = [
            "mount -o remount,ro /sys",
            "mount -t tmpfs tmpfs /run",
            "mkdir -p /run/systemd/network /run/systemd/netif/leases /run/systemd/netif/links "
            "/run/systemd/netif/lldp",
            f"cp {self.base}/eth0.network /run/systemd/network/",
            "chown -R systemd-network /run/systemd/netif",
            f"SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console exec {self.BINARY}",
        ]
        self.start("sh", "-c", " && ".join(steps))

    def bound(self, *, times: int = 1) -> str:
        """Its address, once it was given one so often."""
        return self.wait_for(r"eth0: DHCPv4 address ([\d.]+)/", times=times)
