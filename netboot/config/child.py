"""Reading the operator's file in a process of its own, so that a reload never keeps DHCP waiting.

The child reads and checks everything and sends the configuration in small pieces; between two of them the
event loop runs. Nothing that stands in the files can hurt the daemon: the child has a time limit, little
priority and a bound on its memory.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import resource
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from netboot.config import Config, examine
from netboot.errors import ConfigError
from netboot.model.inventory import Node

TIME_LIMIT = 60.0
"""Seconds that reading may take before the files are refused."""

_NODES_PER_PIECE = 100
_FARM = 10_000
_MAX_PIECE = 64 << 20
_MEMORY = 4 << 30
PYTHON = str(Path(sys.executable).resolve())
"""The interpreter itself, looked up while we may still follow a virtual environment's link to it."""
_FOLDERS = tuple(os.open(p, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for p in sys.path if Path(p).is_dir())
"""Where we import from, held open: once root is dropped, a path below a home folder leads nowhere."""
_LENGTH = struct.Struct("!I")


async def load_in_child(paths: Sequence[Path | str], *, time_limit: float = TIME_LIMIT) -> Config:
    """What `netboot.config.load` returns, read in a child process. Raises ConfigError as it does."""
    process = await _start(paths)
    collecting = gc.isenabled()
    gc.disable()  # a full collection stops everything for 0.1 s when 100,000 nodes are new
    try:
        async with asyncio.timeout(time_limit):
            return await _receive(process)
    except TimeoutError:
        what = f"reading the configuration took longer than {time_limit:g} s"
        raise ConfigError(
            [f"{what}; move nodes into a nodes_file, or look at the load of this host"]
        ) from None
    finally:
        if collecting:
            gc.enable()
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _start(paths: Sequence[Path | str]) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            PYTHON,
            "-P",  # not the folder that we were started in: it may be closed to the account that we are now
            "-m",
            "netboot.config.child",
            *map(str, paths),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(f"/proc/self/fd/{fd}" for fd in _FOLDERS)},
            pass_fds=_FOLDERS,
            limit=1 << 20,
        )
    except OSError as error:
        what = f"no process could be started to read the configuration: {PYTHON}: {error.strerror}"
        remedy = "install the program where the account that it runs as can reach it, not below a home folder"
        raise ConfigError([f"{what}; {remedy}"]) from None


async def _receive(process: asyncio.subprocess.Process) -> Config:
    assert process.stdout is not None
    nodes: list[Node] = []
    try:
        first = await _piece(process.stdout)
        if isinstance(first, tuple):
            raise ConfigError(first)
        while (piece := await _piece(process.stdout)) is not None:
            nodes += piece
    except (asyncio.IncompleteReadError, pickle.UnpicklingError, EOFError):
        what = "the process that reads the configuration died"
        remedy = "its reason stands in the log, or in `journalctl -k` where memory ran out"
        raise ConfigError([f"{what}; {remedy}"]) from None
    config: Config = first
    whole = replace(config, inventory=replace(config.inventory, nodes=tuple(nodes)))
    if len(nodes) > _FARM:
        gc.freeze()  # the collector would walk them all, again and again, for nothing
    return whole


async def _piece(stream: asyncio.StreamReader) -> Any:
    """One piece; the loop runs before it is taken apart."""
    (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
    raw = await stream.readexactly(min(length, _MAX_PIECE))
    await asyncio.sleep(0)
    return pickle.loads(raw)  # from our own child alone, over a pipe that nobody else has


def _pieces(paths: Sequence[str]) -> Iterator[object]:
    """What the child sends: the problems, or the configuration, its nodes apart, and None at the end."""
    found = examine(paths)
    if found.problems or found.absent:
        yield (*found.problems, *found.absent)
        return
    nodes = found.seen.inventory.nodes
    yield replace(found.seen, inventory=replace(found.seen.inventory, nodes=()))
    for start in range(0, len(nodes), _NODES_PER_PIECE):
        yield list(nodes[start : start + _NODES_PER_PIECE])
    yield None


def main(paths: Sequence[str], out: BinaryIO) -> None:
    """The child: read, and write every piece with its length before it."""
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    for piece in _pieces(paths):
        raw = pickle.dumps(piece, protocol=pickle.HIGHEST_PROTOCOL)
        out.write(_LENGTH.pack(len(raw)) + raw)
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1:], sys.stdout.buffer)
