"""What is no request: told so in our words, with our headers, counted once, and never repeated."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from netboot.web.api import connection, guard
from tests.support.certificates import authority
from tests.web.api.test_access import ask
from tests.web.api.test_door import HEALTH, opened
from tests.web.api.world import TOKEN, World

SECRET = "a-token-that-nobody-repeats"
CHANGE = f"PUT /api/v1/nodes/n1/assignment HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh one."""
    return World(tmp_path)


async def say(port: int, *sent: bytes) -> tuple[str, dict[str, Any]]:
    """Head and body of the answer to some bytes, sent one piece after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in sent:
            writer.write(piece)
            await asyncio.sleep(0.05)
        head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
        return head.decode(), json.loads(body)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\x01\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode(),
        f"GET /{SECRET}{'x' * 9000} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        f"{SECRET} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    ],
)
async def test_what_is_no_request_is_answered_and_not_repeated(
    world: World, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """400 with a remedy; no traceback, and nothing of it in answer and log."""
    async with opened(world) as (_, port):
        head, body = await say(port, sent)
    assert head.startswith("HTTP/1.0 400 ") and body["remedy"]
    assert "Server: netboot" in head and "default-src 'none'" in head
    assert world.journal.counters["api_malformed"] == 1
    assert SECRET not in str(body) + head + caplog.text and "Traceback" not in caplog.text


async def test_a_body_that_breaks_its_own_rules_is_no_error_of_ours(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that blames the request, at the latest when its body is overdue; no traceback."""
    monkeypatch.setattr(guard, "BODY", 0.2)
    monkeypatch.setattr(connection, "LINGER", 0.2)
    async with opened(world) as (_, port):
        head = f"{CHANGE}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
        _, body = await say(port, head, b"zz\r\n")
    assert body["status"] in (400, 408) and "the body" in body["reason"]
    assert "Traceback" not in caplog.text


async def test_a_packed_body_stays_packed(world: World) -> None:
    """A few bytes do not become many, and what is no JSON is told so."""
    packed = gzip.compress(b" " * 1_000_000)
    for sent in (packed, b"no gzip at all"):
        head = f"{CHANGE}Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: {len(sent)}\r\n\r\n"
        async with opened(world) as (_, port):
            answer, body = await say(port, head.encode() + sent)
        assert answer.startswith("HTTP/1.1 400 ") and "no JSON" in body["reason"]


async def test_tls_to_a_plain_port_is_told(world: World) -> None:
    """With what to write instead."""
    async with opened(world) as (_, port):
        _, body = await say(port, bytes.fromhex("16030100c5010000c10303") + bytes(190))
    assert "http://" in body["remedy"]


async def test_plain_http_to_a_tls_port_is_told(world: World) -> None:
    """In plain http, before any handshake; a client that speaks TLS is served as ever."""
    signer = authority()
    async with opened(world, signer) as (made, port):
        head, body = await say(port, f"{HEALTH}\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode())
        assert head.startswith("HTTP/1.1 400 ") and "https://" in body["remedy"]
        assert SECRET not in head and "Location" not in head
        assert b"200 OK" in await ask(port, signer, HEALTH)
        assert made.held("127.0.0.1") <= 1
