"""Bindings on their disk."""

from __future__ import annotations

from pathlib import Path

from netboot.store.sqlite import SqliteStore
from tests.store.values import NOW, binding


async def test_the_first_request_of_a_token_is_the_first_after_a_restart_too(path: Path) -> None:
    """A restart must not let a second certificate request pass for the first one."""
    first = await SqliteStore.open(path)
    await first.bind(binding(1))
    await first.first_request("blue", "abcde1", "uid-1")
    await first.hold("blue", "abcde1", "why")
    await first.close()
    again = await SqliteStore.open(path)
    assert await again.first_request("blue", "abcde1", "uid-2") == "uid-1"
    assert [(b.node, b.alarm) for b in await again.holds()] == [("n1", "why")]
    await again.close()


async def test_old_bindings_go_away_but_those_that_hold_a_name(path: Path) -> None:
    """A day after its token's expiry nobody can use it any more."""
    store = await SqliteStore.open(path)
    for number in (1, 2):
        await store.bind(binding(number))
    await store.hold("blue", "abcde2", "why")
    await store.bind(binding(3, NOW + 100_000))
    found = [await store.binding_of("blue", f"abcde{number}") for number in (1, 2, 3)]
    assert [b is not None for b in found] == [False, True, True]
    await store.close()
