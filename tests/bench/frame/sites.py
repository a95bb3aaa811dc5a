"""Our own daemon as an operator runs it: an operator's file for the bench's link, and how it is started."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from tests.bench.frame.link import INTERFACE, PREFIX, SERVER
from tests.bench.frame.server import Recipe

ROOT = Path(__file__).resolve().parents[3]
FIRST_MAC = 0x000C01000000
FIRST_ADDRESS = IPv4Address("10.80.0.1")
DYNAMIC = (IPv4Address("10.100.0.0"), IPv4Address("10.103.255.255"))


def mac(machine: int) -> str:
    """The card of the n-th machine; `load/dhcpload.c` invents the same."""
    return (FIRST_MAC + machine).to_bytes(6, "big").hex(":")


def machines(count: int) -> Iterator[tuple[str, IPv4Address]]:
    """Card and reserved address of each machine."""
    return ((mac(i), FIRST_ADDRESS + i) for i in range(count))


def write_nodes(path: Path, count: int) -> None:
    """A `nodes_file` of so many machines."""
    rows = (f"load-{i},{card},{address}\n" for i, (card, address) in enumerate(machines(count)))
    path.write_text("name,macs,address\n" + "".join(rows))


def settings(folder: Path, network: Mapping[str, Any], server: Mapping[str, Any]) -> dict[str, Any]:
    """The operator's file: one network, a pool of declared machines, a catch-all pool."""
    first, last = DYNAMIC
    return {
        "server": {
            "data_dir": str(folder / "data"),
            "images_dir": str(folder / "images"),
            "files_dir": str(folder / "files"),
            "workers": 2,
            **server,
        },
        "networks": [
            {
                "name": "lab",
                "subnet": f"10.64.0.0/{PREFIX}",
                "interface": INTERFACE,
                "range": f"{first}-{last}",
                "gateway": str(SERVER),
                "dns": [str(SERVER)],
                **network,
            }
        ],
        "clusters": [{"name": "blue", "endpoint": f"{SERVER}:6443", "join": {"method": "none"}}],
        "pools": [
            {"name": "compute", "cluster": "blue", "network": "lab", "nodes_file": str(folder / "nodes.csv")},
            {"name": "unknown", "cluster": "blue", "network": "lab", "catch_all": True},
        ],
    }


def netboot(
    folder: Path,
    count: int,
    *,
    network: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
    python: Iterable[str] = (),
) -> Recipe:
    """Our daemon with so many declared machines; `python` are options of the interpreter."""
    for name in ("images", "files"):
        (folder / name).mkdir(exist_ok=True)
    write_nodes(folder / "nodes.csv", count)
    config = folder / "netboot.yaml"
    config.write_text(json.dumps(settings(folder, network or {}, server or {}), indent=1))  # JSON is YAML
    log = folder / "log"
    return Recipe(
        command=[sys.executable, *python, "-m", "netboot", "serve", "--config", str(config)],
        ready=lambda: b" serving " in log.read_bytes(),
        environment={"PYTHONPATH": str(ROOT)},
    )
