"""Giving up rights: users, capabilities, no_new_privs, scheduling. Linux system calls through ctypes.

Capabilities belong to threads: call these before any thread is started.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from netboot.errors import StartError

CAPABILITIES: Final = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_NICE": 23,
}
CONTROL: Final = frozenset({"CAP_NET_BIND_SERVICE", "CAP_NET_RAW"})
"""What control keeps: it binds interfaces that come later and sends link-layer frames."""
FORKER: Final = frozenset({"CAP_SETUID", "CAP_SETGID", "CAP_KILL"})
"""What the forker keeps: it gives helpers their user and ends them."""

_HIGHEST: Final = 63
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_NAME = 1, 8, 15
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_VERSION_3: Final = 0x20080522


@dataclass(frozen=True, slots=True)
class Account:
    """Numeric user and group that a process becomes."""

    uid: int
    gid: int


def account(name: str | None, *, default: str, fallback: str | int) -> Account:
    """The operator's account `name`; without one `default` where that exists, else `fallback`.

    A number names a uid (and gid) that need not exist. Raises StartError for an unknown name.
    """
    if name is not None:
        found = _lookup(name)
        if found is None:
            raise StartError(
                f"the account {name!r} does not exist",
                f"Create it (useradd --system {name}) or name another in server.user or server.helper_user",
            )
        return found
    found = _lookup(default) or (_lookup(fallback) if isinstance(fallback, str) else None)
    if found is not None:
        return found
    number = fallback if isinstance(fallback, int) else 65534
    return Account(number, number)


def _lookup(name: str) -> Account | None:
    if name.isascii() and name.isdigit() and len(name) <= 10:
        return Account(int(name), int(name))
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        return None
    return Account(entry.pw_uid, entry.pw_gid)


def drop_to(target: Account | None, *, keep: Collection[str] = ()) -> None:
    """Become `target` (None: stay who we are) with the capabilities `keep` alone, for ever.

    Capabilities of `keep` that we do not hold are left out. Nothing that is executed later gets any.
    Raises OSError, and StartError for a target of uid 0.
    """
    if target is not None and target.uid == 0:
        raise StartError("the target user is root", "Name an account without rights in server.user")
    keeping = capabilities("permitted") & frozenset(keep)
    _drop_bounding_set(keeping)
    if target is not None:
        _prctl(_PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(target.gid, target.gid, target.gid)
        os.setresuid(target.uid, target.uid, target.uid)
        _prctl(_PR_SET_KEEPCAPS, 0)
    set_capabilities(keeping)
    no_new_privs()


def all_descriptors() -> None:
    """Let this process open as many files as it may: one for each connection (the usual 1024 are few)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def no_new_privs() -> None:
    """No program executed from here on gains rights (prctl PR_SET_NO_NEW_PRIVS)."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def parent_death_signal(number: signal.Signals) -> None:
    """Ask for a signal when the parent ends. A change of user clears it: call this afterwards."""
    _prctl(_PR_SET_PDEATHSIG, number)


def process_name(name: str) -> None:
    """What `ps` shows; at most 15 bytes."""
    _libc.prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def run_above_helpers(above: int = 10) -> str | None:
    """Schedule this process before its helpers; None, or the warning when the host does not allow it.

    SCHED_RR, so much above what we were started with, as the helpers were; else a nice value. Threads that
    are started before `leave_the_rest_ordinary` come along.
    """
    try:
        priority = min(os.sched_getparam(0).sched_priority + above, os.sched_get_priority_max(os.SCHED_RR))
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
        return None
    except OSError:
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        return None
    except OSError:
        return (
            "control runs at the same priority as the downloads, so DHCP may wait for them: "
            "give it CAP_SYS_NICE at start (systemd: CPUSchedulingPolicy=rr)"
        )


def leave_the_rest_ordinary() -> None:
    """Threads and processes that are started from here on do not run above helpers (reset-on-fork).

    The store's writer has to be started before: an ordinary thread that is not scheduled on a busy host
    holds the interpreter's lock meanwhile, and DHCP waits for it.
    """
    policy = os.sched_getscheduler(0)
    if policy == os.SCHED_RR:
        os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, os.sched_getparam(0))


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def capabilities(which: str = "effective") -> frozenset[str]:
    """Our own `effective` or `permitted` capabilities, as far as `CAPABILITIES` knows their names."""
    data = (_Data * 2)()
    _check(_libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), data))
    bits = getattr(data[0], which) | getattr(data[1], which) << 32
    return frozenset(name for name, number in CAPABILITIES.items() if bits >> number & 1)


def set_capabilities(keep: Collection[str]) -> None:
    """Hold exactly `keep`, none of it inheritable or ambient; raises OSError for what we do not hold."""
    bits = sum(1 << CAPABILITIES[name] for name in keep)
    data = (_Data * 2)(*(_Data(part, part, 0) for part in (bits & 0xFFFFFFFF, bits >> 32)))
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _check(_libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), data))


def _drop_bounding_set(keep: Collection[str]) -> None:
    if "CAP_SETPCAP" not in capabilities():
        return  # not ours to change; no_new_privs closes the same door
    kept = {CAPABILITIES[name] for name in keep}
    for number in range(_HIGHEST + 1):
        if number not in kept and _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1:
            _prctl(_PR_CAPBSET_DROP, number)


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
