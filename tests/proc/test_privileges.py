"""Accounts and rights without root; tests/interop/test_proc_root.py does the rest."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from netboot.errors import StartError
from netboot.proc import privileges
from netboot.proc.privileges import Account


def test_an_account_that_does_not_exist_is_named_with_its_remedy() -> None:
    """The operator named it, so nothing else is taken in its place."""
    with pytest.raises(StartError, match="useradd"):
        privileges.account("no-such-user-here", default="root", fallback=65533)


def test_the_default_account_gives_way_to_the_fallback() -> None:
    """A default that does not exist is no error: a name or a bare number stands in."""
    assert privileges.account(None, default="no-such-user-here", fallback=65533) == Account(65533, 65533)
    assert privileges.account(None, default="no-such-user-here", fallback="nobody").uid == 65534
    assert privileges.account("1234", default="x", fallback=1) == Account(1234, 1234)


def test_root_is_no_account_to_drop_to() -> None:
    """Dropping root to root would keep everything."""
    with pytest.raises(StartError, match="root"):
        privileges.drop_to(Account(0, 0))


def status_after(code: str) -> dict[str, str]:
    """The /proc status of a fresh interpreter after this code."""
    show = "print(open('/proc/self/status').read())"
    program = f"import os\nfrom netboot.proc import privileges\n{code}\n{show}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return {k: v.strip() for k, v in (line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)}


def test_a_process_without_a_target_user_drops_every_capability() -> None:
    """One uid for all (container, User=): no capability is left in any set, and none can come back."""
    status = status_after("privileges.drop_to(None)")
    assert {status[name].strip("0") for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {""}
    assert status["NoNewPrivs"] == "1"
    assert status["Uid"].split()[0] == str(os.getuid())


def test_control_above_its_helpers_leaves_its_children_ordinary() -> None:
    """Real time or a nice value for control, never for what it starts; else a warning with a remedy."""
    code = (
        "import os, sys; from netboot.proc import privileges\n"
        "warning = privileges.run_above_helpers(); privileges.leave_the_rest_ordinary()\n"
        "policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK\n"
        "assert warning or policy == os.SCHED_RR or os.getpriority(os.PRIO_PROCESS, 0) < 0\n"
        "child = os.fork()\n"
        "if not child: os._exit(os.sched_getscheduler(0) != os.SCHED_OTHER)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0


@pytest.mark.root
def test_the_writer_runs_as_control_does_and_what_is_started_later_is_ordinary() -> None:
    """The store's writer holds the interpreter's lock: were it ordinary, busy programs would stop DHCP."""
    code = (
        "import os, threading; from netboot.proc import privileges\n"
        "assert privileges.run_above_helpers() is None\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); found = []\n"
        "def started():\n"
        "    thread = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))\n"
        "    thread.start(); thread.join()\n"
        "started(); privileges.leave_the_rest_ordinary(); started()\n"
        "assert found == [os.SCHED_RR, os.SCHED_OTHER], found\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0


@pytest.mark.root
def test_control_is_above_helpers_that_were_started_in_real_time() -> None:
    """A unit with CPUSchedulingPolicy=rr gives its priority to control and helpers alike."""
    code = (
        "import os; from netboot.proc import privileges\n"
        "os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(20))\n"
        "assert privileges.run_above_helpers() is None\n"
        "assert os.sched_getparam(0).sched_priority == 30\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0
