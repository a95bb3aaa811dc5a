"""A machine with the node stand-in on it: a folder for its files, processes for its programs."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parents[2] / "images" / "node-standin"


@dataclass
class Machine:
    """One machine; `boot` gives it a new boot id, as a reboot does."""

    root: Path
    name: str
    system_uuid: str = "4c4c4544-0042-3510-8054-b4c04f564232"
    renew: float = 10.0
    not_ready: str = ""
    discovery: float = 5.0
    """Seconds between two looks of kubeadm at cluster-info."""
    _kubelet: subprocess.Popen[bytes] | None = None
    """Started by us, so ours to wait for; kubeadm's is nobody's child."""

    def boot(self) -> str:
        """Power on with an empty disk: nothing of the last boot is left. Returns the boot id."""
        self.power_off()
        boot_id = str(uuid.uuid4())
        self.clean()
        facts = {
            "proc/sys/kernel/random/boot_id": boot_id,
            "proc/sys/kernel/hostname": self.name,
            "sys/class/dmi/id/product_uuid": self.system_uuid,
            "etc/machine-id": uuid.uuid4().hex,
        }
        for name, text in facts.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(f"{text}\n")
        return boot_id

    def clean(self) -> None:
        """As the node's agent does before a further attempt: the preflight refuses these files."""
        for name in ("etc/kubernetes/kubelet.conf", "etc/kubernetes/pki/ca.crt"):
            (self.root / name).unlink(missing_ok=True)

    async def kubeadm(self, configuration: bytes, *arguments: str, timeout: float = 60.0) -> tuple[int, str]:
        """`kubeadm join` with that JoinConfiguration: exit status, and what it wrote."""
        file = self.root / "kubeadm.yaml"
        file.touch(mode=0o600)
        file.write_bytes(configuration)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-SE",
            str(PROGRAMS / "kubeadm"),
            "join",
            "--config",
            str(file),
            *arguments,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), timeout)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, output.decode()

    def lay(self, files: Mapping[str, tuple[bytes, int]]) -> None:
        """What the node's agent lays over the root when it joins without kubeadm."""
        for name, (content, mode) in files.items():
            if name.startswith("join/root/"):
                target = self.root / name.removeprefix("join/root/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                target.touch(mode=mode)
                target.write_bytes(content)

    def start_kubelet(self) -> None:
        """Start the kubelet as its unit does, with the flags that were laid."""
        line = (self.root / "etc/kubernetes/netboot-kubelet.env").read_text()
        arguments = shlex.split(line.removeprefix("NETBOOT_KUBELET_ARGS='").rstrip().removesuffix("'"))
        log = self.root / "var/log/kubelet.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._kubelet = subprocess.Popen(
                [sys.executable, "-SE", str(PROGRAMS / "kubelet"), *arguments],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "NODE_STANDIN_ROOT": str(self.root),
            "NODE_STANDIN_RENEW": str(self.renew),
            "NODE_STANDIN_NOT_READY": self.not_ready,
            "NODE_STANDIN_DISCOVERY": str(self.discovery),
            "NODE_STANDIN_HEALTHZ": "0",
        }

    async def until(self, check: Callable[[], object], timeout: float = 10.0) -> None:
        """Wait until `check` is true; the kubelet's log tells why it is not."""
        end = time.monotonic() + timeout
        while not check():
            assert time.monotonic() < end, (
                f"nothing happened in time; the kubelet's log:\n{self.kubelet_log()}"
            )
            await asyncio.sleep(0.02)

    def kubelet_command(self) -> list[str]:
        """The arguments of the running kubelet."""
        number = (self.root / "run/kubelet-standin.pid").read_text().strip()
        return Path(f"/proc/{number}/cmdline").read_text().split("\0")

    def kubelet_log(self) -> str:
        """What the kubelet wrote."""
        log = self.root / "var/log/kubelet.log"
        return log.read_text() if log.exists() else ""

    def power_off(self) -> None:
        """End the kubelet at once, as a power cut does; the Node object stays as it was."""
        if self._kubelet is not None:
            self._kubelet.kill()
            self._kubelet.wait(5)
            self._kubelet = None
        file = self.root / "run/kubelet-standin.pid"
        if not file.exists():
            return
        number = int(file.read_text())
        file.unlink()
        if b"kubelet" not in command_of(number):
            return
        os.kill(number, signal.SIGKILL)
        until = time.monotonic() + 5
        while command_of(number) and time.monotonic() < until:
            time.sleep(0.01)


def command_of(number: int) -> bytes:
    """The command line of a process; empty once it has ended, which may be while we look."""
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
