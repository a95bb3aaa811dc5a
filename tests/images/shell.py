"""Runs functions of the shell library in busybox sh, in a scratch machine made of folders."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BUSYBOX = shutil.which("busybox")


@dataclass
class Done:
    """How a script ended and what it said on its console."""

    status: int
    output: str


class Machine:
    """A machine whose /run/netboot, /proc, /sys and root are folders; it restarts by ending the script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.root = folder / "root"
        self.proc = folder / "proc"
        self.sys = folder / "sys"
        self.library = folder / "lib"
        for path in (self.run, self.root / "etc", self.proc, self.sys / "class/net/eth0", self.library):
            path.mkdir(parents=True)
        (self.proc / "uptime").symlink_to("/proc/uptime")
        (self.proc / "meminfo").write_text("MemTotal:        4000000 kB\nMemAvailable:    3500000 kB\n")
        (self.proc / "mounts").write_text("")
        (self.sys / "class/net/eth0/address").write_text("52:54:00:12:34:56\n")
        self.cmdline("")
        for path in (
            *(REPOSITORY / "images/initrd").glob("*.sh"),
            *(REPOSITORY / "images/agent").glob("*.sh"),
        ):
            (self.library / path.name).symlink_to(path)
        self.environment: dict[str, str] = {}

    def cmdline(self, words: str) -> None:
        """Set the kernel command line."""
        (self.proc / "cmdline").write_text(words + "\n")

    def put(self, name: str, value: str) -> None:
        """A value under /run/netboot."""
        (self.run / name).write_text(value + "\n")

    def get(self, name: str) -> str:
        """A value under /run/netboot."""
        return (self.run / name).read_text().strip()

    def sh(self, script: str, *, timeout: float = 60) -> Done:
        """Run a script with both libraries loaded; every wait is a hundred times shorter."""
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "NB_RUN": str(self.run),
            "NB_PROC": str(self.proc), "NB_SYS": str(self.sys), "NB_LIB": str(self.library),
            "ROOT": str(self.root),
            "NB_CONSOLES": "/dev/stdout",
            "NB_REBOOT": "echo RESTART", "NB_SEED": str(self.folder / "seed.json"), "NB_HTTP_TIMEOUT": "5",
            "NB_FAIL_WAIT": "0", "NB_REPORT_ATTEMPTS": "2", "NB_SET_CLOCK": "echo", **self.environment,
        }  # fmt: skip
        assert BUSYBOX
        head = "".join(f'. "{self.library}/{name}.sh"\n' for name in ("lib", "initrd", "agent", "kubelet"))
        head += "nb_backoff() { sleep 0.05; }\n"
        done = subprocess.run(
            [BUSYBOX, "sh", "-c", head + script],
            env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=timeout, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout.decode(errors="replace"))
