"""The key and certificate of a node."""

from __future__ import annotations

import pytest

from tests.boot.identity import Identity, identity


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A node's key and certificate, made by openssl as the initrd does."""
    return identity(tmp_path_factory.mktemp("node"))
