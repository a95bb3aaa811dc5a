"""TFTP downloads beside dnsmasq and tftpd-hpa: lockstep and windows, one client and many, on links that lose.

The whole daemon serves a file of 1 MiB to `load/tftpload.c`, which compares every block. The client's core
is the other half of a lockstep download: where its share is near 1, it is what is measured. For losses the
kernel of the client's namespace drops datagrams both ways (nftables), segmentation switched off so that a
window is lost datagram by datagram; a download that did not end counts with the limit of its turn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.frame import report, sites
from tests.bench.frame.build import compiled
from tests.bench.frame.cpu import tree
from tests.bench.frame.link import INTERFACE, SERVER, Link, command
from tests.bench.frame.report import Column, Verdict, median, ratio
from tests.bench.frame.server import Recipe, Server
from tests.bench.frame.turns import Figures, Make, alternate

OURS, SINGLE, DNSMASQ, HPA = "netboot", "netboot, single port", "dnsmasq", "tftpd-hpa"
FILE, SMALL = 1 << 20, 1 << 18
LIMIT = 20.0
"""Seconds that one measurement may last."""

COLUMNS = (
    Column("MB/s", "rate", 1),
    Column("CPU s/GB", "cpu", 1),
    Column("median s", "median", 3),
    Column("worst s", "worst", 3),
    Column("failed", "failed"),
    Column("sent again", "again"),
    Column("window", "windowsize"),
    Column("client's CPU", "busy", 2),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement: so many downloads, so many at once."""

    title: str
    window: int
    downloads: int
    at_once: int
    loss: int = 0
    """Percent of all datagrams, each way."""

    @property
    def size(self) -> int:
        """Octets of the file: a small one where most of the time is spent in waiting."""
        return SMALL if self.loss else FILE


CASES = (
    Case("lockstep, 1 client", 1, 20, 1),
    Case("lockstep, 50 clients", 1, 300, 50),
    Case("lockstep, 200 clients", 1, 400, 200),
    Case("windowsize 4, 1 client", 4, 40, 1),
    Case("windowsize 16, 1 client", 16, 100, 1),
    Case("windowsize 64, 1 client", 64, 200, 1),
    Case("windowsize 16, 50 clients", 16, 500, 50),
    Case("1 % lost, lockstep, 20 clients", 1, 20, 20, loss=1),
    Case("5 % lost, lockstep, 20 clients", 1, 20, 20, loss=5),
    Case("5 % lost, windowsize 16, 20 clients", 16, 20, 20, loss=5),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Our options."""
    parser.add_argument("--only", metavar="WORD", default="", help="only servers whose name has this word")
    parser.add_argument("--case", metavar="WORD", default="", help="only cases whose title has this word")


def run(options: argparse.Namespace) -> Sequence[Verdict]:
    """Measure, print the tables, return the verdicts."""
    cases = [case for case in CASES if options.case in case.title]
    contenders = {name: make for name, make in CONTENDERS.items() if options.only in name}
    with Link() as link, tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        load = Load(link, Path(folder))
        found = alternate(
            link,
            {name: _with_files(make, load) for name, make in contenders.items()},
            options.rounds,
            lambda server: load.all(server, cases, quick=options.quick),
        )
    verdicts: list[Verdict] = []
    for case in cases:
        figures = {name: [_of_case(turn, case) for turn in turns] for name, turns in found.items()}
        print(f"**{case.title}**\n\n{report.servers(figures, COLUMNS)}\n")
        verdicts += _verdicts(case, figures)
    print(report.floors(verdicts))
    return verdicts


class Load:
    """The load generator and the files that it wants."""

    def __init__(self, link: Link, folder: Path) -> None:
        self._link, self.folder = link, folder
        self._program = compiled("tftpload", folder)
        for size in (FILE, SMALL):
            (folder / f"file-{size}").write_bytes(os.urandom(size))

    def all(self, server: Server, cases: Sequence[Case], *, quick: bool) -> Figures:
        """The figures of every case, their names prefixed with its title."""
        alike(server)
        figures: Figures = {}
        for case in cases:
            with self._losing(case.loss):
                measured = self._one(server, case, quick=quick)
            figures |= {f"{case.title}: {name}": value for name, value in measured.items()}
        return figures

    def _one(self, server: Server, case: Case, *, quick: bool) -> Figures:
        if not case.loss:
            self._run(case, 1, 1)
        downloads = case.at_once if quick else case.downloads
        before = server.cpu()
        figures = self._run(case, downloads, case.at_once)
        used = server.cpu() - before
        if figures["ok"]:
            figures["cpu"] = used / (figures["ok"] * case.size) * 1e9
        return figures

    def _run(self, case: Case, downloads: int, at_once: int) -> Figures:
        name = f"file-{case.size}"
        words = ["ip", "netns", "exec", self._link.client, str(self._program), "-s", str(SERVER)]
        words += ["-f", name, "-r", str(self.folder / name), "-b", "1428", "-w", str(case.window)]
        words += ["-n", str(downloads), "-c", str(at_once), "-m", str(LIMIT)]
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
        figures: Figures = json.loads(done.stdout)
        if figures["wrong"]:
            raise RuntimeError(f"a server sent wrong blocks: {done.stdout}")
        return figures

    @contextmanager
    def _losing(self, percent: int) -> Iterator[None]:
        """A link that loses datagrams both ways."""
        if not percent:
            yield
            return
        self._offload("off")
        drop = f"meta l4proto udp numgen random mod 100 < {percent} drop"
        chains = (
            f"chain {hook} {{ type filter hook {hook} priority -300; {drop}; }}"
            for hook in ("input", "output")
        )
        newline = "\n"
        self._nft(f"table ip loss {{\n{newline.join(chains)}\n}}")
        try:
            yield
        finally:
            self._nft("flush ruleset")
            self._offload("on")

    def _nft(self, rules: str) -> None:
        command("ip", "netns", "exec", self._link.client, "nft", rules)

    def _offload(self, state: str) -> None:
        for namespace in (self._link.server, self._link.client):
            command(
                "ip", "netns", "exec", namespace, "ethtool", "-K", INTERFACE,
                "tx-udp-segmentation", state, "gso", state, "tso", state,
            )  # fmt: skip


def alike(server: Server) -> None:
    """Let a server's processes run at the bench's priority: our helpers give it up, peers keep it."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    for pid in tree(server.pid):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setscheduler(pid, policy & ~os.SCHED_RESET_ON_FORK, parameters)


def _with_files(make: Make, load: Load) -> Make:
    """The server of `make`, on a folder with our files."""

    def made(folder: Path) -> Recipe:
        files = folder / "files"
        files.mkdir(exist_ok=True)
        files.chmod(0o755)
        for size in (FILE, SMALL):
            (files / f"file-{size}").write_bytes((load.folder / f"file-{size}").read_bytes())
        return make(folder)

    return made


def _netboot(folder: Path, *, single_port: bool = False) -> Recipe:
    limits = {"max_transfers": 1000, "per_client": 1000, "single_port": single_port}
    return sites.netboot(folder, 10, server={"tftp": limits})


def _dnsmasq(folder: Path) -> Recipe:
    words = ["dnsmasq", "-k", "--conf-file=/dev/null", "--port=0", f"--listen-address={SERVER}"]
    words += ["--bind-interfaces", "--enable-tftp", f"--tftp-root={folder / 'files'}", "--tftp-max=1000"]
    words += ["--user=root", "--quiet-tftp", "--log-facility=-", f"--pid-file={folder / 'pid'}"]
    log = folder / "log"
    return Recipe(words, ready=lambda: b"TFTP root is" in log.read_bytes())


def _hpa(folder: Path) -> Recipe:
    words = ["in.tftpd", "-L", "-4", "-a", f"{SERVER}:69", "-s", str(folder / "files"), "-u", "root"]
    return Recipe(words, ready=lambda: True)  # it says nothing; the first download repeats its request


CONTENDERS: Mapping[str, Make] = {
    OURS: _netboot,
    DNSMASQ: _dnsmasq,
    HPA: _hpa,
    SINGLE: lambda folder: _netboot(folder, single_port=True),
}


def _of_case(turn: Figures, case: Case) -> Figures:
    prefix = f"{case.title}: "
    return {name.removeprefix(prefix): value for name, value in turn.items() if name.startswith(prefix)}


RATES: Mapping[str, Sequence[tuple[str, float]]] = {
    "lockstep, 50 clients": ((DNSMASQ, 0.9), (HPA, 1.4)),
    "lockstep, 200 clients": ((DNSMASQ, 0.9), (HPA, 1.4)),
    "windowsize 4, 1 client": ((DNSMASQ, 2.5),),
    "windowsize 16, 1 client": ((DNSMASQ, 7.0),),
    "windowsize 64, 1 client": ((DNSMASQ, 12.0),),
    "windowsize 16, 50 clients": ((DNSMASQ, 2.5),),
}
"""How many times a peer's rate ours must be, at least."""


def _verdicts(case: Case, found: Mapping[str, Sequence[Figures]]) -> Iterator[Verdict]:
    """The floors of a case whose servers were all measured."""
    if OURS not in found:
        return
    ours = found[OURS]
    peers = {name: turns for name, turns in found.items() if name in (DNSMASQ, HPA)}
    for name, limit in RATES.get(case.title, ()):
        if name in peers:
            times = ratio(median(ours, "rate"), median(peers[name], "rate"))
            yield Verdict(f"{case.title}: rate beside {name}", times, limit, True)
    if case.title == "lockstep, 1 client" and peers:
        best = max(median(turns, "rate") for turns in peers.values())
        rate = ratio(median(ours, "rate"), best)
        yield Verdict(f"{case.title}: rate beside the best peer", rate, 0.95, True)
    if case.loss:
        if DNSMASQ in peers:
            for figure, limit in (("median", 5.0), ("worst", 3.0)):
                times = ratio(median(peers[DNSMASQ], figure), median(ours, figure))
                yield Verdict(f"{case.title}: {figure} beside dnsmasq's", times, limit, True)
        failures = sum(turn["failed"] for turn in ours)
        yield Verdict(f"{case.title}: downloads that failed", failures, 0, False, unit="")
