"""GRUB's and pxelinux's scripts as `explain` shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netboot.boot import loaders
from netboot.boot.explain import Said, explain
from netboot.boot.explain_loaders import loader_of
from netboot.catalog import Catalog
from netboot.model.inventory import BootOverride, Inventory
from tests.boot.conftest import BASE, MAC, inventory
from tests.boot.test_ipxe import plan


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("shimx64.efi", "grub"),
        ("debian/grubnetx64.efi.signed", "grub"),
        ("boot/grub/i386-pc/core.0", "grub"),
        ("lpxelinux.0", "pxelinux"),
        ("bios/PXELINUX.0", "pxelinux"),
        ("", "pxelinux"),
        ("undionly.kpxe", None),
        ("http://10.77.0.1/files/shimx64.efi", None),
        ("mygrub.txt", None),
    ],
)
def test_a_loader_is_known_by_its_programs_name(program: str, expected: str | None) -> None:
    """Firmware without a program (U-Boot) asks as pxelinux does."""
    assert loader_of(program) == expected


def rows(found: Inventory, images: Path, *asked: loaders.Loader, arch: Sequence[str] = ()) -> list[str]:
    return list(explain(found, Catalog(images), MAC, boot_port=80, said=Said(arch), loaders=asked))


def with_program(program: str) -> Inventory:
    found = inventory()
    return replace(found, nodes=(replace(found.nodes[0], boot=BootOverride(program)),))


def test_a_machine_that_loads_shim_is_shown_grubs_script(images_dir: Path) -> None:
    """Line by line as it would get it, and where from; a machine of iPXE is shown none."""
    shown = rows(with_program("shimx64.efi"), images_dir)
    script = loaders.machine_script(
        "grub",
        plan(images_dir),
        base=BASE,
        server=IPv4Address("10.77.0.1"),
        mac=MAC,
        address=inventory().nodes[0].address or IPv4Address(0),
    )
    told = [line.strip().removeprefix("|").removeprefix(" ") for line in shown if line.strip()[:1] == "|"]
    assert told == [line.rstrip() for line in script.splitlines()]
    assert any(f"grub.cfg-01-{MAC.dashed} by TFTP from 10.77.0.1" in line for line in shown)
    assert not [line for line in rows(inventory(), images_dir) if line.strip()[:1] == "|"]


def test_a_loader_may_be_asked_for(images_dir: Path) -> None:
    """Whatever the machine is told to load; U-Boot asks by itself."""
    assert any("APPEND BOOTIF=01-" in line for line in rows(inventory(), images_dir, "pxelinux"))
    assert any("LINUX ::images/" in line for line in rows(inventory(), images_dir, arch=("u-boot-arm64",)))


def test_a_machine_without_reservation_is_shown_what_is_not_known_yet(images_dir: Path) -> None:
    """Its address is given at boot; ours depends on the interface."""
    found = inventory()
    network = replace(found.networks["lab"], address=None)
    found = replace(found, networks={"lab": network}, nodes=(replace(found.nodes[0], address=None),))
    shown = "\n".join(rows(found, images_dir, "grub"))
    assert "ip=ITS-ADDRESS::" in shown and "(tftp,ADDRESS-OF-br0)/images/" in shown and "192.0.2" not in shown


def test_a_machine_that_boots_nothing_is_shown_that_script(images_dir: Path) -> None:
    """The reason on its console, and the way on."""
    shown = rows(inventory(image=None), images_dir, "grub")
    assert any("| exit" in line for line in shown)


def test_mirrors_are_in_the_kernels_words(images_dir: Path) -> None:
    """As they are in the script itself."""
    found = replace(inventory(), mirrors={"debian-12": ("http://10.77.0.9/m",)})
    shown = "\n".join(rows(found, images_dir, "grub"))
    assert shown.count("netboot.mirrors=http://10.77.0.9/m") == 2
