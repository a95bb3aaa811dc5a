"""`scripts/chaos day`: a day of churn in minutes, after which nothing may be left of it.

In namespaces of its own: the real daemon, whose calendar runs faster (`tests.chaos.hasty`), so that leases,
boots, sessions, sweeps and logs live through all the hours. Meanwhile declared machines boot completely again
and again, machines with random cards come and go, downloads by TFTP and HTTP break off, connections open and
never ask, helpers are killed, the file is read again, operators poll, break off event streams and assign.

After a first part, which fills the caches, all becomes quiet and the daemon is looked at: for each kind of
process the open descriptors, threads and memory (PSS), in control also tasks and objects after a collection,
and the store's file. At the end of the day once more. `Grown` says how much more there may be then: not one
descriptor; threads and tasks that come and go with small pools; and some MB, for a few caches are keyed by
client, hold thousands, and fill slowly with machines that come once (`boot.quirks.resolve` and others).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.frame import cpu, rack, sites
from tests.bench.frame.link import SERVER, Link
from tests.bench.frame.rack import Machine
from tests.bench.frame.server import Recipe, Server
from tests.boot.identity import identity
from tests.lab.namespace import enter
from tests.proc.house import make_image

MODULE = "tests.chaos.hasty"
API = ("127.0.0.1", 8443)
SPEED = 720.0
"""A day in two minutes; a short day is not hurried more than it needs."""
MACHINES = 8
"""Of the rack that boots again and again."""
WARM, WARMED = 0.25, 30.0
"""The part of the day after which the daemon is looked at first, and seconds in which caches have filled."""
REST = 2.0
"""Seconds of quiet before a look."""
SETTLED = 45.0
"""Seconds that the daemon has to get rid of what was broken off."""
POLLED = ("nodes", "boots", "leases", "pools", "clusters", "events", "assignments", "operations")


@dataclass(frozen=True, slots=True)
class Grown:
    """How much more there may be at the end of the day than after its first part."""

    descriptors: int = 0
    threads: int = 4
    tasks: int = 2
    memory: float = 5.0
    """MB of each kind of process, once caches and pools have had WARMED seconds to fill."""
    young: float = 12.0
    """The same where they had less."""
    store: float = 6.0
    """MB of the store's file and its journal, which SQLite lets grow to 4 MB."""


GROWN = Grown()


@dataclass(frozen=True, slots=True)
class Look:
    """The daemon at rest: descriptors, threads and MB of each kind of process, and control's own."""

    processes: Mapping[str, tuple[int, int, float]]
    tasks: int
    objects: int
    most: str
    """Of which kinds the most objects are: where to look for what leaks them."""
    store: float


@dataclass(slots=True)
class Result:
    """What a day came to."""

    grown: Grown = GROWN
    first: Look | None = None
    last: Look | None = None
    done: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    """What the churn itself met with; some is no wonder where helpers are killed."""

    @property
    def leaks(self) -> list[str]:
        """What has grown that must not."""
        assert self.first and self.last
        return leaks(self.first, self.last, self.grown)


def leaks(first: Look, last: Look, grown: Grown = GROWN) -> list[str]:
    """What has grown that must not, in words."""
    none = (0, 0, 0.0)
    found = []
    for kind in sorted(first.processes.keys() | last.processes.keys()):
        before, after = (look.processes.get(kind, none) for look in (first, last))
        limits = (grown.descriptors, grown.threads, grown.memory)
        for what, old, new, more in zip(("descriptors", "threads", "MB"), before, after, limits, strict=True):
            if new > old + more:
                found.append(f"{kind}: {new:g} {what}, before {old:g}")
    if last.tasks > first.tasks + grown.tasks:
        found.append(f"control: {last.tasks} tasks, before {first.tasks}")
    if last.store > first.store + grown.store:
        found.append(f"store: {last.store:.1f} MB, before {first.store:.1f}")
    return found


class Churn:
    """What goes on meanwhile: each kind of trouble in a thread of its own, until told to stop."""

    def __init__(
        self, link: Link, server: Server, token: str, certificate: str, generation: str, seed: int
    ) -> None:
        self._link, self._server = link, server
        self._headers = {"Authorization": f"Bearer {token}"}
        self._certificate = certificate
        self._file = f"/images/bench/{generation}/root.squashfs"
        self._machines = range(MACHINES)
        self._seed = seed
        self._stop = threading.Event()
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []

    def run(self, seconds: float) -> None:
        """Let all of it go on for so long, then end it."""
        self._stop.clear()
        near, far = self._link.server, self._link.client
        kinds: list[tuple[str, float, Callable[[random.Random], None]]] = [
            (far, 0.5, self._boot),
            (far, 0.05, self._stranger),
            (far, 0.2, self._abort_tftp),
            (far, 0.05, self._abort_http),
            (near, 3.0, self._kill),
            (near, 4.0, self._reload),
            (near, 0.3, self._poll),
            (near, 0.5, self._listen),
            (near, 1.0, self._assign),
        ]
        threads = [
            threading.Thread(target=self._again, args=(number, *kind), daemon=True)
            for number, kind in enumerate(kinds)
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self._stop.set()
        for thread in threads:
            thread.join(90.0)

    def _again(
        self, number: int, namespace: str, pause: float, work: Callable[[random.Random], None]
    ) -> None:
        enter(namespace)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        chance = random.Random(f"{self._seed} {number}")
        while not self._stop.wait(pause * chance.uniform(0.5, 1.5)):
            try:
                work(chance)
            except (OSError, http.client.HTTPException, rack.Failed) as error:
                self.failed.append(f"{work.__name__.strip('_')}: {type(error).__name__} {error}")

    # machines

    def _boot(self, _: random.Random) -> None:
        machines = [Machine(number) for number in self._machines]
        rack.boot_all(self._link, machines, self._certificate, 20.0)
        for machine in machines:
            if machine.failed:
                self.failed.append(f"boot: {machine.failed}")
            else:
                self.done["complete boots"] += 1

    def _stranger(self, chance: random.Random) -> None:
        """DISCOVER to ACK of a card that nobody has declared; some stop halfway, some give it back."""
        card = bytes([0x02, *chance.randbytes(5)])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            sock.bind(("", 68))
            sock.settimeout(1.0)
            offer = _asked(sock, card, 1, b"")
            if chance.random() < 0.3:
                self.done["strangers that stopped at the OFFER"] += 1
                return
            address = offer[16:20]
            chosen = bytes([54, 4]) + SERVER.packed
            _asked(sock, card, 3, chosen + bytes([50, 4]) + address)
            self.done["strangers with a lease"] += 1
            if chance.random() < 0.3:
                sock.sendto(_message(card, os.urandom(4), 7, chosen, address), (str(SERVER), 67))

    # what breaks off

    def _abort_tftp(self, chance: random.Random) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1.0)
            sock.sendto(b"\0\1%s\0octet\0blksize\x001468\0" % self._file.encode(), (str(SERVER), 69))
            self.done["broken TFTP transfers"] += 1
            with contextlib.suppress(TimeoutError):
                _, peer = sock.recvfrom(2048)
                if chance.random() < 0.7:
                    sock.sendto(b"\0\4\0\0", peer)
                if chance.random() < 0.5:
                    sock.sendto(b"\0\5\0\0enough\0", peer)

    def _abort_http(self, chance: random.Random) -> None:
        whole = f"GET {self._file} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        said = chance.choice((whole, whole, whole[: chance.randrange(len(whole))], b""))
        with socket.create_connection((str(SERVER), 80), 5.0) as sock:
            sock.sendall(said)
            if said == whole:
                sock.recv(1024)
                self.done["broken HTTP downloads"] += 1
            else:
                self._stop.wait(chance.uniform(0, 0.3))
                self.done["connections that never asked"] += 1
            if chance.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset

    # operators and accidents

    def _kill(self, chance: random.Random) -> None:
        names = {pid: _name(pid) for pid in cpu.tree(self._server.pid)}
        helpers = [pid for pid, name in names.items() if name in ("netboot-bulk", "netboot-tftp")]
        if helpers:
            os.kill(chance.choice(sorted(helpers)), signal.SIGKILL)
            self.done["killed helpers"] += 1

    def _reload(self, _: random.Random) -> None:
        self._server.signal(signal.SIGHUP)
        self.done["reloads"] += 1

    def _poll(self, chance: random.Random) -> None:
        with contextlib.closing(http.client.HTTPConnection(*API, timeout=10)) as api:
            what = chance.choice(POLLED)
            api.request("GET", f"/api/v1/{what}", headers={**self._headers, "Accept": "application/json"})
            answer = api.getresponse()
            answer.read()
            if answer.status == 200:
                self.done["polls"] += 1
            else:
                self.failed.append(f"poll: {what} {answer.status}")

    def _listen(self, _: random.Random) -> None:
        with socket.create_connection(API, 10.0) as sock:
            sock.sendall(
                b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
            )
            sock.recv(4096)
            self._stop.wait(0.5)
            self.done["broken event streams"] += 1

    def _assign(self, chance: random.Random) -> None:
        """A machine of the rack's neighbour goes to the other cluster, or back."""
        path = f"/api/v1/nodes/{sites.mac(MACHINES + chance.randrange(MACHINES))}/assignment"
        body = json.dumps({"cluster": "green", "force": True})
        with contextlib.closing(http.client.HTTPConnection(*API, timeout=10)) as api:
            if chance.random() < 0.5:
                api.request("PUT", path, body, {**self._headers, "Content-Type": "application/json"})
            else:
                api.request("DELETE", f"{path}?force=true", headers=self._headers)
            answer = api.getresponse()
            said = answer.read()
            if answer.status in (200, 202):
                self.done["assignments"] += 1
            elif answer.status not in (404, 409):
                self.failed.append(f"assign: {answer.status} {said[:200]!r}")


def _asked(sock: socket.socket, card: bytes, kind: int, more: bytes) -> bytes:
    """Broadcast a message; the reply to it. Raises TimeoutError."""
    xid = os.urandom(4)
    sock.sendto(_message(card, xid, kind, more), ("255.255.255.255", 67))
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        reply = sock.recv(2048)
        if reply[4:8] == xid:
            return reply
    raise TimeoutError("no answer by DHCP")


def _message(card: bytes, xid: bytes, kind: int, more: bytes, address: bytes = bytes(4)) -> bytes:
    """A DHCP message of a client that takes broadcasts only (RFC 2131 section 4.1)."""
    head = b"\1\1\6\0" + xid + b"\0\0\x80\0" + address + bytes(12) + card + bytes(202) + b"\x63\x82\x53\x63"
    return head + bytes([53, 1, kind]) + more + b"\xff"


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # it ended
        return ""


def looked(server: Server, folder: Path, rest: float) -> Look:
    """The daemon as it is when nothing has gone on for `rest` seconds."""
    time.sleep(rest)
    said = len(_left(server))
    server.signal(signal.SIGUSR2)
    until = time.monotonic() + 10.0
    while len(_left(server)) == said and time.monotonic() < until:
        time.sleep(0.1)
    tasks, objects, most = _left(server)[-1]
    processes: dict[str, tuple[int, int, float]] = {}
    for pid in cpu.tree(server.pid):
        name = "control" if pid == server.pid else _name(pid)
        if not name:
            continue
        with contextlib.suppress(OSError):
            descriptors, threads = (len(os.listdir(f"/proc/{pid}/{what}")) for what in ("fd", "task"))
            old = processes.get(name, (0, 0, 0.0))
            memory = cpu.pss(pid) / 1e6
            processes[name] = (old[0] + descriptors, old[1] + threads, old[2] + memory)
    store = sum(file.stat().st_size for file in (folder / "data").glob("netboot.db*")) / 1e6
    return Look(processes, tasks, objects, most, store)


def _left(server: Server) -> list[tuple[int, int, str]]:
    said = server.log.read_text(errors="replace")
    found = re.findall(r"left: tasks=(\d+) objects=(\d+) most: ([^\"\n]*)", said)
    return [(int(tasks), int(objects), most) for tasks, objects, most in found]


def recipe(folder: Path, images: Path, speed: float, module: str) -> Recipe:
    """The hurried daemon: a rack, its neighbours, two clusters."""
    made = sites.netboot(folder, 2 * MACHINES, server={"images_dir": str(images)})
    config = folder / "netboot.yaml"
    content: dict[str, Any] = json.loads(config.read_text())
    blue = content["clusters"][0] | {"image": "bench"}
    content["clusters"] = [blue, {**blue, "name": "green"}]
    content["networks"][0] |= {"lease": "30m", "range": "10.100.0.0-10.100.7.255"}
    config.write_text(json.dumps(content))
    command = [module if word == "netboot" else word for word in made.command]
    return replace(
        made, command=command, environment={**made.environment, "NETBOOT_HASTE": str(speed)}, patience=60.0
    )


def day(
    hours: float, seed: int, *, module: str = MODULE, seconds: float = 0.0, patience: float = SETTLED
) -> Result:
    """Live through so many hours in `seconds` (0: at the ordinary speed) and look before and after.

    `patience`: seconds that the daemon has to come to rest.
    """
    seconds = seconds or hours * 3600 / SPEED
    warm = max(seconds * WARM, min(WARMED, seconds / 2))
    result = Result(GROWN if warm >= WARMED else replace(GROWN, memory=GROWN.young))
    with tempfile.TemporaryDirectory(prefix="netchaos-", dir="/var/tmp") as name, Link() as link:
        base = Path(name)
        base.chmod(0o755)
        folder, images = base / "site", base / "images"
        folder.mkdir()
        (base / "identity").mkdir()
        files = {"vmlinuz": 1 << 16, "initrd.img": 1 << 16, "root.squashfs": 4 << 20}
        generation = make_image(images, {file: os.urandom(size) for file, size in files.items()}, "bench")
        certificate = identity(base / "identity").pem
        rack.plug_in(link, [Machine(number) for number in range(MACHINES)])
        with Server(recipe(folder, images, hours * 3600 / seconds, module), link.server, folder) as server:
            token = (folder / "data" / "admin.token").read_text().strip()
            churn = Churn(link, server, token, certificate, generation, seed)
            churn.run(warm)
            result.first = _settled(server, folder, result, patience)
            churn.run(seconds - warm)
            result.last = _settled(server, folder, result, patience)
    result.done, result.failed = churn.done, churn.failed
    return result


def _settled(server: Server, folder: Path, result: Result, patience: float) -> Look:
    """The daemon at rest: when two looks are the same and nothing has leaked, or patience is over."""
    until = time.monotonic() + patience
    before = looked(server, folder, REST)
    while time.monotonic() < until:
        now = looked(server, folder, REST)
        same = [v[:2] for v in now.processes.values()] == [v[:2] for v in before.processes.values()]
        if same and (result.first is None or not leaks(result.first, now, result.grown)):
            return now
        before = now
    return before


def told(hours: float, seed: int, result: Result) -> Table:
    """The day as a table."""
    assert result.first and result.last
    table = Table(title=f"{hours:g} hours, seed {seed}")
    for column in ("", "after the first part", "at the end"):
        table.add_column(column)
    for kind in sorted(result.first.processes.keys() | result.last.processes.keys()):
        cells = [
            "{} descriptors, {} threads, {:.1f} MB".format(*look.processes.get(kind, (0, 0, 0.0)))
            for look in (result.first, result.last)
        ]
        table.add_row(kind, *cells)
    table.add_row("control's tasks", str(result.first.tasks), str(result.last.tasks))
    table.add_row("control's objects", f"{result.first.objects:,}", f"{result.last.objects:,}")
    table.add_row("the most of them", result.first.most, result.last.most)
    table.add_row("store, MB", f"{result.first.store:.1f}", f"{result.last.store:.1f}")
    for what, count in sorted(result.done.items()):
        table.add_row(what, "", f"{count:,}")
    table.add_row("churn that failed", "", str(len(result.failed)))
    return table


def register(kinds: Any) -> None:
    """Our command line."""
    parser = kinds.add_parser("day", help="a day of churn in minutes leaks no descriptor and no memory")
    parser.add_argument("--hours", type=float, default=24.0, help="that the daemon lives through (24)")
    parser.add_argument("--seed", type=int, default=1, help="another one is another day (1)")
    parser.add_argument("--seconds", type=float, default=0.0, help="they take so long (hours / 720)")
    parser.add_argument("--daemon", default=MODULE, help=f"the module that runs it ({MODULE})")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    result = day(args.hours, args.seed, module=args.daemon, seconds=args.seconds)
    console = Console()
    console.print(told(args.hours, args.seed, result))
    for what, count in Counter(text[:160] for text in result.failed).most_common(8):
        console.print(f"{count} × {what}", markup=False)
    return _judged(console, result.leaks)


def _judged(console: Console, found: Sequence[str]) -> int:
    for leak in found:
        console.print(f"LEAK {leak}", markup=False)
    return 1 if found else 0
