"""What a tree of processes costs: CPU time, of ended children too where the kernel counts it, and memory."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

_numbers = itertools.count()
_V1, _V2 = Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup")


class Meter(Protocol):
    """Counts the CPU time of a tree of processes."""

    def join(self) -> None:
        """Put the calling process (a child before exec) under this meter."""

    def seconds(self, pid: int) -> float:
        """CPU seconds so far of the tree under `pid`."""

    def close(self) -> None:
        """Forget the meter; its processes have ended."""


class _Group:
    """A control group of our own: it counts exactly, also children that nobody waited for."""

    def __init__(self, path: Path, usage: str) -> None:
        self._path, self._usage = path, usage
        path.mkdir()

    def join(self) -> None:
        (self._path / "cgroup.procs").write_text(str(os.getpid()))

    def seconds(self, pid: int) -> float:
        words = (self._path / self._usage).read_text().split()
        return int(words[0]) / 1e9 if len(words) == 1 else int(words[words.index("usage_usec") + 1]) / 1e6

    def close(self) -> None:
        try:
            self._path.rmdir()
        except OSError:
            pass  # a process of it is still ending; an empty group costs nothing


class _Tree:
    """Where there are no control groups: the scheduler's figures of every thread that is alive."""

    def join(self) -> None:
        pass

    def seconds(self, pid: int) -> float:
        return sum(_run_time(Path(f"/proc/{each}")) for each in tree(pid))

    def close(self) -> None:
        pass


def meter() -> Meter:
    """The most exact meter that this machine has."""
    name = f"netbench-{os.getpid()}-{next(_numbers)}"
    for parent, usage in ((_V1, "cpuacct.usage"), (_V2, "cpu.stat")):
        try:
            if (parent / usage).exists():
                return _Group(parent / name, usage)
        except OSError:
            pass  # not ours to write: the next one
    return _Tree()


def _run_time(process: Path) -> float:
    try:
        threads = [int((t / "schedstat").read_text().split()[0]) for t in (process / "task").iterdir()]
    except OSError:  # it ended
        return 0.0
    return sum(threads) / 1e9


def tree(pid: int) -> Iterator[int]:
    """A process and all its descendants."""
    yield pid
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = listed.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from tree(int(child))


def memory(pid: int) -> int:
    """Octets of memory of a tree, shared pages counted once (PSS)."""
    return sum(map(pss, tree(pid)))


def pss(pid: int) -> int:
    """Octets of memory of one process, its share of shared pages; 0 where it has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024


def descriptors(pid: int) -> int:
    """Open descriptors of a tree."""
    total = 0
    for each in tree(pid):
        with suppress(OSError):  # it ended
            total += len(os.listdir(f"/proc/{each}/fd"))
    return total
