"""What downloads cost in memory: 1,000 machines in the midst of one image of 650 MiB, and what is left after.

Each machine has a boot and an address of its own. A turn goes through three looks at the daemon and all its
helpers (PSS: shared pages count once; open descriptors): idle; with every download under way at the same
moment, each of which has received a part and gets more of it in every round, while none has come to its end;
and after all have gone. A turn in which one download is not under way is refused. The machines read slowly,
so that this costs little CPU; what stands in the kernel's page cache and socket buffers is not the daemon's.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from tests.bench.frame import report, sites
from tests.bench.frame.dhcp_load import Load
from tests.bench.frame.link import INTERFACE, PREFIX, SERVER, Link
from tests.bench.frame.report import Column, Verdict, median
from tests.bench.frame.server import Recipe, Server
from tests.bench.frame.turns import Figures, Refused, alternate
from tests.lab.namespace import enter
from tests.lab.namespace import run as command
from tests.support.certificates import authority

IMAGE = "bench"
PART = 64 << 10
"""Octets that a machine takes from its download before any look at memory."""
SIP = 4 << 10
"""Octets that it takes in each round."""
ROUNDS = 5
WARM = 10
"""Downloads before the first look: idle is a daemon that has served before."""
PATIENCE = 30.0
"""Seconds without an octet; also how long the daemon has to close what the machines have left."""
REST = 2.0
"""Seconds after the start until idle memory is looked at."""

COLUMNS = (
    Column("downloads under way", "downloads"),
    Column("idle MB", "idle", 1),
    Column("under way MB", "busy", 1),
    Column("beyond idle MB", "beyond", 1),
    Column("kB per download", "each", 1),
    Column("after MB", "after", 1),
    Column("descriptors idle", "descriptors_idle"),
    Column("under way", "descriptors_busy"),
    Column("after", "descriptors_after"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """So many downloads at once, by HTTP or by HTTPS."""

    title: str
    downloads: int
    https: bool = False


def arguments(parser: argparse.ArgumentParser) -> None:
    """Our options."""
    parser.add_argument("--downloads", type=int, default=1000, help="at once by HTTP (1000)")
    parser.add_argument("--https", type=int, default=200, help="at once by HTTPS (200)")
    parser.add_argument("--megabytes", type=int, default=650, help="of the image, MiB (650)")
    parser.set_defaults(ordinary=True)


def run(options: argparse.Namespace) -> Sequence[Verdict]:
    """Measure, print the table, return the verdicts."""
    if options.quick:
        options.downloads, options.https, options.megabytes = 50, 10, 16
    http = Case(f"netboot, {options.downloads:,} by HTTP", options.downloads)
    cases = [http]
    if options.https:
        cases.append(Case(f"netboot, {options.https:,} by HTTPS", options.https, https=True))
    with tempfile.TemporaryDirectory(prefix="netbench-", dir="/var/tmp") as name, Link() as link:
        folder = Path(name)
        folder.chmod(0o755)
        site = _Site(link, folder, options)
        found: dict[str, list[Figures]] = {}
        for case in cases:
            contender = {case.title: partial(site.recipe, case.https)}
            found |= alternate(link, contender, options.rounds, partial(site.measured, case))
    print(report.servers(found, COLUMNS), end="\n\n")
    verdicts = [verdict for case in cases for verdict in _verdicts(case, found[case.title])]
    print(report.floors(verdicts))
    return verdicts


def make_sparse_image(images: Path, size: int) -> str:
    """Lay an image of nothing but zeros into `images`, which costs no disk; its generation."""
    zeros = bytes(1 << 20)
    files = {"vmlinuz": 1 << 10, "initrd.img": 1 << 10, "root.squashfs": size}
    entries = {}
    for file, length in files.items():
        digest = hashlib.sha256()
        for begin in range(0, length, len(zeros)):
            digest.update(zeros[: length - begin])
        entries[file] = {"size": length, "sha256": digest.hexdigest()}
    manifest = json.dumps({"version": 1, "name": IMAGE, "files": entries}).encode()
    generation = hashlib.sha256(manifest).hexdigest()
    folder = images / IMAGE / generation
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(manifest)
    for file, length in files.items():
        (folder / file).touch()
        os.truncate(folder / file, length)
    (images / IMAGE / "latest").symlink_to(generation)
    return generation


class Download:
    """One machine's download, read as slowly as it is told to. Raises Refused where it breaks off."""

    def __init__(self, address: IPv4Address, path: str, context: ssl.SSLContext | None) -> None:
        self._address, self._path = address, path
        self._left = 0
        plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            plain.settimeout(PATIENCE)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PART)
            plain.bind((str(address), 0))
            plain.connect((str(SERVER), 443 if context else 80))
            self._socket = context.wrap_socket(plain, server_hostname=str(SERVER)) if context else plain
            self._head()
        except BaseException:
            plain.close()
            raise

    def _head(self) -> None:
        self._socket.sendall(f"GET {self._path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        said = b""
        while b"\r\n\r\n" not in said:
            if not (piece := self._socket.recv(SIP)):
                raise Refused(f"{self._address}: no whole head: {said!r}")
            said += piece
        head, _, body = said.partition(b"\r\n\r\n")
        length = next((x for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")), b":0")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Refused(f"{self._address}: {head!r}")
        self._left = int(length.partition(b":")[2]) - len(body)

    def take(self, octets: int) -> None:
        """Read so many octets, none of which may be the last one."""
        wanted = octets
        while wanted > 0:
            got = len(self._socket.recv(min(wanted, PART)))
            wanted, self._left = wanted - got, self._left - got
            if not got or self._left <= 0:
                raise Refused(f"{self._address}: its download is not under way, {self._left} octets are left")

    def close(self) -> None:
        """The machine goes, in the midst of it."""
        self._socket.close()


class _Site:
    """The image, the machines' addresses, and the turns on fresh servers."""

    def __init__(self, link: Link, folder: Path, options: argparse.Namespace) -> None:
        self._link, self._folder = link, folder
        self._most = max(options.downloads, options.https, WARM)
        self._rest = 0.5 if options.quick else REST
        generation = make_sparse_image(folder / "images", options.megabytes << 20)
        self._path = f"/images/{IMAGE}/{generation}/root.squashfs"
        self._authority = authority()
        self._load = Load(link, folder)
        lines = (f"address add {a}/{PREFIX} dev {INTERFACE}\n" for _, a in sites.machines(self._most))
        command("ip", "-n", link.client, "-batch", "-", stdin="".join(lines), timeout=120)

    def recipe(self, https: bool, folder: Path) -> Recipe:
        """Our daemon with the machines and the image."""
        server: dict[str, object] = {"images_dir": str(self._folder / "images")}
        if https:
            files = self._authority.write(folder, str(SERVER))
            server["boot_https"] = {name: str(path) for name, path in files.items()}
        recipe = sites.netboot(folder, self._most, server=server)
        config = folder / "netboot.yaml"
        content = json.loads(config.read_text())
        content["clusters"][0]["image"] = IMAGE
        config.write_text(json.dumps(content))
        return recipe

    def measured(self, case: Case, server: Server) -> Figures:
        """Idle, under way, after."""
        # every machine has a boot, and its download counts towards it
        self._load.run("-n", str(self._most), "-r", str(self._most), "-d", "1.5")
        with ThreadPoolExecutor(1, initializer=enter, initargs=(self._link.client,)) as inside:
            # what the first downloads of a daemon's life load and make once is no download's cost
            inside.submit(self._under_way, replace(case, downloads=WARM), server).result()
        time.sleep(self._rest)
        found: Figures = {"idle": server.memory() / 1e6, "descriptors_idle": server.descriptors()}
        with ThreadPoolExecutor(1, initializer=enter, initargs=(self._link.client,)) as inside:
            found |= inside.submit(self._under_way, case, server).result()
        idle = int(found["descriptors_idle"])
        _until(lambda: server.descriptors() <= idle)
        time.sleep(self._rest)
        found |= {"after": server.memory() / 1e6, "descriptors_after": server.descriptors()}
        beyond = found["busy"] - found["idle"]
        return found | {"beyond": beyond, "each": beyond * 1e3 / case.downloads}

    def _under_way(self, case: Case, server: Server) -> Figures:
        """All downloads at once, and the most that the daemon has meanwhile; called on the client's side."""
        context = self._context() if case.https else None
        with contextlib.ExitStack() as stack:
            downloads = []
            for _, address in sites.machines(case.downloads):
                download = Download(address, self._path, context)
                stack.callback(download.close)
                downloads.append(download)
                download.take(PART)
            memory = 0
            for _ in range(ROUNDS):
                memory = max(memory, server.memory())
                for download in downloads:
                    download.take(SIP)
            return {
                "busy": memory / 1e6,
                "descriptors_busy": server.descriptors(),
                "downloads": len(downloads),
            }

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self._authority.pem.decode())


def _until(condition: Callable[[], bool]) -> None:
    """Wait for it, not for ever: what does not come true is seen in the figures."""
    until = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)


def _verdicts(case: Case, turns: Sequence[Mapping[str, float]]) -> list[Verdict]:
    """What is left after is held against idle always, what downloads cost where they are not encrypted."""
    rows = [dict(turn) for turn in turns]
    left = max(turn["descriptors_after"] - turn["descriptors_idle"] for turn in rows)
    for turn in rows:
        turn["kept"] = turn["after"] - turn["idle"]
    scheme = "HTTPS" if case.https else "HTTP"
    verdicts = [
        Verdict(f"{scheme}: memory after them beyond idle", median(rows, "kept"), 5.0, False, " MB"),
        Verdict(f"{scheme}: descriptors after them beyond idle", left, 0, False, ""),
    ]
    if not case.https:
        what = f"{scheme}: {case.downloads:,} downloads beyond idle"
        verdicts.insert(0, Verdict(what, median(rows, "beyond"), 150.0, False, " MB"))
    return verdicts
