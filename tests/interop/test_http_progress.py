"""How far a download came, as an operator sees it: the real daemon, `netboot boot show` once a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.bench.frame import rack, sites
from tests.bench.frame.link import SERVER, Link
from tests.bench.frame.rack import Machine
from tests.bench.frame.server import Server
from tests.lab.namespace import enter, wait_until
from tests.proc.house import make_image

pytestmark = pytest.mark.root

SIZE = 1_600_000_000
HALF = 700_000_000


class Site:
    """Two machines with leases and boots, and a root of 1.6 GB that costs no disk."""

    def __init__(self, link: Link, folder: Path, server: Server, generation: str) -> None:
        self._link, self._folder, self._server = link, folder, server
        self._path = f"/images/big/{generation}/root.squashfs"

    def fetch(self, machine: Machine, rate: int, first: int = 0, last: int = SIZE - 1) -> None:
        """A part of the root, as fast as `rate` (bytes per second) lets it come."""
        subprocess.run(
            [
                "ip", "netns", "exec", self._link.client, "curl", "-sSf", "--interface", machine.device,
                "--limit-rate", str(rate), "-r", f"{first}-{last}", "-o", "/dev/null", "-m", "60",
                f"http://{SERVER}{self._path}",
            ],
            check=True, timeout=90,
        )  # fmt: skip

    def show(self, machines: list[Machine]) -> Operator:
        """Somebody who looks at the boots of these machines."""
        config = str(self._folder / "netboot.yaml")
        return Operator(self._link.server, config, [machine.mac for machine in machines])


LOOK = """
import sys
from netboot.cli import main

config, *macs = sys.argv[1:]
for line in sys.stdin:
    for mac in macs:
        assert main(["boot", "show", mac, "-o", "json", "--config", config]) == 0
        print("\\0", end="", flush=True)
"""
"""`netboot boot show` of each machine for every line that is read: its start alone may take a second."""


class Operator:
    """Runs `netboot boot show -o json` again and again; a value is the bytes of the root, None before any."""

    def __init__(self, namespace: str, config: str, macs: list[str]) -> None:
        words = ["ip", "netns", "exec", namespace, sys.executable, "-c", LOOK, config, *macs]
        self._count = len(macs)
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=sites.ROOT,
            env={**os.environ, "PYTHONPATH": str(sites.ROOT)},
        )  # fmt: skip

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def look(self) -> list[int | None]:
        """What is shown now for each machine."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return [self._one() for _ in range(self._count)]

    def _one(self) -> int | None:
        assert self._process.stdout
        said = bytearray()
        while (byte := self._process.stdout.read(1)) != b"\0":
            assert byte, "netboot boot show failed"
            said += byte
        steps = json.loads(said)["steps"]
        found = next((step for step in steps if step["step"] == "squashfs"), None)
        assert found is None or found["of"] in (None, SIZE)
        return found["bytes"] if found else None


@pytest.fixture
def machines() -> list[Machine]:
    return [Machine(0), Machine(1)]


@pytest.fixture
def site(machines: list[Machine]) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="netboot-test-", dir="/var/tmp") as name, Link() as link:
        folder = Path(name)
        folder.chmod(0o755)
        rack.plug_in(link, machines)
        recipe = sites.netboot(folder, 2)
        generation = sparse_image(folder / "images")
        config = json.loads((folder / "netboot.yaml").read_text())
        config["clusters"][0]["image"] = "big"
        (folder / "netboot.yaml").write_text(json.dumps(config))
        with Server(recipe, link.server, folder) as server:
            with ThreadPoolExecutor(1, initializer=enter, initargs=(link.client,)) as inside:
                for machine in machines:
                    inside.submit(rack.lease, machine).result(60)
            yield Site(link, folder, server, generation)


def sparse_image(images: Path) -> str:
    """An image whose root is a hole of 1.6 GB."""
    generation = make_image(images, {"vmlinuz": b"k", "initrd.img": b"i", "root.squashfs": b""}, name="big")
    folder = images / "big" / generation
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["root.squashfs"]["size"] = SIZE
    (folder / "manifest.json").write_text(json.dumps(manifest))
    os.truncate(folder / "root.squashfs", SIZE)
    return generation


def test_the_progress_of_two_downloads_is_seen_each_for_itself_every_second(
    site: Site, machines: list[Machine]
) -> None:
    """At 100 MB/s: eight rising values and more, then the exact size; a resumed one goes on where it was."""
    whole, resumed = machines
    seen: list[list[int | None]] = []
    with ThreadPoolExecutor(2) as pool, site.show(machines) as operator:
        operator.look()
        halves = (
            lambda: site.fetch(resumed, 100_000_000, 0, HALF - 1),
            lambda: site.fetch(resumed, 140_000_000, HALF),
        )
        fast = pool.submit(site.fetch, whole, 100_000_000)
        for half in halves:
            slow = pool.submit(half)
            while not slow.done() or (half is halves[-1] and not fast.done()):
                began = time.monotonic()
                seen.append(operator.look())
                time.sleep(max(0.0, began + 1 - time.monotonic()))
            slow.result()
            seen.append(operator.look())
        fast.result()
        wait_until("the exact sizes", lambda: operator.look() == [SIZE, SIZE], 10)
    columns = [[value for value in column if value is not None] for column in zip(*seen, strict=True)]
    for values in columns:
        assert values == sorted(values)
        assert all(0 <= value <= SIZE for value in values)
    assert len(set(columns[0])) >= 8
    assert any(0 < value < HALF for value in columns[1])
    assert any(HALF < value < SIZE for value in columns[1])
