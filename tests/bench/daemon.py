"""What the daemon itself costs: seconds until it serves, memory at rest and for each node.

Memory is PSS of control and all its helpers: shared pages count once. Ready is what /readyz says: every
helper is up and the boot port listens. Each start is one with an empty `data_dir`.
"""

from __future__ import annotations

import argparse
import http.client
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.bench.frame import report, sites
from tests.bench.frame.link import Link
from tests.bench.frame.report import Column, Verdict, median
from tests.bench.frame.server import Recipe, Server
from tests.bench.frame.turns import Figures, alternate
from tests.lab.namespace import enter

API = ("127.0.0.1", 8443)
FEW, FARM, LARGE = 10, 10_000, 100_000
REST = 3.0
"""Seconds after the start until memory is looked at."""

COLUMNS = (
    Column("ready after s", "ready", 2),
    Column("CPU s until then", "cpu", 2),
    Column("memory at rest MB", "memory", 1),
    Column("MB per 10,000 nodes", "per_farm", 1),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """None of our own."""


def run(options: argparse.Namespace) -> Sequence[Verdict]:
    """Measure, print the tables, return the verdicts."""
    counts = (FEW, FARM) if options.quick else (FEW, FARM, LARGE)
    with Link() as link, ThreadPoolExecutor(1, initializer=enter, initargs=(link.server,)) as inside:
        contenders = {_name(count): partial(_recipe, inside, count) for count in counts}
        found = alternate(link, contenders, options.rounds, partial(_turn, 0.5 if options.quick else REST))
    base = median(found[_name(FEW)], "memory")
    for count in counts[1:]:
        for turn in found[_name(count)]:
            turn["per_farm"] = (turn["memory"] - base) / (count - FEW) * FARM
    print(report.servers(found, COLUMNS), end="\n\n")
    verdicts = _verdicts(found)
    print(report.floors(verdicts))
    return verdicts


def _name(count: int) -> str:
    return f"{count:,} nodes"


def _recipe(inside: ThreadPoolExecutor, count: int, folder: Path) -> Recipe:
    return replace(sites.netboot(folder, count), ready=lambda: inside.submit(_ready).result())


def _ready() -> bool:
    """Ask /readyz; called in the server's namespace."""
    connection = http.client.HTTPConnection(*API, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _turn(rest: float, server: Server) -> Figures:
    used = server.cpu()
    time.sleep(rest)
    return {"ready": server.started_in, "cpu": used, "memory": server.memory() / 1e6}


def _verdicts(found: Mapping[str, Sequence[Figures]]) -> list[Verdict]:
    few, farm = found[_name(FEW)], found[_name(FARM)]
    verdicts = [
        Verdict("start to ready", median(few, "ready"), 1.0, False, " s"),
        Verdict("memory at rest", median(few, "memory"), 90.0, False, " MB"),
        Verdict("memory per 10,000 nodes", median(farm, "per_farm"), 30.0, False, " MB"),
    ]
    if large := found.get(_name(LARGE)):
        loading = median(large, "ready") - median(few, "ready")
        verdicts.append(Verdict("100,000 nodes loaded", loading, 3.0, False, " s"))
    return verdicts
