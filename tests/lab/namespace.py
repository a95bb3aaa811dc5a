"""A network namespace with a bridge and taps, and every process that runs in it.

Nothing in here reaches a real interface: the namespace has a bridge without an uplink, and it goes away
with everything inside when the harness ends, also after a crash (the next harness clears the dead one's).
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

BRIDGE = "br0"
ADDRESS = "10.77.0.1"
PREFIX = 24
CLONE_NEWNET = 0x40000000
_numbers = itertools.count()
_NAME = re.compile(r"netlab-([0-9]+)-[0-9]+")


def run(*command: str, check: bool = True, timeout: float = 30.0, stdin: str = "") -> str:
    """Run a command of the host to its end and return what it wrote; raises RuntimeError with its words."""
    done = subprocess.run(
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stdout.strip()}")
    return done.stdout


def die_with_parent() -> None:
    """In a child, before exec: end when the harness ends, whatever ends it (Linux prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def enter(name: str) -> None:
    """Let the calling thread live in a network namespace from now on."""
    with open(f"/run/netns/{name}", "rb") as handle:
        if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot enter the network namespace")


def wait_until(what: str, condition: Callable[[], object], timeout: float, every: float = 0.1) -> object:
    """The first true value of `condition`; raises TimeoutError that names `what`."""
    until = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise TimeoutError(f"not seen within {timeout:.0f} s: {what}")
        time.sleep(every)


class Router:
    """Says in the namespace that no IPv6 router is there, by advertisements of lifetime 0 (RFC 4861 4.2).

    iPXE asks for one with every start and waits 17 s where nobody answers.
    """

    ADVERTISEMENT = bytes([134, 0, 0, 0, 64, 0, 0, 0]) + bytes(8)
    EVERY = 0.5

    def __init__(self, enter: Callable[[], None]) -> None:
        self._enter = enter
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._enter()
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as speaker:
            speaker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            speaker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(BRIDGE))
            while not self._end.wait(self.EVERY):
                with contextlib.suppress(OSError):  # the bridge has no link-local address in its first second
                    speaker.sendto(self.ADVERTISEMENT, ("ff02::1", 0))

    def close(self) -> None:
        """Be silent."""
        self._end.set()
        self._thread.join(5)


class Lab:
    """One namespace; `with Lab() as lab`. Its name holds our pid, so that a dead harness's can be told."""

    def __init__(self) -> None:
        self.name = f"netlab-{os.getpid()}-{next(_numbers)}"
        self._taps = itertools.count()
        self._router: Router | None = None
        self._threads = ThreadPoolExecutor(1, self.name, self._enter)

    def __enter__(self) -> Lab:
        clear_dead_labs()
        run("ip", "netns", "add", self.name)
        try:
            self.ip("link set lo up")
            self.ip(f"link add {BRIDGE} type bridge stp_state 0 forward_delay 0")
            self.ip(f"addr add {ADDRESS}/{PREFIX} dev {BRIDGE}")
            self.ip("addr add fd77::1/64 dev br0 nodad")
            self.ip(f"link set {BRIDGE} up")
            self._router = Router(self._enter)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def ip(self, arguments: str) -> str:
        """`ip -n NAMESPACE ...`."""
        return run("ip", "-n", self.name, *arguments.split())

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words before a command that make it run in here."""
        return ("ip", "netns", "exec", self.name)

    def run(self, *command: str, check: bool = True, timeout: float = 30.0, stdin: str = "") -> str:
        """Run a command in here to its end."""
        return run(*self.prefix, *command, check=check, timeout=timeout, stdin=stdin)

    def start(
        self,
        command: Sequence[str],
        *,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
        stderr: int | IO[bytes] = subprocess.STDOUT,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        ends_with_us: bool = True,
    ) -> subprocess.Popen[bytes]:
        """Start a process in here. It keeps its pid over the exec of `ip netns exec`."""
        return subprocess.Popen(
            [*self.prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env=env,
            preexec_fn=die_with_parent if ends_with_us else None,
            start_new_session=True,  # Ctrl-C is for us alone: we end them in order
        )

    def tap(self) -> str:
        """A new tap on the bridge; its name."""
        name = f"tap{next(self._taps)}"
        self.ip(f"tuntap add dev {name} mode tap")
        self.ip(f"link set {name} master {BRIDGE} up")
        return name

    def slow_down(self, tap: str, rate: str) -> None:
        """Let no more than `rate` (as tc writes it: 24mbit) reach the machine behind `tap`."""
        self.run(
            "tc",
            "qdisc",
            "replace",
            "dev",
            tap,
            "root",
            "tbf",
            "rate",
            rate,
            "burst",
            "64k",
            "latency",
            "200ms",
        )

    def full_speed(self, tap: str) -> None:
        """Take the limit of `slow_down` away."""
        self.run("tc", "qdisc", "del", "dev", tap, "root", check=False)

    def connect(self, host: str, port: int, timeout: float = 15.0) -> socket.socket:
        """A TCP connection from inside the namespace (made by a thread that lives in there)."""
        return self._threads.submit(socket.create_connection, (host, port), timeout).result(timeout + 5)

    def _enter(self) -> None:
        enter(self.name)

    def pids(self) -> list[int]:
        """Every process that is in here."""
        return [
            int(word) for word in run("ip", "netns", "pids", self.name, check=False).split() if word.isdigit()
        ]

    def close(self) -> None:
        """End every process in here and the namespace itself."""
        if self._router:
            self._router.close()
        self._threads.shutdown(cancel_futures=True)
        _end(self.name)


def _end(name: str) -> None:
    for _ in range(50):
        pids = [int(word) for word in run("ip", "netns", "pids", name, check=False).split() if word.isdigit()]
        if not pids:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    run("ip", "netns", "del", name, check=False)


def clear_dead_labs() -> None:
    """Remove the namespaces, and what runs in them, of harnesses that did not come to their end."""
    for line in run("ip", "netns", "list", check=False).splitlines():
        match = _NAME.match(line)
        if match and not Path(f"/proc/{match[1]}").exists():
            _end(line.split()[0])
