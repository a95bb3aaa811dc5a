"""Certificate signing requests."""

from __future__ import annotations

from netboot.cluster.certificates import request_of


def test_an_empty_request_is_pending() -> None:
    """What is absent is empty; a request that is no base64 is none."""
    found = request_of({"metadata": {"name": "csr-1"}, "spec": {"request": "!"}})
    assert (found.name, found.pem, found.approved, found.denied) == ("csr-1", b"", False, False)
