"""`scripts/demo`: a machine without a disk boots and joins, live; then its power is cut."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from tests.kube.real import VARIABLE
from tests.lab import images
from tests.lab.appliance import step
from tests.lab.machine import Machine, MachineFailed, kvm_boots
from tests.lab.operator import MAC, NODE, operator_config
from tests.lab.real import full_site
from tests.lab.site import Site, running_site, scratch

FIRMWARE = {
    "bios": "SeaBIOS with iPXE in ROM",
    "efi-tftp": "UEFI, by TFTP",
    "efi-http": "UEFI HTTP boot",
}
BOOT_LIMIT = 900.0
"""Seconds that one boot may take; idle, the full image needs about two minutes without KVM."""


class DemoFailed(Exception):
    """The demo did not happen as it should; the text says what was missing."""


class Screen:
    """What the demo says: a line per event, with seconds since power-on, and one bar on a terminal."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self._power_on = time.time()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._quarter = 0

    def title(self, text: str) -> None:
        """The heading of a part."""
        self.console.print(f"\n[bold]{text}[/bold]")

    def note(self, text: str) -> None:
        """A line about the preparation."""
        self.console.print(f"  {text}", markup=False)

    def power_on(self, text: str) -> None:
        """The machine was switched on: times count from here."""
        self._power_on, self._quarter = time.time(), 0
        self.at(self._power_on, "power on", text)

    def at(self, at: float, name: str, text: str) -> None:
        """One step, at seconds since the epoch."""
        self.console.print(f"{max(0.0, at - self._power_on):7.1f} s  {name:15} {text}".rstrip(), markup=False)

    def progress(self, done: int, of: int) -> None:
        """How much of the squashfs the appliance has sent."""
        if not self.console.is_terminal:
            quarter = 4 * done // of
            if self._quarter < quarter < 4:
                self._quarter = quarter
                mebibyte = 1 << 20
                self.at(
                    time.time(), "squashfs", f"{25 * quarter} %, {done // mebibyte} of {of // mebibyte} MiB"
                )
            return
        if self._bar is None and done < of:
            columns = (
                TextColumn("           squashfs       "),
                BarColumn(30),
                DownloadColumn(True),
                TransferSpeedColumn(),
            )
            self._bar = Progress(*columns, console=self.console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("squashfs", total=of)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)

    def progress_over(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def took(self) -> str:
        """Seconds since the start of the demo."""
        return f"{time.monotonic() - self._began:.0f} s"


def follow(screen: Screen, site: Site, machine: Machine, *, after: str | None = None) -> dict[str, Any]:
    """Show the machine's boot as it goes on; returns it once it has ended, joined or stopped.

    Raises MachineFailed where the machine itself died or nothing came of it in `BOOT_LIMIT` seconds.
    """
    shown: dict[str, str] = {}

    def look() -> dict[str, Any] | None:
        boot = site.appliance.boot(machine.macs[0])
        if boot is None or boot["id"] == after:
            return None
        show_steps(screen, boot, shown)
        return boot if boot["state"] == "joined" or boot["ended"] else None

    try:
        ended = machine.wait_until("joined", look, BOOT_LIMIT)
    finally:
        screen.progress_over()
    assert isinstance(ended, dict)
    return ended


def show_steps(screen: Screen, boot: dict[str, Any], shown: dict[str, str]) -> None:
    """Print the steps that are new or say something new."""
    for found in boot["steps"]:
        name, text = found["step"], words_of(boot, found)
        if name == "squashfs" and found.get("of"):
            screen.progress(found["bytes"] or 0, found["of"])
            if (found["bytes"] or 0) < found["of"]:
                continue
            screen.progress_over()
        if shown.get(name) != text:
            # a step keeps the time at which it began; what it says later is later
            screen.at(found["at"] if name not in shown and name != "squashfs" else time.time(), name, text)
            shown[name] = text


def words_of(boot: dict[str, Any], found: dict[str, Any]) -> str:
    """What to say about a step: its own words, else what the boot knows."""
    name, detail, size = found["step"], found.get("detail") or "", found.get("of")
    mebibytes = f"{size / (1 << 20):.1f} MiB" if size else ""
    if name == "squashfs":
        return "checked against its SHA-256, mounted in RAM" if detail == "done" else f"{mebibytes} sent"
    if detail:
        return str(detail)
    return {
        "discover": f"{boot['mac']} is {boot['node']} of cluster {boot['cluster']}",
        "script": f"image {boot['image']}, generation {str(boot['generation'])[:12]}",
        "claim": "its one-time key is spent, its session begins",
        "ready": f"{boot['node']} is Ready",
    }.get(name, mebibytes)


def identity(site: Site, boot: dict[str, Any]) -> tuple[str, str]:
    """Under which name and address a boot joined: what its Node object says, else what the appliance says."""
    node = site.node(boot["node"])
    addresses = ((node or {}).get("status") or {}).get("addresses") or []
    inner = next((a["address"] for a in addresses if a["type"] == "InternalIP"), None)
    return boot["node"], inner or str((step(boot, "ack") or {}).get("detail", "")).partition(" ")[0]


def needs_standin(options: argparse.Namespace) -> bool:
    """The micro image holds the node stand-in, and a wrong CA is a trick of the API stand-in."""
    return bool(options.micro or options.wrong_ca)


def build(screen: Screen, store: Path, options: argparse.Namespace) -> None:
    """The boot image."""
    screen.title("Boot image" + (" (micro)" if options.micro else " (Debian 12)"))
    arguments = ["--kube", "standin"] if needs_standin(options) else images.kube_arguments()
    if options.kubeconfig and VARIABLE not in os.environ:
        arguments = ["--kube", "repository"]
    images.build(store, micro=options.micro, arguments=arguments, say=lambda line: show_build(screen, line))


def show_build(screen: Screen, line: str) -> None:
    """A line of the builder's progress; of the Dockerfile's steps only those that take their time."""
    if line.startswith("[") and (" STEP " not in line or ": RUN " in line):
        screen.note(line if len(line) <= 110 else line[:107] + "...")


def announce(screen: Screen, site: Site, options: argparse.Namespace) -> None:
    """Say what stands where, and what is not real."""
    screen.title("Appliance")
    screen.note(
        f"network namespace {site.lab.name}: bridge br0, 10.77.0.1/24, no way to any real network"
        if not options.kubeconfig
        else f"network namespace {site.lab.name}: br0, routed out for your cluster"
    )
    screen.note("netboot serve: DHCP, TFTP, boot HTTP and API; SQLite; " + f"pid {site.appliance.pid}")
    if site.standin:
        screen.note(f"cluster: a STAND-IN of the Kubernetes API at {site.standin.server}, made by the tests;")
        screen.note("         --kubeconfig FILE joins a real cluster instead")
    elif options.kubeconfig:
        screen.note(f"cluster: yours, by {options.kubeconfig}")
    else:
        screen.note(f"cluster: a real one in the namespace, of the binaries in ${VARIABLE}")
    screen.note(
        f"machine: QEMU with {'KVM' if kvm_boots() else 'no KVM (all is emulated: it takes its time)'}"
    )


def show(screen: Screen, site: Site, options: argparse.Namespace) -> None:
    """Power on, join, power-cycle, join again. Raises DemoFailed."""
    if options.wrong_ca:
        site.kube.control("settings", cluster_info_ca="wrong-for-nodes")
        screen.note("its cluster-info shows a foreign CA, as --wrong-ca wants")
    memory = 512 if options.micro else 2048
    machine = Machine(
        site.lab, [MAC], firmware=options.firmware, memory=memory, directory=site.directory, name=NODE
    )
    with machine:
        screen.title("A machine without a disk")
        machine.power_on()
        screen.power_on(f"{MAC}, {FIRMWARE[options.firmware]}, {memory} MiB of RAM, no disk")
        first = follow(screen, site, machine)
        expect_joined(screen, site, first)
        before = identity(site, first)
        screen.note(f"{before[0]} at {before[1]} has joined")
        screen.title("Its power is cut, and it is switched on again")
        machine.power_cycle()
        screen.power_on(f"{MAC}, no disk")
        second = follow(screen, site, machine, after=first["id"])
        expect_joined(screen, site, second)
        after = identity(site, second)
        screen.note(f"{after[0]} at {after[1]} has joined again")
        if before != after:
            raise DemoFailed(f"it came back as {after[0]} at {after[1]}, not as {before[0]} at {before[1]}")


def expect_joined(screen: Screen, site: Site, boot: dict[str, Any]) -> None:
    """Raise DemoFailed with the words of `netboot boot show` where a boot was stopped."""
    if boot["state"] == "joined":
        return
    screen.title("netboot boot show " + boot["id"])
    screen.console.print(site.appliance.netboot("boot", "show", boot["id"], check=False), markup=False)
    raise DemoFailed(f"{boot['node']} stopped at step {boot['stopped_at']}: {boot['cause']}")


def run(options: argparse.Namespace) -> int:
    """The whole demo; its exit status."""
    screen = Screen()
    try:
        with scratch() as directory:
            build(screen, directory / "images", options)
            write = operator_config(image="micro" if options.micro else None)
            site_of = running_site if needs_standin(options) else full_site
            with site_of(directory, write, kubeconfig=options.kubeconfig) as site:
                announce(screen, site, options)
                try:
                    show(screen, site, options)
                except (MachineFailed, DemoFailed):
                    if options.verbose:
                        screen.console.print(site.appliance.log(), markup=False)
                    raise
    except DemoFailed as error:
        screen.console.print(f"\nNot joined. {error}", markup=False)
        return 1
    except (MachineFailed, RuntimeError, TimeoutError, AssertionError, OSError, ValueError) as error:
        screen.progress_over()
        screen.console.print(f"\nThe demo failed: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        screen.progress_over()
        screen.console.print("\nStopped; nothing is left running.")
        return 130
    screen.console.print(
        f"\nJoined twice under the same name and address, in {screen.took()}. Nothing is left running."
    )
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="join a real cluster instead of the stand-in"
    )
    parser.add_argument("--wrong-ca", action="store_true", help="let the join fail, and see how it is told")
    parser.add_argument(
        "--micro", action="store_true", help="the micro image instead of the full Debian: quicker"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="show the appliance's log where the demo fails"
    )
    parser.add_argument("--firmware", choices=tuple(FIRMWARE), default="efi-tftp", help="default: efi-tftp")
    options = parser.parse_args(arguments)
    if options.kubeconfig:
        options.kubeconfig = Path(os.environ.get("DEMO_FROM", "."), options.kubeconfig).resolve()
        if options.wrong_ca:
            parser.error("--wrong-ca plays with the stand-in, --kubeconfig has none")
        if not options.kubeconfig.is_file():
            parser.error(f"{options.kubeconfig} is no file")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
