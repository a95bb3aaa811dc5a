"""Two network namespaces joined by a veth: a server's side and a client's side."""

from __future__ import annotations

import itertools
import os
import subprocess
from ipaddress import IPv4Address
from types import TracebackType
from typing import Self

SERVER, CLIENT, *OTHERS = (IPv4Address(f"10.77.0.{n}") for n in range(1, 6))
"""The addresses of the link: the server's, and those of the client's side."""

PREFIX = 10
"""The link's subnet is 10.64.0.0/10, so that a farm of 100,000 machines fits."""

INTERFACE = "eth0"
"""The interface's name on both sides."""

_numbers = itertools.count()


def command(*words: str) -> str:
    """Run a command to its end and return what it wrote; raises RuntimeError with its words."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}: {done.stdout.strip()}")
    return done.stdout


class Link:
    """The two namespaces, while the `with` lasts; `server` and `client` are their names."""

    def __init__(self) -> None:
        name = f"netbench-{os.getpid()}-{next(_numbers)}"
        self.server, self.client = f"{name}-s", f"{name}-c"

    def __enter__(self) -> Self:
        try:
            for namespace in (self.server, self.client):
                command("ip", "netns", "add", namespace)
            command(
                "ip", "link", "add", INTERFACE, "netns", self.server,
                "type", "veth", "peer", "name", INTERFACE, "netns", self.client,
            )  # fmt: skip
            for namespace, addresses in ((self.server, (SERVER,)), (self.client, (CLIENT, *OTHERS))):
                for each in addresses:
                    command("ip", "-n", namespace, "address", "add", f"{each}/{PREFIX}", "dev", INTERFACE)
                for device in ("lo", INTERFACE):
                    command("ip", "-n", namespace, "link", "set", device, "up")
        except BaseException:
            self._down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._down()

    def _down(self) -> None:
        for namespace in (self.server, self.client):
            subprocess.run(["ip", "netns", "del", namespace], stderr=subprocess.DEVNULL)

    def segmentation(self, on: bool) -> None:
        """Whether large packets cross the link whole; off where each part is to meet its own fate."""
        word = "on" if on else "off"
        for namespace in (self.server, self.client):
            for what in ("tx-udp-segmentation", "tso", "gso"):
                command("ip", "netns", "exec", namespace, "ethtool", "-K", INTERFACE, what, word)

    def lose(self, percent: float) -> None:
        """Drop this share of UDP datagrams, both ways, in the client's namespace; 0 ends it."""
        within = ("ip", "netns", "exec", self.client, "nft")
        command(*within, "flush", "ruleset")
        if percent:
            rule = f"meta l4proto udp numgen random mod 1000 < {round(percent * 10)} drop"
            hooks = (("in", "prerouting", "iifname"), ("out", "output", "oifname"))
            chains = " ".join(
                f"chain {name} {{ type filter hook {hook} priority -300; {where} {INTERFACE} {rule}; }}"
                for name, hook, where in hooks
            )
            command(*within, f"table ip loss {{ {chains} }}")
