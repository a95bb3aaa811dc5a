"""A way out of a lab's namespace, for joining a real cluster: only `scripts/demo --kubeconfig` asks for it.

What leaves is translated to the host's own address; nothing can come in. What is changed on the host (a
veth, IP forwarding, one nftables table) is put back at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.namespace import Lab, run

HOST, INSIDE = "10.77.255.1", "10.77.255.2"
TABLE = "netboot_demo"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@contextmanager
def uplink(lab: Lab) -> Iterator[None]:
    """Route the namespace's machines out through this host."""
    outside = f"nbup{lab.name.split('-')[1]}"[:15]
    before = FORWARDING.read_text()
    try:
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", "up0", "netns", lab.name)
        run("ip", "addr", "add", f"{HOST}/30", "dev", outside)
        run("ip", "link", "set", outside, "up")
        lab.ip(f"addr add {INSIDE}/30 dev up0")
        lab.ip("link set up0 up")
        lab.ip(f"route add default via {HOST}")
        lab.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        lab.run("nft", "-f", "-", check=True, stdin=_masquerade("up0"))
        FORWARDING.write_text("1\n")
        run("nft", "-f", "-", stdin=_masquerade_from(outside))
        yield
    finally:
        run("nft", "delete", "table", "ip", TABLE, check=False)
        run("ip", "link", "del", outside, check=False)
        FORWARDING.write_text(before)


def _masquerade(device: str) -> str:
    """In the namespace: translate what leaves by `device`."""
    return f"""
        table ip {TABLE} {{
            chain out {{
                type nat hook postrouting priority srcnat;
                oifname "{device}" masquerade
            }}
        }}
    """


def _masquerade_from(device: str) -> str:
    """On the host: translate what came in by `device` and leaves by another."""
    return f"""
        table ip {TABLE} {{
            chain incoming {{
                type filter hook prerouting priority mangle;
                iifname "{device}" meta mark set 0x6e62
            }}
            chain out {{
                type nat hook postrouting priority srcnat;
                meta mark 0x6e62 masquerade
            }}
        }}
    """


def resolvers() -> list[str]:
    """The host's name servers that machines behind the uplink can reach."""
    words = [line.split() for line in Path("/etc/resolv.conf").read_text().splitlines()]
    found = [w[1] for w in words if len(w) > 1 and w[0] == "nameserver"]
    return [address for address in found if ":" not in address and not address.startswith("127.")]
