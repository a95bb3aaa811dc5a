"""GRUB's and pxelinux's scripts, compared with golden files: a person at the console reads them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.boot import loaders
from netboot.boot.loaders import Wanted, wanted
from netboot.boot.plan import NoBoot
from netboot.model.machine import Mac
from tests.boot.conftest import ADDRESS, BASE, MAC
from tests.boot.test_ipxe import golden, plan

SERVER = IPv4Address("10.77.0.1")
BOTH = pytest.mark.parametrize("loader", ["grub", "pxelinux"])


@BOTH
def test_the_script_of_a_machine(images_dir: Path, loader: loaders.Loader) -> None:
    """Kernel and initrd by TFTP, the command line that our initrd reads, no seed and no key."""
    script = loaders.machine_script(
        loader, plan(images_dir), base=BASE, server=SERVER, mac=MAC, address=ADDRESS
    )
    golden(f"machine.{loader}", script)
    assert "seed" not in script and "/boot/" not in script


@BOTH
def test_the_scripts_of_machines_that_boot_nothing(loader: loaders.Loader) -> None:
    """A reason and a remedy, then the local boot or another try."""
    for name, retry in (("local", False), ("wait", True)):
        decision = NoBoot("m1c29 has no image", "give cluster blue an `image`", retry=retry)
        golden(f"{name}.{loader}", loaders.no_boot_script(loader, decision, server=SERVER, mac=MAC))


@BOTH
@given(reason=st.text(max_size=300))
def test_prose_cannot_become_a_command(loader: loaders.Loader, reason: str) -> None:
    """Whatever a reason holds, the script has the same lines."""
    lines = loaders.wait_script(loader, reason, server=SERVER, mac=MAC).splitlines()
    plain = loaders.wait_script(loader, "plain", server=SERVER, mac=MAC).splitlines()
    assert [a.split("netboot:")[0] for a in lines] == [b.split("netboot:")[0] for b in plain]
    assert all(line.count("'") in (0, 2) for line in lines)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("autoexec.ipxe", Wanted("ipxe", None)),
        ("grub/grub.cfg-01-52-54-00-12-34-56", Wanted("grub", MAC)),
        ("GRUB.CFG-01-52-54-00-AB-CD-EF", Wanted("grub", Mac("52:54:00:ab:cd:ef"))),
        ("EFI/debian/grub.cfg", Wanted("grub", None)),
        ("grub.cfg-0A4D0015", Wanted("grub", None)),
        ("pxelinux.cfg/01-52-54-00-12-34-56", Wanted("pxelinux", MAC)),
        ("pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d", Wanted("pxelinux", None)),
        ("pxelinux.cfg/0A4D0015", Wanted("pxelinux", None)),
        ("pxelinux.cfg/0A4", Wanted("pxelinux", None)),
        ("pxelinux.cfg/default", Wanted("pxelinux", None)),
        ("pxelinux.cfg/graphics.conf", None),
        ("grub.cfg-backup", None),
        ("grub/grub.cfg.old", None),
        ("grub.cfg-01-52-54-00-12-34", None),
        ("snponly.efi", None),
    ],
)
def test_the_names_that_loaders_try(name: str, expected: Wanted | None) -> None:
    """GRUB asks by MAC, address and without; pxelinux by UUID, MAC, address and its beginnings, default."""
    assert wanted(name) == expected


@pytest.mark.parametrize("word", ["a='b'", "a=\\b"])
def test_a_parameter_that_grub_would_change_is_not_passed(images_dir: Path, word: str) -> None:
    """The machine is told so instead of booting with another command line."""
    found = plan(images_dir)
    assert loaders.passable(found) is found
    decision = loaders.passable(replace(found, kernel_parameters=(word,)))
    assert isinstance(decision, NoBoot) and decision.retry
