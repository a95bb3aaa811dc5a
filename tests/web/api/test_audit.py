"""The audit: who changed what, whose tries were refused; durable, bounded, without secrets or line breaks."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from netboot.errors import StoreError
from netboot.model.access import AuditEntry
from netboot.web.api import audit
from netboot.web.api.audit import Auditor
from tests.web.api.world import OPERATOR, VIEWER, World, client_of, items

LEASE = "/api/v1/leases/10.0.0.7"


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """Machines that boot."""
    made = World(tmp_path)
    await made.machines_boot()
    return made


async def test_a_change_is_one_entry_with_who_what_and_its_end(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Name and role of the token, where from, what was asked for, the answer's status; one log line too."""
    caplog.set_level(logging.INFO, "netboot")
    async with client_of(world, token=OPERATOR) as client:
        assert (await client.delete(LEASE, params={"force": "true", "token": "Zq1"})).status == 200
    async with client_of(world) as client:
        (entry,) = await items(client, "/api/v1/audit")
    assert {key: entry[key] for key in ("name", "role", "source", "method", "path", "request", "status")} == {
        "name": "olga", "role": "operator", "source": "127.0.0.1", "method": "DELETE", "path": LEASE,
        "request": {"force": "true"}, "status": 200,
    }  # fmt: skip
    (line,) = [r.message for r in caplog.records if r.message.startswith("audit:")]
    assert line == (
        f"audit: change name=olga role=operator source=127.0.0.1 method=DELETE path={LEASE}"
        " asked.force=true status=200"
    )


async def test_a_change_that_its_route_refused_is_kept_with_that_status(world: World) -> None:
    """404 and 409 are ends like others."""
    async with client_of(world, token=OPERATOR) as client:
        assert (await client.delete("/api/v1/leases/10.0.0.250")).status == 404
        assert (await client.delete("/api/v1/leases/10.0.0.5")).status == 409
    assert [(e.status, e.refused) for e in await world.store.audit()] == [(409, False), (404, False)]


async def test_nothing_is_changed_that_the_audit_cannot_hold(world: World) -> None:
    """The disk refuses: 503 with Retry-After, and the lease is as it was."""

    class Full:
        async def record_audit(self, entry: AuditEntry) -> int:
            raise StoreError("the disk is full")

    async with client_of(world, audit=Full()) as client:
        answer = await client.delete(LEASE)
        assert answer.status == 503 and "Retry-After" in answer.headers
        assert (await client.get(LEASE)).status == 200


async def test_how_a_change_ended_is_written_before_its_answer_leaves(world: World) -> None:
    """Whoever got the answer finds it in the audit."""
    order: list[str] = []
    store = world.store
    finish, forget = store.finish_audit, world.dhcp.forget

    async def forgets(*args: Any, **keys: Any) -> str:
        order.append("changed")
        return await forget(*args, **keys)

    class Slow:
        record_audit = store.record_audit

        async def finish_audit(self, *args: Any) -> None:
            await asyncio.sleep(0.05)
            await finish(*args)
            order.append("written")

    world.dhcp.forget = forgets  # type: ignore[method-assign]
    async with client_of(world, audit=Slow()) as client:
        await client.delete(LEASE)
        order.append("answered")
    assert order == ["changed", "written", "answered"]


async def test_refused_tries_are_kept_apart(world: World) -> None:
    """No token, a wrong one, too weak a role, a foreign Host: each says so, and nothing of the token."""
    async with client_of(world, token=None) as client:
        await client.get("/api/v1/boots")
        await client.get("/api/v1/boots", headers={"Authorization": "Bearer Gx-guessed-guessed-guessed"})
        await client.get("/", headers={"Host": "evil.example"})
    async with client_of(world, token=VIEWER) as client:
        assert (await client.delete(LEASE)).status == 403
    found = await world.store.audit()
    stranger = (401, None, "no token that we know")
    assert all(entry.refused for entry in found)
    assert [(e.status, e.name, e.why) for e in found] == [
        (403, "vera", "its role is too weak"), (421, None, "a foreign Host"), stranger, stranger,
    ]  # fmt: skip
    assert "guessed" not in repr(found)


async def test_a_storm_of_refused_tries_writes_few_entries(world: World) -> None:
    """Some of each source and minute; what is left out is counted."""
    async with client_of(world, token=None) as client:
        for _ in range(60):
            await client.get("/api/v1/boots")
        assert len(await world.store.audit()) == audit.REFUSALS_OF_ONE.count
        world.now += 60
        await client.get("/api/v1/boots")
    assert len(await world.store.audit()) == audit.REFUSALS_OF_ONE.count + 1
    assert world.journal.counters["audit_left_out"] == 40


async def test_nothing_of_a_request_breaks_a_line_or_tells_a_secret(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Line breaks and quotes stand escaped; a token in a path is redacted; unknown keys are not kept."""
    caplog.set_level(logging.INFO, "netboot")
    path = "/api/v1/leases/x%0Aaudit:%20change%20name=root%1B[2J%22"
    async with client_of(world) as client:
        await client.delete(path, json={"cluster": 'a" status=200\n', "password": "hunter2", "tags": ["a\r"]})
        await client.delete("/api/v1/leases/abcdef.0123456789abcdef")
    lines = [r.message for r in caplog.records if r.message.startswith("audit:")]
    assert len(lines) == 2 and all(line.isprintable() for line in lines)
    assert 'asked.cluster="a\\" status=200\\\\n"' in lines[0]
    told = "".join(lines) + repr(await world.store.audit())
    assert "hunter2" not in told and "0123456789abcdef" not in told and "abcdef.<redacted>" in told


async def test_what_is_kept_of_a_request_is_bounded(world: World) -> None:
    """Values and paths are cut; a body that is no JSON object tells nothing."""
    async with client_of(world) as client:
        await client.delete("/api/v1/leases/" + "p" * 2000, json={"cluster": "c" * 3000})
        await client.delete(LEASE, data=b"[" * 2000)
        await client.delete(LEASE, json=["cluster"])
    newest, middle, oldest = await world.store.audit()
    assert len(oldest.path) <= 300 and len(oldest.request["cluster"]) <= 200
    assert newest.request == middle.request == {}


async def test_an_operation_that_was_started_is_named(world: World) -> None:
    """By the answer's Location."""
    from aiohttp import web

    auditor = Auditor(world.store, world.journal, lambda: world.now)
    request = make_mocked_request("PUT", "/api/v1/nodes/n1/assignment")
    entry = await auditor.begin(request, world.tokens[1])
    assert [e.status for e in await world.store.audit()] == [None]
    await auditor.end(entry, web.Response(status=202, headers={"Location": "/api/v1/operations/op7"}))
    (kept,) = await world.store.audit()
    assert (kept.status, kept.operation) == (202, "op7")
