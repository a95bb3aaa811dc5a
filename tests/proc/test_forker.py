"""The forker alone: what it obeys, and what it does not."""

from __future__ import annotations

import select
import subprocess
import sys

import pytest

from netboot.errors import MalformedPacket
from netboot.proc import messages
from netboot.proc.forker import parse_arguments
from netboot.proc.forking import ForkerHandle, start_forker
from netboot.proc.privileges import Account


def say_hello(channel) -> None:
    """A helper that says one word and ends with a status of its own."""
    messages.send(channel, "hello")
    raise SystemExit(7)


@pytest.fixture
def forker():
    handle = start_forker({"bulk": "tests.proc.test_forker:say_hello"})
    assert hear(handle).op == "ready"
    yield handle
    handle.channel.close()
    handle.process.wait(10)


def hear(handle: ForkerHandle) -> messages.Message:
    assert select.select([handle.channel], [], [], 10)[0], "the forker is silent"
    message = messages.receive(handle.channel)
    assert message is not None
    return message


def test_a_started_helper_speaks_on_its_channel_and_its_end_is_reported(forker: ForkerHandle) -> None:
    """started with a pid, the helper's own word, then exit with number and pid."""
    ours, theirs = messages.pair()
    with ours:
        with theirs:
            messages.send(forker.channel, "start", {"id": 3, "kind": "bulk"}, fds=(theirs.fileno(),))
        started = hear(forker)
        assert (started.op, started.number("id")) == ("started", 3)
        assert select.select([ours], [], [], 10)[0]
        message = messages.receive(ours)
        assert message is not None
        assert message.op == "hello"
        ended = hear(forker)
        assert (ended.op, ended.number("id"), ended.number("pid")) == ("exit", 3, started.number("pid"))
        assert ended.number("status") == 1


def test_words_that_it_does_not_know_are_refused(forker: ForkerHandle) -> None:
    """No other kind, no other word, no start without exactly one channel; the forker stays."""
    for op, body in (("start", {"id": 1, "kind": "sh"}), ("start", {"id": 1, "kind": "bulk"}), ("exec", {})):
        messages.send(forker.channel, op, body)
        assert hear(forker).op == "refused"
    assert forker.process.poll() is None


def test_it_ends_when_control_is_gone_and_no_helper_runs() -> None:
    """Nothing is left running behind a control that had no helpers."""
    handle = start_forker({"bulk": "tests.proc.test_forker:say_hello"})
    handle.channel.close()
    assert handle.process.wait(10) == 0


def test_the_command_line_names_who_and_what() -> None:
    """UID:GID pairs and KIND=MODULE:FUNCTION."""
    arguments = parse_arguments(["5", "--own", "1:2", "--helper", "3:4", "bulk=a:b"])
    assert (arguments.channel, arguments.own, arguments.helper) == (5, Account(1, 2), Account(3, 4))
    assert arguments.entries == {"bulk": "a:b"}
    with pytest.raises(ValueError, match="unpack"):
        parse_arguments(["5", "--own", "1", "bulk=a:b"])


def test_the_helpers_modules_hold_no_web_framework_and_no_event_loop() -> None:
    """Everything that forker and helpers load: neither aiohttp nor pydantic, no asyncio, no configuration."""
    code = "import netboot.proc.forker, netboot.tftp.server, netboot.web.bulk, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = set(done.stdout.split())
    assert "netboot.web.bulk" in loaded
    for name in ("aiohttp", "pydantic", "asyncio", "jinja2", "yaml", "cryptography", "ssl", "sqlite3"):
        assert name not in loaded, name
    assert {m for m in loaded if m.startswith("netboot.") and m.count(".") == 1} <= {
        "netboot.cold", "netboot.errors", "netboot.model", "netboot.proc", "netboot.tftp", "netboot.tree",
        "netboot.web",
    }  # fmt: skip


def test_a_message_for_an_unknown_helper_is_ignored(forker: ForkerHandle) -> None:
    """kill names a helper by its number, never a process: a stranger cannot be meant."""
    messages.send(forker.channel, "kill", {"id": 99, "hard": 1})
    messages.send(forker.channel, "nonsense")
    assert hear(forker).op == "refused"
    with pytest.raises(MalformedPacket):
        messages.Message("kill", {"id": -1}).number("id")
