from __future__ import annotations

import pytest

from netboot.config import UNLIMITED, Api, Rate


def test_an_unlimited_rate_is_never_reached() -> None:
    """Limits are compared, so infinity needs no case of its own."""
    assert UNLIMITED.per_second > 10**18
    assert Rate(60, 60.0).per_second == 1.0


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("10.0.0.1", False)]
)
def test_an_api_knows_whether_it_is_on_the_loopback(host: str, loopback: bool) -> None:
    """Elsewhere it would need TLS."""
    assert Api(host).loopback is loopback
