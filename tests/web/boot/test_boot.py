"""The boot port over loopback: whole boots, and what is nowhere answered."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.boot.identity import Identity
from tests.web.boot.machine import HASH, claim_body, claimed, members
from tests.web.boot_site import STRANGER, TOKEN, running


async def test_a_machine_goes_from_script_to_configuration(tmp_path: Path, node: Identity) -> None:
    """Script, seed, claim and sealed configuration follow each other, and the boot's steps tell it."""
    async with running(tmp_path, root_password_hash=HASH) as world:
        boot = await world.lease()
        script = await world.script()
        assert script.status == 200 and f"/boot/{world.key(boot)}/seed.cpio" in script.text
        seed = await world.ask(f"/boot/{world.key(boot)}/seed.cpio")
        assert seed.status == 200 and world.key(boot).encode() in seed.body
        claim = await world.ask(f"/boot/{world.key(boot)}/claim", method="POST", body=claim_body(node))
        assert claim.json["node"] == "m1c29"
        config = await world.ask("/boot/config", session=claim.json["session"])
        assert config.status == 200 and config.headers["content-type"] == "application/cms"
        found = members(config.body, node)
        assert found["netboot/hostname"] == "m1c29\n" and TOKEN in found["netboot/join/kubeadm.yaml"]
        assert found["netboot/root_password_hash"] == f"{HASH}\n"
        current = world.boots.get(boot.id)
        assert current is not None and current.claimed and current.image == "debian-12"
        assert [s.step for s in current.steps] == ["discover", "ack", "script", "seed", "claim", "config"]
        assert current.system_uuid == "4c4c4544-0042-3510-8054-b4c04f564232"
        assert world.handed_out == [boot.id]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/etc/passwd", 404),
        ("GET", f"/boot/{'0' * 31}/seed.cpio", 404),
        ("GET", f"/boot/{'0' * 32}/seed.cpio", 404),
        ("DELETE", "/nothing", 501),
        ("POST", "/boot.ipxe", 405),
        ("HEAD", "/boot/config", 405),
        ("GET", "/boot/claim", 405),
    ],
)
async def test_other_paths_and_methods(tmp_path: Path, method: str, path: str, status: int) -> None:
    """Everything else is answered with its status and a text of ours."""
    async with running(tmp_path) as world:
        assert (await world.ask(path, method=method)).status == status


async def test_a_failure_inside_ends_one_request_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in one answer is a 500 and a log line; the next request is answered."""
    async with running(tmp_path) as world:
        world.store.lease_at = None  # type: ignore[method-assign, assignment]
        assert (await world.script()).status == 500
        assert (await world.ask("/boot.ipxe")).status == 200
        assert any(record.levelno == logging.ERROR for record in caplog.records)


@pytest.mark.parametrize(
    ("path", "size"), [("/boot/claim", 16385), ("/boot/report", 4097), ("/boot/log", 65537)]
)
async def test_a_body_that_is_too_large_is_not_read(tmp_path: Path, path: str, size: int) -> None:
    """413 at the head, before the body is there."""
    async with running(tmp_path) as world:
        raw = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
        assert (await world.send(raw)).status == 413


async def test_secrets_are_found_nowhere_but_at_their_node(
    tmp_path: Path, node: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Key, session, token and hash stand in no event, log record, boot or foreign answer."""
    caplog.set_level(logging.DEBUG)
    async with running(tmp_path, root_password_hash=HASH) as world:
        boot, session = await claimed(world, node)
        key = world.key(boot)
        config = await world.ask("/boot/config", session=session)
        assert HASH in "".join(members(config.body, node).values())
        answers = [
            await world.ask(f"/boot/{key}/seed.cpio", source=STRANGER),
            await world.ask(f"/boot/{key}/claim", method="POST", body=claim_body(node), source=STRANGER),
            await world.ask("/boot/report", method="POST", body=b"{}", session=session),
            await world.script(source=STRANGER),
            await world.script(),
        ]
        told = "".join(a.text for a in answers) + config.body.decode("latin-1")
        kept = repr(world.boots.all()) + repr(world.journal.events(limit=1000)) + repr(world.journal.counters)
        logged = "".join(record.getMessage() for record in caplog.records)
        for secret in (key, session, session.rpartition(".")[2], TOKEN, HASH, "a secret of thirty"):
            assert secret not in told and secret not in kept and secret not in logged
        assert f"/boot/{key[:6]}.../claim" in logged
