"""iPXE's scripts, as far as a probe has to understand them."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from netboot.boot import ipxe
from netboot.boot.plan import NoBoot
from netboot.model.machine import Mac
from netboot.probe.script import is_script, read, variables

MAC = Mac("52:54:00:77:00:00")
VALUES = variables(MAC, "4c4c4544-0042-3510-8054-b4c04f564232", "efi")
BASE = ipxe.base_url(IPv4Address("10.77.0.1"), 80)
URL = f"{BASE}/boot.ipxe"


def test_our_own_first_script_leads_to_the_machines() -> None:
    """With MAC, UUID and platform filled in."""
    said = read(ipxe.boot_script(BASE), URL, VALUES)
    uuid = VALUES["uuid"]
    assert said.leads_to == (
        f"{BASE}/ipxe?mac=52-54-00-77-00-00&uuid={uuid}&arch=x86_64-efi&product=netboot%20probe"
    )
    assert not said.loads and not said.exits


def test_our_own_waiting_and_local_scripts_boot_nothing() -> None:
    """One comes back to where it began, the other goes on to the local boot; both say why."""
    waits = read(ipxe.wait_script("it is not its turn", base=BASE), URL, VALUES)
    assert waits.leads_to == URL and "it is not its turn" in waits.says and not waits.starts
    local = read(ipxe.no_boot_script(NoBoot("no image", "add one", retry=False), base=BASE), URL, VALUES)
    assert local.exits and "no image" in local.says


def test_kernel_and_initrds_are_found_with_their_whole_urls() -> None:
    """Relative names belong to the script's own place; options before them do not count."""
    lines = ["#!ipxe", "# kernel http://no/", ":start", "kernel --name k vmlinuz a=b ip=${ip}"]
    lines += ["initrd /i/initrd.img || goto x", "boot"]
    said = read("\n".join(lines), "http://10.0.0.1/s/boot.ipxe", VALUES)
    assert said.loads == ("http://10.0.0.1/s/vmlinuz", "http://10.0.0.1/i/initrd.img") and said.starts


def test_a_script_is_known_by_its_first_line() -> None:
    """As iPXE knows it."""
    assert is_script(b"#!ipxe\n") and not is_script(b"MZ\x90")


@given(st.text(max_size=300))
def test_no_script_raises(text: str) -> None:
    """Whatever a server sends."""
    read("#!ipxe\n" + text, URL, VALUES)
