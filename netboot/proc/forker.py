"""The forker: a small process that keeps SETUID, SETGID and KILL, and forks helpers at control's word.

    python -m netboot.proc.forker FD [--own UID:GID] [--helper UID:GID] KIND=MODULE:FUNCTION ...

It loads the helpers' modules once, so that a start is one fork (and needs no file of ours once root is
gone), and understands two words: `start` (a kind, a number, the helper's channel) and `kill`. When control
is gone, it starts nothing more, lets the helpers finish their running downloads, and ends with the last.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from netboot.errors import MalformedPacket
from netboot.proc import messages, privileges
from netboot.proc.privileges import Account

ORPHAN_LIMIT: Final = 900.0
"""Seconds that helpers may go on with running downloads after control has ended."""

Entry = Callable[[socket.socket], None]


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line: control's channel, who we and our helpers become, and the helpers' functions."""

    channel: int
    own: Account | None
    helper: Account | None
    entries: Mapping[str, str]


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Read the command line that `supervisor.start_forker` wrote; raises ValueError."""
    channel, *rest = argv
    accounts: dict[str, Account] = {}
    while rest and rest[0] in ("--own", "--helper"):
        name, ids, *rest = rest
        uid, gid = ids.split(":")
        accounts[name] = Account(int(uid), int(gid))
    entries = dict(entry.split("=", 1) for entry in rest)
    return Arguments(int(channel), accounts.get("--own"), accounts.get("--helper"), entries)


def load(target: str) -> Entry:
    """The function that MODULE:FUNCTION names."""
    module, _, function = target.partition(":")
    entry: Entry = getattr(importlib.import_module(module), function)
    return entry


class Forker:
    """The loop: words from control in, forks and exits out."""

    def __init__(self, control: socket.socket, entries: Mapping[str, Entry], helper: Account | None) -> None:
        self._control = control
        self._entries = entries
        self._helper = helper
        self._children: dict[int, tuple[int, int]] = {}  # pidfd -> (helper number, pid)
        self._poll = select.poll()
        self._deadline: float | None = None  # set once control is gone

    def run(self) -> None:
        """Serve until control is gone and the last helper has ended."""
        self._poll.register(self._control, select.POLLIN)
        self._tell("ready")
        while self._deadline is None or self._children:
            for fd, _ in self._poll.poll(self._timeout()):
                if fd in self._children:
                    self._reap(fd)
                elif self._deadline is None:
                    self._obey()
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._end_all()
                return

    def _timeout(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic()) * 1000 + 1

    def _obey(self) -> None:
        try:
            message = messages.receive(self._control)
        except BlockingIOError:
            return
        except (MalformedPacket, OSError):
            message = None  # control does not speak so: whoever it is, it is not obeyed any longer
        if message is None:
            self._orphaned()
            return
        try:
            self._execute(message)
        except MalformedPacket as error:
            self._tell("refused", text=str(error))
        finally:
            message.close()

    def _execute(self, message: messages.Message) -> None:
        if message.op == "start":
            self._start(message)
        elif message.op == "kill":
            self._kill(message.number("id"), signal.SIGKILL if message.number("hard") else signal.SIGTERM)
        else:
            raise MalformedPacket(f"the forker knows no word {message.op!r}")

    def _start(self, message: messages.Message) -> None:
        number, kind = message.number("id"), message.text("kind", limit=32)
        entry = self._entries.get(kind)
        if entry is None or len(message.fds) != 1:
            raise MalformedPacket(f"no helper of kind {kind!r}, or not one channel for it")
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._tell("exit", id=number, pid=0, status=255, text=f"fork: {error.strerror}")
            return
        if pid == 0:
            self._become(kind, entry, message.fds[0], parent)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = (number, pid)
        self._poll.register(pidfd, select.POLLIN)
        self._tell("started", id=number, pid=pid)

    def _become(self, kind: str, entry: Entry, channel: int, parent: int) -> NoReturn:
        """In the child: give up everything but the channel, then be the helper. Never returns."""
        status = 1
        try:
            os.dup2(channel, 3)
            os.closerange(4, 1 << 20)
            privileges.drop_to(self._helper)
            privileges.parent_death_signal(signal.SIGTERM)  # the forker is gone: finish and end
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
            privileges.process_name(f"netboot-{kind}")
            entry(socket.socket(fileno=3))
            status = 0
        except BaseException:  # noqa: BLE001 - the child must end here, whatever it met
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _kill(self, number: int, kind: signal.Signals) -> None:
        for pidfd, (helper, _) in self._children.items():
            if helper == number:
                signal.pidfd_send_signal(pidfd, kind)

    def _reap(self, pidfd: int) -> None:
        number, pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._tell("exit", id=number, pid=pid, status=os.waitstatus_to_exitcode(status) & 0x1FF)

    def _tell(self, op: str, **body: object) -> None:
        if self._deadline is not None:
            return
        try:
            messages.send(self._control, op, body)
        except OSError:
            self._orphaned()  # control is gone, or so stuck that it cannot be told apart from that

    def _orphaned(self) -> None:
        if self._deadline is None:
            self._poll.unregister(self._control)
            self._deadline = time.monotonic() + ORPHAN_LIMIT

    def _end_all(self) -> None:
        for pidfd in self._children:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def main(argv: Sequence[str]) -> None:
    """Load the helpers, give up what is not needed, and serve."""
    arguments = parse_arguments(argv)
    control = socket.socket(fileno=arguments.channel)
    control.setblocking(False)
    control.set_inheritable(False)
    entries = {kind: load(target) for kind, target in arguments.entries.items()}
    gc.collect()
    gc.freeze()  # the helpers share these pages
    privileges.drop_to(arguments.own, keep=privileges.FORKER if arguments.own else ())
    privileges.process_name("netboot-forker")
    privileges.all_descriptors()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for control
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    Forker(control, entries, arguments.helper).run()


if __name__ == "__main__":
    main(sys.argv[1:])
