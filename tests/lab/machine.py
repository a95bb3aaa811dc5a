"""A virtual machine without a disk: QEMU on a tap of the lab, and its serial line with time stamps."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import uuid as uuid_module
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.lab.namespace import Lab, die_with_parent

QEMU = "qemu-system-x86_64"
BIOS = ["-machine", "pc,graphics=off", "-cpu", "Nehalem,-svm"]
"""SeaBIOS and iPXE with all their text on the serial line."""
OVMF_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
OVMF_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
SECURE_CODE = "/usr/share/OVMF/OVMF_CODE_4M.ms.fd"
SECURE_VARS = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"
"""Firmware that starts only what Microsoft signed: the distribution's shim."""
SECURE = ["-global", "driver=cfi.pflash01,property=secure,value=on"]
IPXE_KERNEL = "/usr/lib/ipxe/ipxe.lkrn"
TO_PXELINUX = """#!ipxe
ifopen net0
dhcp net0
set net0/filename lpxelinux.0
chain tftp://${net0/next-server}/lpxelinux.0
"""
"""QEMU has no PXE of its own: iPXE lends its to pxelinux."""
HTTP_BOOT_ONLY = [
    word
    for version in ("IPv4", "IPv6")
    for word in ("-fw_cfg", f"name=opt/org.tianocore/{version}PXESupport,string=n")
]
PROBE_SECONDS = 20.0

DEAD = re.compile(
    r"iPXE>|grub>|\(initramfs\)|Kernel panic|>>End|Remote boot cancelled|KVM internal error"
    r"|No more network devices|No bootable device|Could not boot|Interactive Shell|BdsDxe: failed to load"
)
"""What a machine that will not boot writes: waiting for success alone costs minutes."""

_LINE_END = re.compile(r"\r*\n|\r(?!$)")
_ESCAPES = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]|\x1bc|[\x00-\x08\x0e-\x1f]")


def _clean(text: str) -> str:
    """A line without terminal escapes."""
    return _ESCAPES.sub("", text).rstrip()


class MachineFailed(AssertionError):
    """The machine wrote a text of `DEAD`, ended, or did not do what was waited for in time."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the serial console: seconds since power-on, and the text without its escapes."""

    at: float
    text: str


class Serial:
    """What a machine writes, read by a thread; also kept in a file."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self.lines: list[Line] = []
        self.path = path
        self._partial = ""
        self._started = time.monotonic()
        self._stream = stream
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self.path.open("a", encoding="utf-8") as log:
            while chunk := os.read(self._stream.fileno(), 65536):
                at = time.monotonic() - self._started
                *whole, self._partial = _LINE_END.split(self._partial + chunk.decode("utf-8", "replace"))
                for line in map(_clean, whole):
                    self.lines.append(Line(at, line))
                    log.write(f"{at:8.2f} {line}\n")
                log.flush()

    def text(self) -> str:
        """All of it, the unfinished line included."""
        return "\n".join([line.text for line in self.lines] + [_clean(self._partial)])

    def tail(self, lines: int = 15) -> str:
        """The last lines that are not blank, with their times."""
        kept = [f"{line.at:8.2f} {line.text}" for line in self.lines if line.text.strip()]
        return "\n".join([*kept[-lines:], *filter(None, [_clean(self._partial)])])

    def close(self) -> None:
        """Wait for the end of the stream (the machine has ended)."""
        self._thread.join(5)
        self._stream.close()


class Machine:
    """One machine.

    `firmware` is bios (SeaBIOS and iPXE), efi-tftp or efi-http (EDK2's own clients), efi-secure (EDK2 with
    Secure Boot, its own TFTP client) or pxelinux (started by iPXE).

    `trusts` is a file with the CA (an EFI signature list) that EDK2 believes over HTTPS.

    Each MAC is a network card on a tap of its own; `boots_from` is the card that the firmware starts from.
    """

    def __init__(
        self,
        lab: Lab,
        macs: Sequence[str],
        *,
        firmware: str = "bios",
        memory: int = 512,
        boots_from: int = 0,
        uuid: str | None = None,
        trusts: Path | None = None,
        directory: Path,
        name: str = "machine",
    ) -> None:
        self.lab = lab
        self.macs = tuple(macs)
        self.firmware = firmware
        self.memory = memory
        self.boots_from = boots_from
        self.uuid = uuid or str(uuid_module.uuid5(uuid_module.NAMESPACE_OID, self.macs[0]))
        self.trusts = trusts
        self.name = name
        self.directory = directory
        self.taps = tuple(lab.tap() for _ in self.macs)
        self.serial: Serial | None = None
        self.console = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._powered = 0

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.power_off()

    # Power

    def power_on(self) -> None:
        """Start it; it comes up from nothing."""
        assert self._process is None, "the machine is on"
        self._powered += 1
        path = self.directory / f"{self.name}.{self._powered}.serial"
        self._process = self.lab.start(self._command(), stdout=subprocess.PIPE)
        assert self._process.stdout
        self.serial = Serial(self._process.stdout, path)

    def power_off(self) -> None:
        """Cut the power."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(20)
        self._process = None
        assert self.serial
        self.serial.close()
        self.console += self.serial.text()

    def power_cycle(self) -> None:
        """Cut the power and start again at once."""
        self.power_off()
        self.power_on()

    def _command(self) -> list[str]:
        accelerator = "kvm" if kvm_boots() else "tcg"
        command = [
            QEMU,
            "-nodefaults",
            "-no-user-config",
            "-accel",
            accelerator,
            "-m",
            str(self.memory),
            "-smp",
            "1",
        ]
        command += ["-display", "none", "-serial", "stdio", "-device", "virtio-rng-pci", "-uuid", self.uuid]
        if self.firmware in ("bios", "pxelinux"):
            command += BIOS
            command += self._pxelinux() if self.firmware == "pxelinux" else []
        else:
            command += self._efi(accelerator)
        for number, (mac, tap) in enumerate(zip(self.macs, self.taps, strict=True)):
            command += ["-netdev", f"tap,id=n{number},ifname={tap},script=no,downscript=no"]
            # without a ROM of QEMU's the firmware's own network client does the work
            rom = "" if self.firmware in ("bios", "pxelinux") and number == self.boots_from else ",romfile="
            boot = ",bootindex=1" if number == self.boots_from else ""
            command += ["-device", f"virtio-net-pci,netdev=n{number},mac={mac}{boot}{rom}"]
        return command

    def _efi(self, accelerator: str) -> list[str]:
        secure = self.firmware == "efi-secure"
        code, template = (SECURE_CODE, SECURE_VARS) if secure else (OVMF_CODE, OVMF_VARS)
        variables = self.directory / f"{self.name}.{self._powered}.vars"
        shutil.copyfile(template, variables)
        command = ["-machine", "q35,smm=on" if secure else "q35"]
        command += ["-cpu", "Nehalem,-svm" if accelerator == "kvm" else "max"]
        command += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"]
        command += ["-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
        command += SECURE if secure else []
        if self.trusts:
            command += ["-fw_cfg", f"name=etc/edk2/https/cacerts,file={self.trusts}"]
        return command + (HTTP_BOOT_ONLY if self.firmware == "efi-http" else [])

    def _pxelinux(self) -> list[str]:
        script = self.directory / f"{self.name}.ipxe"
        script.write_text(TO_PXELINUX)
        return ["-kernel", IPXE_KERNEL, "-initrd", str(script)]

    # What it does

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the QEMU process since power-on: what to compare where wall time says little."""
        assert self._process
        return process_cpu_seconds(self._process.pid)

    def dead(self) -> str | None:
        """Why this machine will not boot any more, None while it may."""
        assert self.serial
        found = DEAD.search(self.serial.text())
        if found:
            return f"the machine says {found[0]!r}"
        if self._process is not None and self._process.poll() is not None:
            return f"QEMU ended with {self._process.returncode}"
        return None

    def wait_until(
        self, what: str, condition: Callable[[], object], timeout: float = 300.0, every: float = 0.25
    ) -> object:
        """The first true value of `condition`; raises MachineFailed where the machine died or time is up."""
        until = time.monotonic() + timeout
        while not (value := condition()):
            reason = self.dead()
            if reason is None and time.monotonic() > until:
                reason = f"{timeout:.0f} s are over"
            if reason:
                assert self.serial
                raise MachineFailed(f"{self.name}: waiting for {what}: {reason}\n{self.serial.tail()}")
            time.sleep(every)
        return value

    def wait_for_text(self, pattern: str, timeout: float = 300.0) -> re.Match[str]:
        """Wait until the serial line holds `pattern`."""
        found = self.wait_until(
            f"{pattern!r} on the serial line",
            lambda: re.search(pattern, self.serial.text() if self.serial else ""),
            timeout,
        )
        assert isinstance(found, re.Match)
        return found


def process_cpu_seconds(pid: int) -> float:
    """User and system seconds of a process, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# KVM


@functools.cache
def kvm_boots() -> bool:
    """Whether this machine's KVM really boots firmware; asked once per start of the host, by a real boot.

    A /dev/kvm may exist and emulate everything outside 64-bit mode: iPXE and OVMF then die half way.
    """
    forced = os.environ.get("NETBOOT_ACCEL")
    if forced:
        return forced == "kvm"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    remembered = work_directory() / "kvm"
    host = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(FileNotFoundError):
        known_host, _, answer = remembered.read_text().partition(" ")
        if known_host == host:
            return answer == "yes"
    boots = _probe_kvm()
    remembered.write_text(f"{host} {'yes' if boots else 'no'}")
    return boots


def _probe_kvm(accelerator: str = "kvm") -> bool:
    """Let iPXE run a script from QEMU's own user network, within `PROBE_SECONDS`."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "probe.ipxe").write_text("#!ipxe\necho runs-a-script\n")
        command = [QEMU, "-nodefaults", "-no-user-config", "-accel", accelerator, *BIOS, "-m", "256"]
        command += ["-display", "none", "-serial", "stdio", "-device", "virtio-net-pci,netdev=n0,bootindex=1"]
        command += ["-netdev", f"user,id=n0,restrict=on,tftp={directory},bootfile=probe.ipxe"]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        limit = threading.Timer(PROBE_SECONDS, process.kill)
        limit.start()
        output = b""
        assert process.stdout
        try:
            while chunk := os.read(process.stdout.fileno(), 65536):
                output += chunk
                if b"runs-a-script" in output or b"KVM internal error" in output:
                    break
        finally:
            limit.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
        return b"runs-a-script" in output


def work_directory() -> Path:
    """Where what was built is kept between runs: NETBOOT_WORK, else ~/.cache/netboot."""
    path = Path(os.environ.get("NETBOOT_WORK") or Path.home() / ".cache" / "netboot")
    path.mkdir(parents=True, exist_ok=True)
    return path
