"""The firmware table: what each architecture and each speaker is told to load first."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from netboot.boot.firmware import NO_PROGRAM, PROGRAMS, FirstStage, NoProgram, first_stage
from netboot.dhcp.options import sub_options
from netboot.model.inventory import BootOverride
from netboot.model.machine import Arch, Client, Mac, Speaker

ADDRESS = IPv4Address("10.28.0.2")
MAC = Mac("52:54:00:00:00:01")


def told(
    speaker: Speaker, arch: int | None, *, port: int = 80, override: BootOverride | None = None
) -> FirstStage | NoProgram:
    """What a client is told."""
    client = Client(MAC, speaker, arch)
    return first_stage(client, address=ADDRESS, boot_port=port, override=override or BootOverride())


def stage(
    speaker: Speaker, arch: int | None, *, port: int = 80, override: BootOverride | None = None
) -> FirstStage:
    """What a client is told, where it can boot."""
    found = told(speaker, arch, port=port, override=override)
    assert isinstance(found, FirstStage), found
    return found


@pytest.mark.parametrize(
    ("speaker", "arch", "program"),
    [
        (Speaker.PXE, Arch.BIOS, "undionly.kpxe"),
        (Speaker.PXE, None, "undionly.kpxe"),
        (Speaker.PXE, Arch.EFI_X64, "snponly.efi"),
        (Speaker.PXE, Arch.EFI_BC, "snponly.efi"),
        (Speaker.HTTP, Arch.EFI_X64_HTTP, "http://10.28.0.2/programs/snponly.efi"),
        (Speaker.IPXE, Arch.BIOS, "http://10.28.0.2/boot.ipxe"),
        (Speaker.IPXE, Arch.EFI_X64, "http://10.28.0.2/boot.ipxe"),
        (Speaker.IPXE, Arch.EFI_X64_HTTP, "http://10.28.0.2/boot.ipxe"),
        (Speaker.IPXE, None, "http://10.28.0.2/boot.ipxe"),
    ],
)
def test_each_architecture_gets_its_program(speaker: Speaker, arch: int | None, program: str) -> None:
    """The same file stands in option 67, in the header, and in what we report."""
    found = stage(speaker, arch)
    assert found.program == program
    assert found.file == program.encode() and found.options[67] == program.encode() + b"\0"


@pytest.mark.parametrize("speaker", [Speaker.PXE, Speaker.HTTP, Speaker.IPXE])
def test_the_server_stands_in_every_field_where_firmware_looks(speaker: Speaker) -> None:
    """siaddr, sname and option 66 agree; a PXE ROM finds it in option 150 too."""
    found = stage(speaker, Arch.EFI_X64)
    assert (found.siaddr, found.sname, found.options[66]) == (ADDRESS, b"10.28.0.2", b"10.28.0.2\0")
    assert (150 in found.options) == (speaker is Speaker.PXE)


def test_bios_roms_are_told_to_skip_the_boot_menu_and_uefi_is_not() -> None:
    """Option 43 with discovery control 8 for BIOS alone: some UEFI ignores a reply that has it."""
    assert stage(Speaker.PXE, Arch.BIOS).options[43] == bytes.fromhex("060108ff")
    for speaker, arch in ((Speaker.PXE, 7), (Speaker.PXE, 9), (Speaker.HTTP, 16), (Speaker.IPXE, 0)):
        assert 43 not in stage(speaker, arch).options


def test_the_class_is_answered_with_its_like_where_it_has_to_be() -> None:
    """BIOS ROMs and iPXE want PXEClient, UEFI HTTP boot wants HTTPClient.

    UEFI PXE gets none: EDK2 ends with `PXEClient` and no option 43 in "PXE-E16: No valid offer received".
    """
    assert stage(Speaker.PXE, 0).options[60] == b"PXEClient"
    assert stage(Speaker.IPXE, 7).options[60] == b"PXEClient"
    assert stage(Speaker.HTTP, 16).options[60] == b"HTTPClient"
    assert not {43, 60} & set(stage(Speaker.PXE, 7).options)


def test_another_boot_port_stands_in_every_url() -> None:
    """Only port 80 is left out."""
    assert stage(Speaker.IPXE, 0, port=8080).program == "http://10.28.0.2:8080/boot.ipxe"
    assert stage(Speaker.HTTP, 16, port=8080).program == "http://10.28.0.2:8080/programs/snponly.efi"


def test_ipxe_does_not_wait_for_a_proxy() -> None:
    """Option 175 with no-pxedhcp saves two seconds of every boot; its priority wins over another server's."""
    said = sub_options(stage(Speaker.IPXE, 0).options[175])
    assert said == {0xB0: b"\x01", 0x01: b"\x01"}


@pytest.mark.parametrize("arch", [*(a for a in NO_PROGRAM if not 21 <= a <= 24), 2, 20, 65535])
@pytest.mark.parametrize("speaker", [Speaker.PXE, Speaker.HTTP])
def test_a_machine_without_a_program_is_told_why(arch: int, speaker: Speaker) -> None:
    """ARM, 32-bit UEFI and unknown machines are never given a program of another architecture."""
    found = told(speaker, arch)
    assert isinstance(found, NoProgram)
    assert "no boot program" in found.reason and "boot.program" in found.reason


def test_no_architecture_is_in_both_tables() -> None:
    """A row says either which program there is, or why there is none."""
    assert not set(PROGRAMS) & set(NO_PROGRAM)


def test_a_running_system_is_told_nothing_to_boot() -> None:
    """Its DHCP client would take a boot file for something else."""
    assert isinstance(told(Speaker.SYSTEM, None), NoProgram)


def test_a_nodes_own_program_goes_to_its_firmware_and_never_to_ipxe() -> None:
    """Chain-loaded iPXE would load the program again, for ever."""
    own = BootOverride(program="special.efi")
    assert stage(Speaker.PXE, 7, override=own).program == "special.efi"
    assert stage(Speaker.PXE, 11, override=own).program == "special.efi"
    assert stage(Speaker.HTTP, 16, override=own).program == "http://10.28.0.2/programs/special.efi"
    assert stage(Speaker.HTTP, 16, override=BootOverride("http://x/y.efi")).program == "http://x/y.efi"
    below = stage(Speaker.HTTP, 16, override=BootOverride("grub/x64.efi"))
    assert below.program == "http://10.28.0.2/files/grub/x64.efi", "a path below files_dir, as over TFTP"
    assert stage(Speaker.IPXE, 7, override=own).program == "http://10.28.0.2/boot.ipxe"


def test_a_nodes_quirks_change_what_it_is_told() -> None:
    """Each quirk takes away what that firmware stumbles over."""
    assert 60 not in stage(Speaker.PXE, 0, override=BootOverride(quirks=("no-option-60",))).options
    assert 43 not in stage(Speaker.PXE, 0, override=BootOverride(quirks=("no-option-43",))).options
    bare = stage(Speaker.PXE, 0, override=BootOverride(quirks=("no-nul",)))
    assert (bare.options[66], bare.options[67]) == (b"10.28.0.2", b"undionly.kpxe")


def test_a_url_too_long_for_the_header_stands_in_option_67_alone() -> None:
    """The header's field has 128 octets with its NUL; a cut URL would be worse than none."""
    url = "http://10.28.0.2/" + "x" * 120
    found = stage(Speaker.HTTP, 16, override=BootOverride(url))
    assert found.file == b"" and found.options[67] == url.encode() + b"\0"
