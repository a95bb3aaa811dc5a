"""Host names of ours: read strictly, whatever form the request's target has."""

from __future__ import annotations

from pathlib import Path

import pytest

from netboot.web.api.hosts import host_name, own_names
from tests.web.api.test_access import ask
from tests.web.api.test_door import opened
from tests.web.api.world import World


@pytest.mark.parametrize(
    ("header", "name"),
    [("A.example:80", "a.example"), ("[FE80::1]:80", "fe80::1"), ("a", "a"), ("a.", "a"), ("a.:80", "a"),
     ("127.0.0.1.", "127.0.0.1"), ("", ""), ("[", ""), ("[::1]x", ""), ("::1", ""), ("a:b", ""), ("u@a", ""),
     ("a,b", ""), ("a..", "a."), ("a/", ""), ("[::1].", "")],
)  # fmt: skip
def test_a_host_header_is_read(header: str, name: str) -> None:
    """Name without port, brackets and last dot; empty for what is no name at all."""
    assert host_name(header) == name


def test_a_public_listener_has_no_loopback_names() -> None:
    """Only what is declared and its own address."""
    assert own_names("10.0.0.1", ["Netboot.Example"]) == {"10.0.0.1", "netboot.example"}


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/healthz", "localhost", 200),
        ("http://evil.example/healthz", "localhost", 421),
        ("http://localhost/healthz", "evil.example", 421),
        ("http://localhost@evil.example/healthz", "localhost", 421),
        ("/healthz?http://evil.example/", "localhost", 200),
    ],
)
async def test_an_absolute_target_names_a_host_too(
    tmp_path: Path, target: str, host: str, status: int
) -> None:
    """It is what counts (RFC 9112 section 3.2.2), so it is looked at like Host."""
    async with opened(World(tmp_path)) as (_, port):
        answer = await ask(port, None, f"GET {target} HTTP/1.1\r\nHost: {host}")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
