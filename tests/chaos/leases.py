"""`scripts/chaos leases`: kill the daemon under load, start it again, and look for what it had promised.

In namespaces of its own: the real `netboot serve`, two of Kea's perfdhcp as crowds of declared and of
undeclared machines, and tcpdump at the machines' card, which sees each ACK that left. After a random 1 to
200 ms of load all of the daemon, or its control process alone, gets SIGKILL; a new one starts on the same
data_dir, and every ACK is held against what that one tells and against the rows of its file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.chaos.acks import Capture
from tests.chaos.disk import Disk
from tests.chaos.ledger import Ledger, Row
from tests.lab.appliance import Appliance
from tests.lab.namespace import BRIDGE, Lab, die_with_parent, run, wait_until
from tests.lab.site import scratch, write_yaml

SERVER, PREFIX = "10.96.0.1", 11
RANGE = "10.97.0.1-10.126.255.250"
DECLARED = 300
"""Declared machines; their MACs are made as perfdhcp makes them."""

CROWD = 4000
"""Undeclared machines that come to one kill. Every other time they are new ones, else the epoch's first."""

RATE = 1000
"""Exchanges per second that each crowd begins."""

EPOCH = 25
"""Rounds with one data_dir; then a new one, so that the store does not only grow."""

LOAD_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Kill:
    """One planned kill."""

    delay: float
    whole: bool
    """The whole tree of processes, or control alone."""


def planned(times: int, seed: int) -> list[Kill]:
    """The kills of a seed: the same at every run."""
    chance = random.Random(seed)
    return [Kill(chance.randint(1, 200) / 1000, chance.random() < 0.5) for _ in range(times)]


@dataclass(slots=True)
class Result:
    """What a run came to."""

    kills: list[Kill] = field(default_factory=list)
    acks: int = 0
    machines: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    dropped: int = 0
    """Frames that tcpdump could not write: the eyes, not the daemon, were too slow."""

    @property
    def clean(self) -> bool:
        """Whether every promise was kept."""
        return not self.lost and not self.twice


class Daemon(Appliance):
    """`netboot serve`, or a module that runs it with a fault."""

    def __init__(self, module: str, disk: Disk | None, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._module = module
        self._disk = disk

    @property
    def command(self) -> list[str]:
        """What is started in the namespace."""
        return [sys.executable, "-m", self._module, "serve", *self.config_arguments]

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), **(self._disk.environment if self._disk else {})}

    def die(self, pids: list[int]) -> None:
        """SIGKILL to control, then at once to the rest of `pids`."""
        os.kill(self.pid, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self._process
        self._process.wait(20)
        self._process = None
        # a service manager waits for the whole control group, too
        wait_until("the helpers of the dead daemon have ended", lambda: not self.family(), 20, every=0.01)
        if self._disk:
            self._disk.power_cut(self.data_dir)

    def forget(self) -> None:
        """Its data_dir is gone."""
        if self._disk:
            self._disk.forget()

    def family(self) -> list[int]:
        """All of its processes but control."""
        return [pid for kind in ("forker", "bulk", "tftp") for pid in self.helpers(kind)]


class Crowds:
    """The machines' namespace: a card on the daemon's link, tcpdump on it, and two perfdhcp."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.name = f"{lab.name}-crowd"
        self._directory = directory
        self._tcpdump: subprocess.Popen[bytes] | None = None
        self._running: list[subprocess.Popen[bytes]] = []
        self.capture = Capture(directory / "acks.pcap")

    def __enter__(self) -> Crowds:
        run("ip", "netns", "add", self.name)
        try:
            self._plug()
            self._listen()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.silence()
        if self._tcpdump:
            self.dropped()
        run("ip", "netns", "del", self.name, check=False)

    def _plug(self) -> None:
        crowd = ("ip", "-n", self.name)
        run(*crowd, "link", "add", "eth0", "type", "veth", "peer", "name", "crowd", "netns", self.lab.name)
        self.lab.ip(f"link set crowd master {BRIDGE} up")
        run(*crowd, "link", "set", "lo", "up")
        run(*crowd, "link", "set", "eth0", "up")
        for last in (2, 3):
            run(*crowd, "addr", "add", f"10.96.0.{last}/{PREFIX}", "dev", "eth0")
        ping = ("ip", "netns", "exec", self.name, "ping", "-c", "1", "-W", "1", SERVER)
        wait_until("the link is up", lambda: " 0% packet loss" in run(*ping, check=False), 20)

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=die_with_parent,
            start_new_session=True,
        )  # fmt: skip

    def _listen(self) -> None:
        path = str(self._directory / "acks.pcap")
        # in immediate mode each slot of the ring is as long as the snapshot: 256 KiB without -s
        ring = ("--immediate-mode", "-B", "65536", "-s", "1600")
        words = ["-i", "eth0", "-p", "-U", *ring, "-Z", "root"]
        self._tcpdump = self._start("tcpdump", *words, "-w", path, f"udp and host {SERVER} and port 67")
        wait_until("tcpdump listens", lambda: Path(path).exists() and Path(path).stat().st_size >= 24, 20)

    def dropped(self) -> int:
        """End tcpdump; how many frames it has missed."""
        assert self._tcpdump
        self._tcpdump.send_signal(signal.SIGINT)
        _, said = self._tcpdump.communicate(timeout=20)
        self._tcpdump = None
        line = next((x for x in said.decode().splitlines() if "dropped by kernel" in x), "0 packets")
        return int(line.split()[0])

    def come(self, group: int) -> None:
        """Both crowds power on: the declared one, and a group of undeclared ones."""
        self._perfdhcp("10.96.0.2", "02:de:00:00:00:00", DECLARED)
        self._perfdhcp("10.96.0.3", f"02:ad:{group >> 8:02x}:{group & 255:02x}:00:00", CROWD)

    def _perfdhcp(self, local: str, mac: str, count: int) -> None:
        words = ["-4", "-l", local, "-b", f"mac={mac}", "-R", str(count), "-r", str(RATE), "-p", "60"]
        self._running.append(self._start("perfdhcp", *words, SERVER))

    def silence(self) -> None:
        """The crowds go; what they were answered stays in the capture."""
        for process in self._running:
            process.kill()
            process.communicate()
        self._running.clear()


def config(directory: Path, data_dir: Path) -> dict[str, Any]:
    """The operator's file: one wide network, declared machines, everybody else."""
    nodes = [
        {"name": f"d{i}", "macs": [f"02:de:00:00:{i >> 8:02x}:{i & 255:02x}"], "address": str(declared(i))}
        for i in range(DECLARED)
    ]
    crowd = {
        "name": "crowd",
        "subnet": f"10.96.0.0/{PREFIX}",
        "interface": BRIDGE,
        "address": SERVER,
        "range": RANGE,
    }
    return {
        "server": {"data_dir": str(data_dir), "images_dir": str(directory / "images"), "workers": 1},
        "networks": [crowd],
        "clusters": [{"name": "alone", "endpoint": f"{SERVER}:6443", "join": {"method": "none"}}],
        "pools": [
            {"name": "known", "cluster": "alone", "network": "crowd", "nodes": nodes},
            {"name": "unknown", "cluster": "alone", "network": "crowd", "catch_all": True},
        ],
    }  # fmt: skip


def declared(number: int) -> IPv4Address:
    """The address of a declared machine."""
    return IPv4Address("10.96.8.1") + (number // 200) * 256 + number % 200


class Epoch:
    """One data_dir: a daemon that is killed and started on it again and again."""

    def __init__(self, crowds: Crowds, directory: Path, number: int, module: str, disk: Disk | None) -> None:
        self.crowds = crowds
        self._rounds = 0
        self.data_dir = directory / f"data-{number}"
        path = write_yaml(directory / "netboot.yaml", config(directory, self.data_dir))
        self.daemon = Daemon(module, disk, crowds.lab, [path], directory, self.data_dir)
        self.ledger = Ledger()

    def round(self, kill: Kill) -> float:
        """One kill under load, one restart, one look at everything; the seconds from start to ready."""
        family = self.daemon.family() if kill.whole else []
        self.ledger.saw(self.crowds.capture.new())
        self._rounds += 1
        self.crowds.come(self._rounds if self._rounds % 2 else 0)
        self._wait_for_load()
        time.sleep(kill.delay)
        self.daemon.die(family)
        self.crowds.silence()
        began = time.monotonic()
        self.daemon.start()
        ready = time.monotonic() - began
        self.ledger.saw(self.crowds.capture.new())
        self.ledger.compare(rows(self.daemon.items("/api/v1/leases?limit=100000")))
        self.ledger.compare(self.stored())
        return ready

    def finish(self) -> None:
        """One more look, as operators look: `netboot lease list -o json`."""
        self.ledger.compare(rows(json.loads(self.daemon.netboot("lease", "list", "-o", "json"))))

    def _wait_for_load(self) -> None:
        """Until machines of both crowds were acknowledged in this round."""
        seen: set[str] = set()

        def both() -> bool:
            acks = self.crowds.capture.new()
            self.ledger.saw(acks)
            seen.update(ack.mac[:5] for ack in acks)
            return {"02:de", "02:ad"} <= seen

        wait_until("ACKs to both crowds", both, LOAD_WITHIN, every=0.002)

    def stored(self) -> Iterator[Row]:
        """The leases as they stand in the file."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data_dir}/netboot.db?mode=ro", uri=True)) as db:
            for mac, address, expires in db.execute("SELECT mac, address, expires FROM leases"):
                yield Row(mac, IPv4Address(address), expires)


def rows(shown: Iterable[dict[str, Any]]) -> Iterator[Row]:
    """The leases of a list of the API; resting addresses are nobody's."""
    for row in shown:
        if row["mac"]:
            yield Row(row["mac"], IPv4Address(row["address"]), row["expires"])


def chaos(
    times: int,
    seed: int,
    *,
    module: str = "netboot",
    power: bool = False,
    stop: bool = False,
    tick: Callable[[], object] = lambda: None,
) -> Result:
    """The whole run.

    `power`: each kill is a power cut, too: what was not synced is lost. `stop`: end with the first round that
    lost something. `tick` is called for each kill.
    """
    result = Result()
    kills = planned(times, seed)
    if power:
        kills = [replace(kill, whole=True) for kill in kills]
    with scratch() as directory, Lab() as lab:
        lab.ip(f"addr add {SERVER}/{PREFIX} dev {BRIDGE}")
        (directory / "images").mkdir()
        disk = Disk(directory / "disk") if power else None
        with Crowds(lab, directory) as crowds:
            for first in range(0, times, EPOCH):
                epoch = Epoch(crowds, directory, first // EPOCH, module, disk)
                _live(epoch, kills[first : first + EPOCH], result, stop, tick)
                if stop and not result.clean:
                    break
            result.dropped = crowds.dropped()
    return result


def _live(epoch: Epoch, kills: list[Kill], result: Result, stop: bool, tick: Callable[[], object]) -> None:
    """The rounds of an epoch."""
    ledger = epoch.ledger
    with epoch.daemon:
        for kill in kills:
            result.restarts.append(epoch.round(kill))
            result.kills.append(kill)
            tick()
            if stop and (ledger.lost or ledger.twice):
                break
        epoch.finish()
    result.acks += ledger.acks
    result.machines += len(ledger.promised)
    result.lost += ledger.lost
    result.twice += ledger.twice
    shutil.rmtree(epoch.data_dir)
    epoch.daemon.forget()


def report(result: Result, asked: str, seconds: float) -> Table:
    """The table that stands in docs/reliability.md."""
    from netboot import __version__

    table = Table(title=f"scripts/chaos leases {asked}")
    table.add_column("what")
    table.add_column("figure", justify="right")
    whole = sum(kill.whole for kill in result.kills)
    rows = {
        "version, date": f"{__version__}, {time.strftime('%Y-%m-%d', time.gmtime())}",
        "kills": f"{len(result.kills)}",
        "of all processes / of control alone": f"{whole} / {len(result.kills) - whole}",
        "machines": f"{result.machines:,}",
        "ACKs that machines saw": f"{result.acks:,}",
        "acknowledged leases lost": f"{len(result.lost)}",
        "addresses held twice": f"{len(result.twice)}",
        "frames that tcpdump missed": f"{result.dropped}",
        "start to ready: median, longest": _spread(result.restarts),
        "time": f"{seconds:.0f} s",
    }
    for what, figure in rows.items():
        table.add_row(what, figure)
    return table


def _spread(restarts: list[float]) -> str:
    return f"{statistics.median(restarts):.2f} s, {max(restarts):.2f} s" if restarts else "-"


def register(kinds: Any) -> None:
    """The words of the command line."""
    parser = kinds.add_parser("leases", help=__doc__.splitlines()[0], description=__doc__)
    parser.add_argument("--times", type=int, default=50, metavar="N", help="kills (default: 50)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the kills' moments and kinds")
    parser.add_argument("--power-cuts", action="store_true", help="lose what was not synced, too")
    parser.add_argument("--stop", action="store_true", help="end with the first round that lost something")
    parser.add_argument(
        "--daemon", default="netboot", metavar="MODULE", help="what is run as `python -m MODULE serve`"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    missing = [program for program in ("perfdhcp", "tcpdump") if not shutil.which(program)]
    if missing:
        print(
            f"scripts/chaos: not installed: {', '.join(missing)} (scripts/packages.txt)",
            file=sys.stderr,
        )
        return 2
    console = Console()
    began = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("kills", total=args.times)
        result = chaos(
            args.times,
            args.seed,
            module=args.daemon,
            power=args.power_cuts,
            stop=args.stop,
            tick=lambda: progress.advance(task),
        )
    for line in (*result.lost, *result.twice)[:50]:
        console.print(line, style="red", markup=False)
    asked = f"--times {args.times} --seed {args.seed}" + (" --power-cuts" if args.power_cuts else "")
    console.print(report(result, asked, time.monotonic() - began))
    return 0 if result.clean else 1
