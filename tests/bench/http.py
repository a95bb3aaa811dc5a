"""HTTP beside nginx: an image to one client and to two hundred, parts of it, and scripts.

Both serve from the page cache with two processes to `load/httpload.c`, whose downloads the kernel discards.
The script is the one that boots a declared machine, rendered for each request from its lease and boot;
nginx sends the same bytes from a file. CPU is that of all processes of a server.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.frame import report, sites
from tests.bench.frame.build import compiled
from tests.bench.frame.link import INTERFACE, PREFIX, SERVER, Link, command
from tests.bench.frame.report import Column, Verdict, median, ratio
from tests.bench.frame.server import Recipe, Server
from tests.bench.frame.turns import Figures, alternate
from tests.proc.house import make_image

OURS, NGINX = "netboot", "nginx"
WORKERS = 2
SIZE = 256 << 20
NODE = sites.FIRST_ADDRESS
SCRIPT = f"/ipxe?mac={sites.mac(0).replace(':', '-')}&uuid=&arch=x86_64-efi"

COLUMNS = (
    Column("MB/s", "rate"),
    Column("CPU s/GB", "cpu", 3),
    Column("first octet ms", "first", 2),
    Column("worst ms", "worst", 1),
    Column("failed", "failed"),
    Column("client's CPU", "busy", 2),
)
SCRIPT_COLUMNS = (
    Column("answers/s", "answers"),
    Column("CPU µs", "each", 1),
    Column("median ms", "first", 2),
    Column("worst ms", "worst", 1),
    Column("failed", "failed"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement: so many connections on one path."""

    title: str
    connections: int
    words: tuple[str, ...] = ()
    script: bool = False


CASES = (
    Case("image, 1 client", 1),
    Case("image, 32 clients", 32),
    Case("image, 200 clients", 200),
    Case("parts of 8 MiB, 32 clients", 32, ("-r", f"{64 << 20}-{(72 << 20) - 1}")),
    Case("scripts, 32 kept connections", 32, ("-k",), script=True),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Our options."""
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (3)")
    parser.add_argument("--case", metavar="WORD", default="", help="only cases whose title has this word")
    # our helpers would inherit a priority above control's, and first octets would wait for whole turns
    parser.set_defaults(ordinary=True)


def run(options: argparse.Namespace) -> Sequence[Verdict]:
    """Measure, print the tables, return the verdicts."""
    cases = [case for case in CASES if options.case in case.title]
    seconds = 0.3 if options.quick else options.seconds
    with Link() as link, tempfile.TemporaryDirectory() as folder:
        # the script is for the machine that has this card and, by DHCP, this address
        command("ip", "-n", link.client, "link", "set", INTERFACE, "address", sites.mac(0))
        command("ip", "-n", link.client, "address", "add", f"{NODE}/{PREFIX}", "dev", INTERFACE)
        load = Load(link, Path(folder), seconds)
        found = alternate(
            link, {OURS: load.netboot, NGINX: load.nginx}, options.rounds, lambda s: load.all(s, cases)
        )
    verdicts: list[Verdict] = []
    for case in cases:
        figures = {name: [_of_case(turn, case) for turn in turns] for name, turns in found.items()}
        columns = SCRIPT_COLUMNS if case.script else COLUMNS
        print(f"**{case.title}**\n\n{report.servers(figures, columns)}\n")
        verdicts += _verdicts(case, figures)
    print(report.floors(verdicts))
    return verdicts


class Load:
    """The load generator, the image, and the script that nginx serves as a file."""

    def __init__(self, link: Link, folder: Path, seconds: float) -> None:
        self._link, self._folder, self._seconds = link, folder, seconds
        folder.chmod(0o755)
        self._program = compiled("httpload", folder)
        self._dhcp = compiled("dhcpload", folder)
        files = {name: os.urandom(1 << 10) for name in ("vmlinuz", "initrd.img")}
        images = folder / "images"
        self._generation = make_image(images, {**files, "root.squashfs": os.urandom(SIZE)}, name="bench")
        self._script = folder / "script"

    def netboot(self, folder: Path) -> Recipe:
        """Our daemon, with an image for its declared machine."""
        limits = {"connections": "unlimited", "requests": "unlimited"}
        images = str(self._folder / "images")
        recipe = sites.netboot(
            folder, 10, server={"boot_limits": limits, "images_dir": images, "workers": WORKERS}
        )
        config = folder / "netboot.yaml"
        content = json.loads(config.read_text())
        content["clusters"][0]["image"] = "bench"
        config.write_text(json.dumps(content))
        return recipe

    def nginx(self, folder: Path) -> Recipe:
        """nginx with as many workers, open files kept, on the same files."""
        config = folder / "nginx.conf"
        places = "".join(
            f"{kind}_temp_path {folder}/{kind};"
            for kind in ("proxy", "fastcgi", "uwsgi", "scgi", "client_body")
        )
        config.write_text(
            f"daemon off; user root; worker_processes {WORKERS}; pid {folder}/pid; error_log {folder}/errors;"
            "events { worker_connections 4096; }"
            f"http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; {places}"
            f"open_file_cache max=100; server {{ listen {SERVER}:80 backlog=1024;"
            f"location /images/ {{ root {self._folder}; }}"
            f"location /ipxe {{ default_type text/plain; alias {self._script}; }} }} }}"
        )
        ready = lambda: self._answers("/images/bench/latest/vmlinuz")  # noqa: E731
        return Recipe(["nginx", "-c", str(config), "-e", str(folder / "errors")], ready=ready)

    def all(self, server: Server, cases: Sequence[Case]) -> Figures:
        """The figures of every case, their names prefixed with its title."""
        if any(case.script for case in cases):
            self._lease()
        path = f"/images/bench/{self._generation}/vmlinuz"
        while not self._answers(path):  # our workers start after control says that it serves
            time.sleep(0.1)
        figures: Figures = {}
        for case in cases:
            figures |= {f"{case.title}: {name}": value for name, value in self._one(server, case).items()}
        return figures

    def _one(self, server: Server, case: Case) -> Figures:
        path = SCRIPT if case.script else f"/images/bench/{self._generation}/root.squashfs"
        source = ["-f", str(NODE)] if case.script else []
        words = [*self._inside(str(self._program)), "-s", str(SERVER), "-u", path, *source]
        words += ["-c", str(case.connections), "-d", str(self._seconds), *case.words]
        before = server.cpu()
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
        figures: Figures = json.loads(done.stdout)
        used = server.cpu() - before
        each = used / max(1, figures["ok"]) * 1e6
        return {**figures, "cpu": used / max(1, figures["bytes"]) * 1e9, "each": each}

    def _lease(self) -> None:
        """Firmware's four packets, so that the machine has a lease and a boot; keep its script for nginx.

        Without effect on nginx, which has the script of our own first turn.
        """
        local = ["-l", str(NODE), "-n", "1", "-p", "-1"]
        subprocess.run(
            [*self._inside(str(self._dhcp)), "-s", str(SERVER), *local, "-d", "2"],
            stdout=subprocess.DEVNULL, check=False, timeout=30,
        )  # fmt: skip
        said = subprocess.run(
            [*self._inside("curl"), "-sf", "-m", "5", "--interface", str(NODE), f"http://{SERVER}{SCRIPT}"],
            stdout=subprocess.PIPE, check=True,
        ).stdout  # fmt: skip
        if b"kernel http" not in said:
            raise RuntimeError(f"this is no script that boots a machine: {said.decode()[:500]}")
        self._script.write_bytes(said)

    def _answers(self, path: str) -> bool:
        words = [*self._inside("curl"), "-sf", "-m", "1", "-o", "/dev/null", f"http://{SERVER}{path}"]
        return subprocess.run(words, check=False).returncode == 0

    def _inside(self, program: str) -> list[str]:
        return ["ip", "netns", "exec", self._link.client, program]


def _of_case(turn: Figures, case: Case) -> Figures:
    prefix = f"{case.title}: "
    return {name.removeprefix(prefix): value for name, value in turn.items() if name.startswith(prefix)}


def _verdicts(case: Case, found: Mapping[str, Sequence[Figures]]) -> Iterator[Verdict]:
    ours, nginx = found[OURS], found[NGINX]
    if case.script:
        times = ratio(median(ours, "answers"), median(nginx, "answers"))
        yield Verdict(f"{case.title}: rate beside nginx", times, 0.75, True)
        return
    cpu = ratio(median(ours, "cpu"), median(nginx, "cpu"))
    rate = ratio(median(ours, "rate"), median(nginx, "rate"))
    if not case.words:  # parts over a connection of their own each are shown, but no target
        yield Verdict(f"{case.title}: CPU per GB beside nginx", cpu, 1.15, False)
        yield Verdict(f"{case.title}: rate beside nginx", rate, 0.85, True)
    yield Verdict(f"{case.title}: failed", sum(turn["failed"] for turn in ours), 0, False, unit="")
