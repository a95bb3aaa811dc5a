"""How control starts the forker, and what it keeps of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from netboot.proc import Kind, messages
from netboot.proc.privileges import Account

_ENVIRONMENT: Final = ("PATH", "LANG", "LC_ALL", "TZ", "COVERAGE_PROCESS_START")
_ROOT: Final = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True, slots=True)
class ForkerHandle:
    """A running forker: its process and our end of its channel."""

    process: subprocess.Popen[bytes]
    channel: socket.socket


def start_forker(
    entries: Mapping[Kind, str], *, own: Account | None = None, helper: Account | None = None
) -> ForkerHandle:
    """Start the forker; call it while we are root and before any thread.

    `entries` names the function of each kind as MODULE:FUNCTION; `own` is who the forker becomes
    (server.user), `helper` whom its helpers become; both None when we are not root.
    """
    ours, theirs = messages.pair()
    command = [sys.executable, "-P", "-m", "netboot.proc.forker", str(theirs.fileno())]
    for option, who in (("--own", own), ("--helper", helper)):
        command += [option, f"{who.uid}:{who.gid}"] if who else []
    with theirs:
        process = subprocess.Popen(
            [*command, *(f"{kind}={target}" for kind, target in entries.items())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
            | {"PYTHONPATH": _ROOT},
            start_new_session=True,  # Ctrl-C in a terminal is control's alone
        )
    return ForkerHandle(process, ours)
