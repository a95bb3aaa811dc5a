"""`scripts/bench dhcp --during WHAT`: our own latency while something disturbs, beside the same without."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.frame import report, sites
from tests.bench.frame.dhcp_load import Load
from tests.bench.frame.link import OTHERS, SERVER, Link
from tests.bench.frame.report import Column, Verdict, median, ratio
from tests.bench.frame.server import Recipe, Server
from tests.bench.frame.turns import Figures, progress, served

RATE = 300
TOGETHER, REPEATS = 100, 5
DOWNLOADS, FILE_SIZE = 32, 256 * 1024 * 1024
RELAY, RACK, CROWD = OTHERS
"""Relay agents on the client's side, beside that of the even load: of the machines at once, of a crowd."""

COLUMNS = (
    Column("exchanges", "exchanges"),
    Column("lost", "lost"),
    Column("OFFER p50 ms", "offer_p50", 2),
    Column("p99", "offer_p99", 2),
    Column("ACK p50 ms", "ack_p50", 2),
    Column("p99", "ack_p99", 2),
    Column("longest", "whole_max", 1),
    Column(f"{TOGETHER} machines at once, ms", "together", 1),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A fresh server, and what a disturbance needs of it."""

    link: Link
    load: Load
    server: Server
    quick: bool

    @property
    def folder(self) -> Path:
        """Where the server's files lie."""
        return self.server.log.parent

    def count(self, word: str) -> int:
        """How often the server has logged something."""
        return self.server.log.read_text(errors="replace").count(word)


@dataclass(frozen=True, slots=True)
class Disturbance:
    """One kind of disturbance: what it does while a `with` lasts, and what must hold then."""

    summary: str
    disturb: Callable[[Scene], AbstractContextManager[None]]
    verdicts: Callable[[Sequence[Figures], Sequence[Figures]], list[Verdict]]
    machines: int = 3000


def run(options: argparse.Namespace) -> Sequence[Verdict]:
    """Measure without and with the disturbance, print both, return the verdicts."""
    chosen = DISTURBANCES[options.during]
    machines = max(chosen.machines, options.machines)
    without: list[Figures] = []
    disturbed: list[Figures] = []
    with Link() as link, tempfile.TemporaryDirectory() as folder, progress(options.rounds) as step:
        load = Load(link, Path(folder))
        for turn in range(options.rounds):
            step(f"{options.during}, turn {turn + 1} of {options.rounds}")
            with served(link, lambda place: _recipe(place, machines)) as server:
                scene = Scene(link, load, server, options.quick)
                load.run("-n", "1000", "-k", "4", "-d", "0.5")
                without.append(_measured(scene, contextlib.nullcontext(), options.seconds))
                disturbed.append(_measured(scene, chosen.disturb(scene), options.seconds))
    print(f"{chosen.summary}\n")
    print(report.servers({"without": without, f"during {options.during}": disturbed}, COLUMNS), end="\n\n")
    verdicts = chosen.verdicts(without, disturbed)
    print(report.floors(verdicts))
    return verdicts


def _recipe(folder: Path, machines: int) -> Recipe:
    """Our daemon at the priority that it has on any host; a big file lies in its `files_dir`."""
    recipe = sites.netboot(folder, machines)
    with (folder / "files" / "big").open("wb") as file:
        os.truncate(file.fileno(), FILE_SIZE)
    return Recipe(["chrt", "--other", "0", *recipe.command], recipe.ready, recipe.environment, 120)


def _measured(scene: Scene, disturbing: AbstractContextManager[None], seconds: float) -> Figures:
    """An even load while it disturbs, which may take longer than `seconds`; and many machines at once."""
    even = scene.load.start("-n", "1000", "-k", "512", "-r", str(RATE))
    with disturbing:
        time.sleep(seconds)
        together = [_together(scene.load) for _ in range(REPEATS)]
    return {**even.stop(), "together": statistics.median(together)}


def _together(load: Load) -> float:
    """Milliseconds until machines that ask all at once have all got their addresses."""
    words = ("-1", "-n", str(TOGETHER), "-k", str(TOGETHER), "-f", "2000", "-d", "60")
    return load.run(*words, local=RACK)["seconds"] * 1e3


@contextlib.contextmanager
def _reload(scene: Scene) -> Iterator[None]:
    """The operator's nodes change again and again."""
    yield
    for number in range(2 if scene.quick else 100):
        before = scene.count("reloaded:")
        with (scene.folder / "nodes.csv").open("a") as nodes:
            nodes.write(
                f"late-{number},{sites.mac(1_000_000 + number)},{sites.FIRST_ADDRESS + 500_000 + number}\n"
            )
        scene.server.signal(signal.SIGHUP)
        until = time.monotonic() + 60
        while scene.count("reloaded:") == before:
            if time.monotonic() > until:
                raise RuntimeError(f"reload {number} did not come into force")
            time.sleep(0.02)


@contextlib.contextmanager
def _crowd(scene: Scene, rate: int) -> Iterator[None]:
    """Somebody invents machines, so many in a second."""
    words = ("-x", "-k", "4096", "-r", str(rate), "-t", "500")
    crowd = scene.load.start(*words, local=CROWD)
    try:
        time.sleep(0.5)
        yield
    finally:
        crowd.stop()


@contextlib.contextmanager
def _downloads(scene: Scene) -> Iterator[None]:
    """Clients of low priority read a big file as fast as both of us can."""
    again = f"while :; do curl -s -o /dev/null http://{SERVER}/files/big; done"
    command = [
        "ip",
        "netns",
        "exec",
        scene.link.client,
        "chrt",
        "--other",
        "0",
        "nice",
        "-n",
        "10",
        "sh",
        "-c",
        again,
    ]
    running = [subprocess.Popen(command, start_new_session=True) for _ in range(DOWNLOADS)]
    try:
        time.sleep(1)
        yield
    finally:
        for each in running:
            os.killpg(each.pid, signal.SIGKILL)
            each.wait()


def _nothing_lost(_: Sequence[Figures], disturbed: Sequence[Figures]) -> list[Verdict]:
    return [Verdict("exchanges lost", sum(turn["lost"] for turn in disturbed), 0, False, "")]


def _flood_verdicts(without: Sequence[Figures], disturbed: Sequence[Figures]) -> list[Verdict]:
    share = ratio(median(disturbed, "together"), median(without, "together"))
    return [
        *_nothing_lost(without, disturbed),
        Verdict(f"{TOGETHER} declared machines at once", share, 2.0, False),
    ]


def _download_verdicts(without: Sequence[Figures], disturbed: Sequence[Figures]) -> list[Verdict]:
    share = ratio(median(disturbed, "ack_p99"), median(without, "ack_p99"))
    return [*_nothing_lost(without, disturbed), Verdict("ACK p99", share, 5.0, False)]


DISTURBANCES = {
    "reload": Disturbance(
        "100 reloads, each with one node more, with 10,000 nodes or as many as --machines says.",
        _reload,
        _nothing_lost,
        machines=10_000,
    ),
    "probe": Disturbance(
        "50 undeclared machines a second, each offered an address that is probed first.",
        lambda scene: _crowd(scene, 50),
        _nothing_lost,
    ),
    "flood": Disturbance(
        "5,000 invented machines a second.", lambda scene: _crowd(scene, 5000), _flood_verdicts
    ),
    "downloads": Disturbance(
        f"{DOWNLOADS} downloads that saturate the host, clients at nice 10.", _downloads, _download_verdicts
    ),
}
