"""The scripts, compared with golden files: a person at the console reads them.

`NETBOOT_GOLDENS=write pytest tests/boot/test_ipxe.py` writes the files anew; read the difference.
"""

from __future__ import annotations

import os
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.boot import ipxe
from netboot.boot.plan import BootPlan, NoBoot, decide
from netboot.catalog import Catalog
from netboot.model.inventory import NoMatch
from tests.boot.conftest import ADDRESS, BASE, MAC, inventory

GOLDENS = Path(__file__).parent.parent / "goldens"
KEY = "0123456789abcdef0123456789abcdef"


def golden(name: str, text: str) -> None:
    path = GOLDENS / name
    if os.environ.get("NETBOOT_GOLDENS") == "write":
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs; read this module's head"


def plan(images_dir: Path, **settings: object) -> BootPlan:
    found = inventory(**settings)  # type: ignore[arg-type]
    decision = decide(found.assign(found.nodes[0]), Catalog(images_dir))
    assert isinstance(decision, BootPlan)
    return decision


def test_the_constant_script() -> None:
    """Every machine's iPXE reports itself and asks again until it is answered."""
    golden("boot.ipxe", ipxe.boot_script(BASE))


def test_the_script_beside_the_program() -> None:
    """autoexec.ipxe leads to the constant script."""
    golden("autoexec.ipxe", ipxe.autoexec_script(BASE))


def test_the_script_of_a_machine(images_dir: Path) -> None:
    """A machine's script names kernel, initrd and seed, and says what it does."""
    script = ipxe.machine_script(plan(images_dir), base=BASE, key=KEY, mac=MAC, address=ADDRESS)
    golden("machine.ipxe", script)


def test_the_script_without_image() -> None:
    """A machine without image is told why and goes on to its local boot."""
    found = inventory(image=None)
    decision = decide(found.assign(found.nodes[0]), Catalog(Path("/nonexistent")))
    assert isinstance(decision, NoBoot)
    golden("local.ipxe", ipxe.no_boot_script(decision, base=BASE))


def test_the_script_of_an_unknown_machine() -> None:
    """An unknown machine is told the reason, waits and asks again."""
    reason = "declared in no pool, and its network has no catch-all pool"
    unknown = decide(NoMatch(reason), Catalog(Path("/x")))
    assert isinstance(unknown, NoBoot)
    golden("unknown.ipxe", ipxe.no_boot_script(unknown, base=BASE))


def test_the_script_for_a_wrong_address() -> None:
    """A machine that asks from another address asks DHCP anew."""
    reason = f"10.77.0.9 is not the address that is leased to {MAC}"
    golden("wrong-address.ipxe", ipxe.wait_script(reason, base=BASE, seconds=10, renew=True))


def test_the_key_stands_once_in_its_script(images_dir: Path) -> None:
    """The boot key is in the seed's URL and nowhere else: never on the kernel's command line."""
    script = ipxe.machine_script(plan(images_dir), base=BASE, key=KEY, mac=MAC, address=ADDRESS)
    assert script.count(KEY) == 1
    kernel = next(line for line in script.splitlines() if line.startswith("kernel "))
    assert KEY not in kernel and f"/boot/{KEY}/seed.cpio" in script


def test_the_command_line(images_dir: Path) -> None:
    """The words of the command line as the initrd reads them, the shell only where it is asked for."""
    words = ipxe.kernel_arguments(plan(images_dir, debug_shell=True), base=BASE, mac=MAC, address=ADDRESS)
    assert words[:4] == (
        "initrd=seed.cpio",
        "initrd=initrd.img",
        "BOOTIF=01-52-54-00-12-34-56",
        "ip=10.77.0.20::10.77.0.1:255.255.255.0:m1c29::off",
    )
    assert "netboot.debug_shell=1" in words and words[-2:] == ("quiet", "console=ttyS0,115200n8")
    assert not any(" " in word for word in words)


def test_mirrors_stand_on_the_command_line(images_dir: Path) -> None:
    """The initrd asks them before us; without mirrors there is no such word."""
    found = inventory()
    mirrors = {"debian-12": ("http://10.0.0.3/images", "http://10.0.0.4:8080")}
    decision = decide(found.assign(found.nodes[0]), Catalog(images_dir), mirrors)
    assert isinstance(decision, BootPlan)
    words = ipxe.kernel_arguments(decision, base=BASE, mac=MAC, address=ADDRESS)
    assert "netboot.mirrors=http://10.0.0.3/images,http://10.0.0.4:8080" in words
    plain = ipxe.kernel_arguments(plan(images_dir), base=BASE, mac=MAC, address=ADDRESS)
    assert not any("mirrors" in word for word in plain)


def test_a_network_without_gateway_leaves_the_field_empty(images_dir: Path) -> None:
    """`ip=` keeps its colons where there is no gateway."""
    found = plan(images_dir)
    network = replace(found.assignment.network, gateway=None)
    lonely = replace(found, assignment=replace(found.assignment, network=network))
    words = ipxe.kernel_arguments(lonely, base=BASE, mac=MAC, address=ADDRESS)
    assert "ip=10.77.0.20:::255.255.255.0:m1c29::off" in words


@pytest.mark.parametrize(("port", "url"), [(80, "http://10.0.0.1"), (8080, "http://10.0.0.1:8080")])
def test_the_port_is_left_out_where_it_is_https_own(port: int, url: str) -> None:
    """Port 80 is not written into URLs."""
    assert ipxe.base_url(IPv4Address("10.0.0.1"), port) == url


@given(st.text())
def test_prose_cannot_become_a_command(text: str) -> None:
    """Whatever stands in a reason, iPXE echoes it as one line and expands nothing."""
    said = ipxe.say(text)
    assert said.isascii() and "\n" not in said and not set("$&|#{}\\") & set(said) and len(said) <= 400
    script = ipxe.wait_script(text, base=BASE)
    assert len(script.splitlines()) == len(ipxe.wait_script("x", base=BASE).splitlines())


@pytest.mark.parametrize("value", ["http://h/\nshell", "http://h/${net0/mac}", "http://h/é"])
def test_a_value_that_ipxe_would_expand_is_not_rendered(value: str) -> None:
    """A value that is no plain text raises instead of becoming a line of a script."""
    with pytest.raises(ValueError):
        ipxe.boot_script(value)
