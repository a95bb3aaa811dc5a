"""The servers that we are compared with, each with the same machines and answers as ours."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.frame.link import INTERFACE, SERVER
from tests.bench.frame.server import Recipe
from tests.bench.frame.sites import DYNAMIC, machines

MASK = "255.192.0.0"


def dnsmasq_dhcp(folder: Path, count: int) -> Recipe:
    """dnsmasq with reservations; it writes and syncs its whole lease file with every ACK."""
    hosts, log = folder / "hosts", folder / "log"
    hosts.write_text("".join(f"{card},{address},12h\n" for card, address in machines(count)))
    first, last = DYNAMIC
    command = [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root",
        f"--interface={INTERFACE}", "--bind-interfaces", "--except-interface=lo", "--dhcp-authoritative",
        "--no-ping", f"--dhcp-range={first},{last},{MASK},12h", "--dhcp-lease-max=200000",
        f"--dhcp-hostsfile={hosts}", f"--dhcp-leasefile={folder / 'leases'}", f"--pid-file={folder / 'pid'}",
        "--log-facility=-", f"--dhcp-boot=ipxe.efi,pxe,{SERVER}", f"--dhcp-option=option:router,{SERVER}",
        f"--dhcp-option=option:dns-server,{SERVER}", "--quiet-dhcp",
    ]  # fmt: skip
    return Recipe(command, ready=lambda: b"read " in log.read_bytes())


def kea_dhcp(folder: Path, count: int, threads: int = 1) -> Recipe:
    """Kea with reservations and its memfile, which it writes to but does not sync."""
    config = folder / "kea.json"
    config.write_text(json.dumps({"Dhcp4": _kea(folder, count, threads)}))
    log = folder / "log"
    environment = {"KEA_LOCKFILE_DIR": str(folder), "KEA_PIDFILE_DIR": str(folder)}
    command = ["kea-dhcp4", "-c", str(config)]
    return Recipe(command, ready=lambda: b"DHCP4_STARTED" in log.read_bytes(), environment=environment)


def _kea(folder: Path, count: int, threads: int) -> dict[str, object]:
    first, last = DYNAMIC
    reserved = [{"hw-address": card, "ip-address": str(address)} for card, address in machines(count)]
    return {
        "interfaces-config": {"interfaces": [INTERFACE], "dhcp-socket-type": "udp"},
        "lease-database": {
            "type": "memfile", "persist": True, "name": str(folder / "leases.csv"), "lfc-interval": 0,
        },
        "valid-lifetime": 43200,
        "next-server": str(SERVER),
        "boot-file-name": "ipxe.efi",
        "host-reservation-identifiers": ["hw-address"],
        "multi-threading": {
            "enable-multi-threading": threads > 1, "thread-pool-size": threads, "packet-queue-size": 64,
        },
        "option-data": [
            {"name": "routers", "data": str(SERVER)}, {"name": "domain-name-servers", "data": str(SERVER)},
        ],
        "subnet4": [
            {
                "subnet": "10.64.0.0/10",
                "id": 1,
                "interface": INTERFACE,
                "pools": [{"pool": f"{first} - {last}"}],
                "reservations-in-subnet": True,
                "reservations-out-of-pool": True,
                "reservations": reserved,
            }
        ],
        "loggers": [
            {"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{"output": "stdout"}]},
            {"name": "kea-dhcp4.dhcp4", "severity": "INFO", "output_options": [{"output": "stdout"}]},
        ],
    }  # fmt: skip
