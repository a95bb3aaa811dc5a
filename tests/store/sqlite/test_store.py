"""The embedded store as a whole: what was acknowledged outlives restarts and kills."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from netboot.store.sqlite import SqliteStore
from tests.store.values import boot, claim, lease, token

ROOT = Path(__file__).resolve().parents[3]
KILLS = 5


async def test_everything_is_there_after_a_restart(path: Path) -> None:
    """Leases, boots, claims with their count, and tokens outlive the process."""
    first = await SqliteStore.open(path)
    await first.claim_lease(lease(1), None)
    await first.save_boots([boot(1)])
    await first.burn(claim())
    await first.count_credential("b1", 5)
    await first.record_token(token(1))
    await first.close()
    again = await SqliteStore.open(path)
    assert await again.lease_at(lease(1).address) == lease(1)
    assert list(await again.boots()) == [boot(1)]
    assert (await again.burn(claim(request="other"))).credentials == 1
    assert list(await again.tokens()) == [token(1)]
    await again.close()


async def test_kill_nine_loses_no_acknowledged_lease(path: Path) -> None:
    """Killed under load again and again: what was acknowledged is there, and nothing is held twice."""
    acknowledged: dict[int, int] = {}
    chance = random.Random(7)
    for _ in range(KILLS):
        lines = hammer_until(path, chance.randint(50, 1500))
        acknowledged.update((int(number), int(turn)) for number, turn in lines)
    store = await SqliteStore.open(path)
    for number, turn in acknowledged.items():
        found = await store.lease_of(f"n{number}", "compute")
        assert found is not None and found.expires >= turn
        assert await store.lease_at(found.address) == found
        assert await store.claim_of(f"b{number}-{turn}") is not None
    everything = await store.leases()
    assert len({x.address for x in everything}) == len(everything)
    await store.close()


def hammer_until(path: Path, count: int) -> list[list[str]]:
    """Run the hammer, kill it after `count` acknowledgements; all that it wrote."""
    command = [sys.executable, "-m", "tests.store.hammer", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    whole = [line.split() for line in lines if line.endswith("\n")]
    assert len(whole) >= count, "the hammer ended by itself"
    return whole
