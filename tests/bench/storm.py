"""A boot storm: so many machines come back at once, with and without a number that may download together.

Each machine has a card and an address of its own and goes from DISCOVER to its report (`frame/rack.py`),
while other machines ask for addresses at an even rate. A row of steps says how many came through, and when.
A run in which a machine misses a step is refused: half a storm is none.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.bench.frame import plot, rack, report, sites
from tests.bench.frame.dhcp_load import Load
from tests.bench.frame.link import Link, command
from tests.bench.frame.rack import STEPS, Machine
from tests.bench.frame.report import Column, Verdict, median, ratio, table
from tests.bench.frame.server import Recipe, Server
from tests.bench.frame.turns import Figures, Refused, progress, served
from tests.boot.identity import identity
from tests.proc.house import make_image

RATE = 100
"""Exchanges of other machines that begin in a second."""
OTHERS = 1000
KERNEL, INITRD = 8, 16
"""MiB, beside the squashfs of `--megabytes`."""

COLUMNS = (
    Column("machines", "machines"),
    Column("complete after s p50", "p50", 1),
    Column("p99", "p99", 1),
    Column("last", "last", 1),
    Column("told to wait", "waited"),
    Column("MB/s", "rate"),
    Column("CPU s", "cpu", 1),
    Column("memory MB", "memory", 1),
    Column("ACK p50 ms idle", "idle_p50", 2),
    Column("p99", "idle_p99", 2),
    Column("ACK p50 ms in the storm", "ack_p50", 2),
    Column("p99", "ack_p99", 2),
    Column("lost", "lost"),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Our options."""
    parser.add_argument("--machines", type=int, default=200, help="that come back at once (200)")
    parser.add_argument("--megabytes", type=int, default=64, help="of the squashfs, MiB (64)")
    parser.add_argument("--max-downloads", type=int, default=40, help="machines at once, where limited (40)")
    parser.add_argument("--link", metavar="RATE", default="", help="shape the link as tc writes it (10gbit)")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="how many are through, over time")
    # the machines at nice 10, the daemon at the priority that it has on any host
    parser.set_defaults(ordinary=True)


def run(options: argparse.Namespace) -> Sequence[Verdict]:
    """Storm without and with a limit, print the tables, return the verdicts."""
    if options.quick:
        options.machines, options.megabytes, options.max_downloads = 12, 4, 3
    limited = f"max_downloads: {options.max_downloads}"
    settings = {"no limit": {}, limited: {"storm": {"max_downloads": options.max_downloads}}}
    found: dict[str, list[Figures]] = {name: [] for name in settings}
    steps: dict[str, list[Machine]] = {}
    with tempfile.TemporaryDirectory(prefix="netbench-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        site = _Site(folder, options)
        with progress(options.rounds * len(settings)) as step:
            for turn in range(options.rounds):
                for what, server in settings.items():
                    step(f"{what}, turn {turn + 1} of {options.rounds}")
                    figures, steps[what] = site.storm(server)
                    found[what].append(figures)
    for what, machines in steps.items():
        print(
            f"**{what}**: seconds from power-on until a step is through (last turn)\n\n{_steps(machines)}\n"
        )
    if options.plot:
        ends = {
            f"{what}, {step}": [machine.done[step] for machine in machines]
            for what, machines in steps.items()
            for step in ("script", STEPS[-1])
        }
        print(f"{options.plot}: per cent of the machines; {plot.shares(options.plot, ends)}\n")
    print(report.servers(found, COLUMNS), end="\n\n")
    verdicts = _verdicts(found)
    print(report.floors(verdicts))
    return verdicts


class _Site:
    """The image, a certificate to claim with, and storms on fresh servers."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self._folder, self._options = folder, options
        sizes = {"vmlinuz": KERNEL, "initrd.img": INITRD, "root.squashfs": options.megabytes}
        if options.quick:
            sizes |= {"vmlinuz": 1, "initrd.img": 1}
        self._bytes = sum(sizes.values()) << 20
        piece = os.urandom(1 << 20)
        make_image(folder / "images", {file: piece * size for file, size in sizes.items()}, name="bench")
        (folder / "identity").mkdir()
        self._certificate = identity(folder / "identity").pem

    def storm(self, server: Mapping[str, object]) -> tuple[Figures, list[Machine]]:
        """One storm on a fresh server. Raises Refused where a machine misses a step."""
        machines = [Machine(number) for number in range(self._options.machines)]
        with Link() as link:
            rack.plug_in(link, machines)
            if self._options.link:
                shape = ("tbf", "rate", self._options.link, "burst", "1m", "latency", "50ms")
                command("tc", "-n", link.server, "qdisc", "replace", "dev", "eth0", "root", *shape)
            with served(link, lambda folder: self._recipe(folder, server)) as daemon:
                figures = self._measured(link, daemon, machines)
        for machine in machines:
            if machine.failed or list(machine.done) != list(STEPS):
                raise Refused(f"machine {machine.number} came to no end: {machine.failed or machine.done}")
        return figures, machines

    def _recipe(self, folder: Path, server: Mapping[str, object]) -> Recipe:
        images = str(self._folder / "images")
        count = self._options.machines + OTHERS
        recipe = sites.netboot(folder, count, server={"images_dir": images, **server})
        config = folder / "netboot.yaml"
        content = json.loads(config.read_text())
        content["clusters"][0]["image"] = "bench"
        config.write_text(json.dumps(content))
        return recipe

    def _measured(self, link: Link, daemon: Server, machines: list[Machine]) -> Figures:
        seconds = 1.0 if self._options.quick else 5.0
        load = Load(link, self._folder)
        others = ("-n", str(OTHERS), "-f", str(self._options.machines), "-k", "512", "-r", str(RATE))
        load.run(*others, "-d", "1")
        idle = load.run(*others, "-d", str(seconds))
        even = load.start(*others)
        with _Peak(daemon) as peak:
            before, began = daemon.cpu(), time.monotonic()
            rack.boot_all(link, machines, self._certificate, 600.0)
            took, used = time.monotonic() - began, daemon.cpu() - before
        stormy = even.stop()
        ends = sorted(machine.done.get(STEPS[-1], took) for machine in machines)
        return {
            "machines": sum(STEPS[-1] in machine.done for machine in machines),
            "p50": ends[len(ends) // 2],
            "p99": ends[int(len(ends) * 0.99)],
            "last": ends[-1],
            "waited": sum(machine.waited for machine in machines),
            "repeated": sum(machine.repeated for machine in machines),
            "rate": self._bytes * len(machines) / took / 1e6,
            "cpu": used,
            "memory": peak.octets / 1e6,
            "idle_p50": idle["ack_p50"],
            "idle_p99": idle["ack_p99"],
            "ack_p50": stormy["ack_p50"],
            "ack_p99": stormy["ack_p99"],
            "lost": stormy["lost"],
        }


class _Peak:
    """The most memory that a server has while the `with` lasts, looked at once a second."""

    def __init__(self, server: Server) -> None:
        self._server, self._end = server, threading.Event()
        self.octets = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        with suppress(OSError):
            while True:
                self.octets = max(self.octets, self._server.memory())
                if self._end.wait(1.0):
                    return


def _steps(machines: Sequence[Machine]) -> str:
    """How many came through each step, and when: the first, the middle and the last of them."""
    rows = []
    for step in STEPS:
        times = sorted(machine.done[step] for machine in machines if step in machine.done)
        points = (times[0], times[len(times) // 2], times[int(len(times) * 0.9)], times[-1])
        rows.append((step, f"{len(times)} of {len(machines)}", *(f"{each:.1f}" for each in points)))
    return table(("step", "through", "first", "p50", "p90", "last"), rows)


def _verdicts(found: Mapping[str, Sequence[Figures]]) -> list[Verdict]:
    verdicts = []
    for what, turns in found.items():
        p99 = max(median(turns, "idle_p99"), 0.01)
        verdicts += [
            Verdict(f"{what}: DHCP exchanges lost", sum(turn["lost"] for turn in turns), 0, False, ""),
            Verdict(f"{what}: ACK p99 beside idle", ratio(median(turns, "ack_p99"), p99), 5.0, False),
            Verdict(f"{what}: the last machine beside the median",
                    max(ratio(turn["last"], turn["p50"]) for turn in turns), 3.0, False),
        ]  # fmt: skip
    return verdicts
