"""The processes as root starts them: who they are, what they may, what they have loaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from netboot.proc.privileges import Account
from tests.proc.house import house, make_served, until

pytestmark = pytest.mark.root

OWN, HELPER = Account(65431, 65431), Account(65433, 65433)
FORKER_CAPS = 1 << 5 | 1 << 6 | 1 << 7  # KILL, SETGID, SETUID
CONTROL_CAPS = 1 << 10 | 1 << 13  # NET_BIND_SERVICE, NET_RAW


@pytest.fixture
def root():
    """A directory that every user may enter, as /srv is."""
    folder = Path(tempfile.mkdtemp(prefix="netboot-proc-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def status(pid: int | str) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


def caps(of: dict[str, str]) -> dict[str, int]:
    return {name: int(of[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")}


async def test_helpers_run_under_their_own_user_without_any_right(root: Path) -> None:
    """Every helper: helper_user in all four uids, no groups, no capability, no_new_privs, no framework."""
    async with house(make_served(root), workers=2, tftp=True, own=OWN, helper=HELPER) as made:
        pids = made.pids() + made.pids("tftp")
        assert len(pids) == 3
        for pid in pids:
            of = status(pid)
            assert of["Uid"].split() == of["Gid"].split() == [str(HELPER.uid)] * 4
            assert of["Groups"] == ""
            assert set(caps(of).values()) == {0}
            assert of["NoNewPrivs"] == "1"
            maps = Path(f"/proc/{pid}/maps").read_text()
            assert "pydantic" not in maps
            assert "aiohttp" not in maps


async def test_the_forker_keeps_three_capabilities_and_is_not_root(root: Path) -> None:
    """server.user with SETUID, SETGID and KILL, in the bounding set too."""
    async with house(make_served(root), own=OWN, helper=HELPER) as made:
        of = status(made.supervisor._forker.process.pid)
        assert of["Uid"].split() == [str(OWN.uid)] * 4
        assert caps(of) == {"CapEff": FORKER_CAPS, "CapPrm": FORKER_CAPS, "CapInh": 0, "CapAmb": 0}
        assert int(of["CapBnd"], 16) == FORKER_CAPS
        assert of["NoNewPrivs"] == "1"


async def test_the_forker_ends_a_helper_of_another_user(root: Path) -> None:
    """KILL is what it is kept for: a stopped (hanging) worker is ended with its grace."""
    async with house(make_served(root), own=OWN, helper=HELPER, grace=1.0) as made:
        (pid,) = made.pids()
        os.kill(pid, 19)  # SIGSTOP
    assert not Path(f"/proc/{pid}").exists()


async def test_a_file_that_the_helper_user_may_not_read_is_refused_and_reported(root: Path) -> None:
    """Secrets that stand in the wrong directory by mistake are safe from the helpers, and named."""
    served = make_served(root)
    secret = root / "files" / "key"
    secret.write_bytes(b"secret")
    secret.chmod(0o600)
    async with house(served, own=OWN, helper=HELPER) as made:
        import asyncio

        def ask() -> int:
            try:
                urllib.request.urlopen(made.url("/files/key"), timeout=5)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code
            return 200

        assert await asyncio.to_thread(ask) == 403
        await until(lambda: made.refused)
        assert "cannot be read by the helper user" in made.refused[0][1]


def test_control_keeps_two_capabilities_and_can_still_bind_low_ports() -> None:
    """After drop_to: server.user, NET_BIND_SERVICE and NET_RAW alone; nothing comes back by exec."""
    code = f"""
import os, socket, subprocess
from netboot.proc import privileges
privileges.drop_to(privileges.Account({OWN.uid}, {OWN.gid}), keep=privileges.CONTROL)
socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as low:
    low.bind(("127.0.0.1", 1019))
try:
    os.setuid(0)
except PermissionError:
    print(open("/proc/self/status").read())
    print("--")
    print(subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    own, _, child = done.stdout.partition("--\n")
    assert own and child, done.stderr
    for text, held in ((own, CONTROL_CAPS), (child, 0)):
        of = {k: v.strip() for k, v in (line.split(":", 1) for line in text.splitlines() if ":" in line)}
        assert of["Uid"].split() == [str(OWN.uid)] * 4
        assert of["Groups"] == ""
        assert caps(of) == {"CapEff": held, "CapPrm": held, "CapInh": 0, "CapAmb": 0}
        assert of["NoNewPrivs"] == "1"
