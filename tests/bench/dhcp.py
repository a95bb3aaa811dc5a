"""DHCP exchanges beside dnsmasq and Kea, every lease of ours on disk before its ACK.

Each server knows the same machines and answers one relay agent (`load/dhcpload.c`). Capacity: 64 exchanges
under way at once; CPU of all the server's processes. Latency: 300 exchanges begin per second. dnsmasq writes
and syncs its lease file, Kea writes its memfile without a sync, ours commits to SQLite (WAL, synchronous).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.frame import during, peers, report, sites
from tests.bench.frame.dhcp_load import Load
from tests.bench.frame.link import Link
from tests.bench.frame.report import Column, Verdict, median, ratio
from tests.bench.frame.server import Server
from tests.bench.frame.turns import Figures, Make, alternate

OURS, MANY, DNSMASQ, KEA, KEA_2 = "netboot", "netboot, 100,000 nodes", "dnsmasq", "Kea", "Kea, 2 threads"
UNDER_WAY, RATE = 64, 300

COLUMNS = (
    Column("exchanges/s", "rate"),
    Column("CPU µs each", "cpu", 1),
    Column("OFFER p50 ms", "offer_p50", 2),
    Column("p99", "offer_p99", 2),
    Column("ACK p50 ms", "ack_p50", 2),
    Column("p99", "ack_p99", 2),
    Column("lost", "lost"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Our options."""
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (3)")
    parser.add_argument("--machines", type=int, default=1000, help="reservations (1000)")
    parser.add_argument("--during", choices=sorted(during.DISTURBANCES), help="ours alone, disturbed by this")
    parser.add_argument("--only", metavar="WORD", default="", help="only servers whose name has this word")


def run(options: argparse.Namespace) -> Sequence[Verdict]:
    """Measure, print the tables, return the verdicts."""
    if options.quick:
        options.seconds = 0.3
    if options.during:
        return during.run(options)
    contenders = {name: make for name, make in _contenders(options.machines).items() if options.only in name}
    if options.quick:
        contenders.pop(MANY, None)
    with Link() as link, tempfile.TemporaryDirectory() as folder:
        load = Load(link, Path(folder))
        found = alternate(link, contenders, options.rounds, lambda server: _turn(load, server, options))
    print(report.servers(found, COLUMNS), end="\n\n")
    verdicts = _verdicts(found)
    print(report.floors(verdicts))
    return verdicts


def _contenders(machines: int) -> Mapping[str, Make]:
    return {
        OURS: lambda folder: sites.netboot(folder, machines),
        KEA: lambda folder: peers.kea_dhcp(folder, machines),
        KEA_2: lambda folder: peers.kea_dhcp(folder, machines, threads=2),
        DNSMASQ: lambda folder: peers.dnsmasq_dhcp(folder, machines),
        MANY: lambda folder: sites.netboot(folder, 100_000),
    }


def _turn(load: Load, server: Server, options: argparse.Namespace) -> Figures:
    """One fresh server: warm, at its limit, and at an even rate."""
    count, seconds = ("-n", str(options.machines)), options.seconds
    load.run(*count, "-k", "4", "-d", str(seconds / 4))
    before = server.cpu()
    full = load.run(*count, "-k", str(UNDER_WAY), "-d", str(seconds))
    used = server.cpu() - before
    even = load.run(*count, "-k", "512", "-r", str(RATE), "-d", str(seconds))
    return {
        **even,
        "rate": full["rate"],
        "cpu": used / max(1, full["exchanges"]) * 1e6,
        "lost": full["lost"] + even["lost"],
    }


def _verdicts(found: Mapping[str, Sequence[Figures]]) -> list[Verdict]:
    """The floors whose servers were all measured."""

    def of(name: str, figure: str) -> float:
        return median(found[name], figure)

    def against(name: str, figure: str) -> float:
        return ratio(of(OURS, figure), of(name, figure))

    verdicts: list[Verdict] = []
    if KEA in found:
        verdicts.append(Verdict("exchanges/s beside Kea (one thread)", against(KEA, "rate"), 1.5, True))
    if DNSMASQ in found:
        verdicts.append(Verdict("exchanges/s beside dnsmasq", against(DNSMASQ, "rate"), 10, True))
    if KEA_2 in found:
        verdicts.append(Verdict("CPU per exchange beside Kea, 2 threads", against(KEA_2, "cpu"), 0.8, False))
    if rivals := [name for name in (KEA, DNSMASQ) if name in found]:
        fastest = min(rivals, key=lambda name: of(name, "offer_p50"))
        verdicts.append(
            Verdict("OFFER p50 beside the faster peer", against(fastest, "offer_p50"), 1.0, False)
        )
    if DNSMASQ in found:
        verdicts.append(Verdict("ACK p50 beside dnsmasq", against(DNSMASQ, "ack_p50"), 0.5, False))
    if MANY in found:
        share = ratio(of(MANY, "rate"), of(OURS, "rate"))
        verdicts.append(Verdict("own rate with 100,000 nodes", share, 0.9, True))
    return verdicts if OURS in found else []
