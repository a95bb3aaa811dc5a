"""What `scripts/fuzz` does: coverage-guided fuzzing of what reads the network, two processes at a time.

scripts/fuzz --inputs 200000              all targets, each with its share
scripts/fuzz --inputs N --target engine   one of them: wire, engine, beside, tftp, http, capture
scripts/fuzz --inputs N --seed S          the same inputs again (as far as the processes' timing allows)
scripts/fuzz --inputs N --keep            add what reached new code to tests/fuzz/corpus, minimised

An input of `wire` or `http` is one datagram or one request head; one of `tftp` a request and its ACKs; one
of `engine` up to 40 datagrams of several machines to one server; one of `beside` up to 12 to a server in
proxy mode; one of `capture` a pcap or pcapng file. Ends with status 1 where a promise was broken; the input
lies in the folder that is named then, and is replayed by

    python -m tests.fuzz.replay TARGET FILE
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.targets import CORPUS, NAMES, target

ROOT = Path(__file__).resolve().parents[2]
SHARES = {"engine": 0.006, "beside": 0.012, "capture": 0.022, "wire": 0.66, "tftp": 0.15, "http": 0.15}
"""Of the inputs; an engine's costs as much as a hundred of the others. The slow ones begin."""
PROCESSES = 2
HANGS = 120
"""Seconds after which an input is taken for an endless one; `worker.SLOWEST` bounds what it may cost."""
MEMORY = 1024
"""MiB of one process: memory is bounded."""
_STATUS = re.compile(r"^#(\d+)\s+\S+\s+cov: (\d+) ft: (\d+)")
_EXECUTED = re.compile(r"^stat::number_of_executed_units:\s+(\d+)")


@dataclass(slots=True)
class Job:
    """One process: so many inputs for one target; filled with what came of it."""

    name: str
    inputs: int
    seed: int
    folder: Path
    done: int = 0
    coverage: int = 0
    features: int = 0
    seconds: float = 0.0
    failed: bool = False
    said: list[str] = field(default_factory=list)

    @property
    def found(self) -> list[Path]:
        """Inputs that reached something new."""
        return sorted((self.folder / "new").iterdir())

    @property
    def crashes(self) -> list[Path]:
        """Inputs that broke a promise, took too long or too much memory."""
        return sorted((self.folder / "crashes").iterdir())


def jobs(names: Sequence[str], inputs: int, seed: int, folder: Path) -> list[Job]:
    """Each target's share in halves, so that two processes are busy to the end."""
    whole = sum(SHARES[name] for name in names)
    made: list[Job] = []
    for name in sorted(names, key=list(SHARES).index):
        share = max(PROCESSES, round(inputs * SHARES[name] / whole))
        for half in range(PROCESSES):
            count = share // PROCESSES + (half < share % PROCESSES)
            place = folder / f"{name}-{half}"
            made.append(Job(name, count, (seed + len(made)) % 2**31 or 1, place))
    return made


def prepare(job: Job) -> list[str]:
    """Make its folders; the command that runs it."""
    for part in ("new", "crashes", "seeds"):
        (job.folder / part).mkdir(parents=True)
    for number, octets in enumerate(target(job.name).seeds()):
        (job.folder / "seeds" / f"seed-{number}").write_bytes(octets)
    corpora = [str(job.folder / "new"), str(job.folder / "seeds")]
    kept = CORPUS / job.name
    return [
        sys.executable, "-m", "tests.fuzz.worker", job.name,
        f"-runs={job.inputs}", f"-seed={job.seed}", f"-rss_limit_mb={MEMORY}",
        f"-timeout={HANGS}", f"-report_slow_units={HANGS}",
        f"-artifact_prefix={job.folder / 'crashes'}{os.sep}", "-print_final_stats=1", "-verbosity=1",
        *corpora, *([str(kept)] if kept.is_dir() else []),
    ]  # fmt: skip


def run(job: Job) -> None:
    """One process to its end; reads its progress as it goes."""
    began = time.monotonic()
    process = subprocess.Popen(
        prepare(job), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert process.stdout
    for line in process.stdout:
        _note(job, line)
    job.failed = process.wait() != 0
    job.seconds = time.monotonic() - began


def _note(job: Job, line: str) -> None:
    if match := _STATUS.match(line):
        job.done, job.coverage, job.features = map(int, match.groups())
    elif match := _EXECUTED.match(line):
        job.done = int(match[1])
    elif not line.startswith(("#", "INFO", '"')):
        job.said = [*job.said[-80:], line.rstrip()]


def progress(all_jobs: Sequence[Job], end: threading.Event) -> None:
    """One line, again and again: how many inputs of how many."""
    wanted, began = sum(job.inputs for job in all_jobs), time.monotonic()
    every = 1.0 if sys.stderr.isatty() else 15.0
    while not end.wait(every):
        done = sum(job.done for job in all_jobs)
        busy = ", ".join(f"{j.name} {j.done}" for j in all_jobs if j.done and not j.seconds)
        text = f"{time.monotonic() - began:6.0f} s  {done} of {wanted} inputs  {busy}"
        print(f"\r{text:100}" if sys.stderr.isatty() else text, end="", file=sys.stderr, flush=True)
        if not sys.stderr.isatty():
            print(file=sys.stderr, flush=True)


def table(all_jobs: Sequence[Job]) -> str:
    """A row per target, its processes together; coverage and features are the better process's."""
    head = ("target", "inputs", "seconds", "inputs/s", "edges", "features", "new", "crashes")
    rows = [head, *_rows(all_jobs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)


def _rows(all_jobs: Sequence[Job]) -> Iterator[tuple[str, ...]]:
    for name in dict.fromkeys(job.name for job in all_jobs):
        mine = [job for job in all_jobs if job.name == name]
        done, seconds = sum(job.done for job in mine), sum(job.seconds for job in mine)
        figures = (
            done, round(seconds), round(done / seconds) if seconds else 0, max(j.coverage for j in mine),
            max(j.features for j in mine), sum(len(j.found) for j in mine), sum(len(j.crashes) for j in mine),
        )  # fmt: skip
        yield (name, *map(str, figures))


def keep(all_jobs: Sequence[Job], folder: Path) -> None:
    """Merge what is new with what is kept to the fewest and shortest inputs that reach as much."""
    for name in dict.fromkeys(job.name for job in all_jobs):
        merged = folder / f"merged-{name}"
        merged.mkdir()
        sources = [j.folder / part for j in all_jobs if j.name == name for part in ("new", "seeds")]
        kept = CORPUS / name
        kept.mkdir(parents=True, exist_ok=True)
        _merge(name, folder / f"worker-{name}", [merged, kept, *sources])
        shutil.rmtree(kept)
        shutil.copytree(merged, kept)


def _merge(name: str, worker: Path, folders: Sequence[Path]) -> None:
    """libFuzzer starts itself again for it, by the name that it was given: a script that leads to us."""
    worker.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.fuzz.worker {name} "$@"\n')
    worker.chmod(0o700)
    command = [str(worker), "-set_cover_merge=1", *map(str, folders)]
    said = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", env={**os.environ, "NETBOOT_FUZZ_WORKER": str(worker)}, timeout=600,
    )  # fmt: skip
    if said.returncode or not any(folders[0].iterdir()):
        raise RuntimeError(f"the corpus of {name} was not merged:\n{said.stdout[-2000:]}")


def version() -> str:
    """Which tree this is: the commit where git knows it, and Python's."""
    git = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(git, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    commit = f"commit {done.stdout.strip()}, " if done.returncode == 0 else ""
    return f"{commit}Python {sys.version.split()[0]}"


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--target", action="append", choices=NAMES)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz; 0 only if every input of every target kept every promise."""
    args = options(arguments)
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1, 2**31)
    folder = Path(tempfile.mkdtemp(prefix="netboot-fuzz-"))
    made = jobs(args.target or NAMES, args.inputs, seed, folder)
    print(f"{args.inputs} inputs, seed {seed}, {version()}, {time.strftime('%Y-%m-%d', time.gmtime())}")
    end = threading.Event()
    watcher = threading.Thread(target=progress, args=(made, end), daemon=True)
    watcher.start()
    try:
        with ThreadPoolExecutor(PROCESSES) as pool:
            list(pool.map(run, made))
    finally:
        end.set()
        watcher.join()
    print("\n" + table(made), flush=True)
    bad = [job for job in made if job.failed or job.crashes]
    for job in bad:
        print(f"\n{job.name}, seed {job.seed}, stopped:\n" + "\n".join(job.said[-40:]))
        print("\n".join(f"replay: python -m tests.fuzz.replay {job.name} {path}" for path in job.crashes))
    if args.keep and not bad:
        keep(made, folder)
    if not bad:
        shutil.rmtree(folder)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
