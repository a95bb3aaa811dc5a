"""What the image tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images.shell import BUSYBOX, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A scratch machine."""
    if BUSYBOX is None:
        pytest.skip("busybox is not installed: apt-get install busybox")
    return Machine(tmp_path)
