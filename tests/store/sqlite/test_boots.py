"""Boots on their disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from netboot.store.sqlite import SqliteStore, boots
from netboot.store.sqlite.boots import boot_of, boot_text
from tests.store.values import NOW, boot, claim


async def test_old_boots_are_pruned(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history is bounded: the oldest boots go with their claims."""
    monkeypatch.setattr(boots, "BOOTS_KEPT", 10)
    made = await SqliteStore.open(path)
    await made.burn(claim("b0"))
    await made.save_boots([boot(n, NOW + n) for n in range(30)])
    await made.close()
    again = await SqliteStore.open(path)
    assert [b.id for b in await again.boots()] == [f"b{n}" for n in range(29, 19, -1)]
    assert await again.claim_of("b0") is None
    await again.close()


def test_a_boot_survives_keys_of_a_later_version() -> None:
    """What we do not know is left out, the rest is read."""
    text = boot_text(boot(1)).replace("{", '{"invented_later": 1, ', 1)
    assert boot_of(text) == boot(1)
