"""What the tests with strangers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.namespace import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A namespace with br0 at 10.77.0.1/24."""
    with Lab() as made:
        yield made
