"""Every quirk and rule from the octets of a client to the reply that scapy reads: decode, engine, encode.

The clients are those of `firmwares`: captures, and packets that scapy writes from the RFCs and public traces.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from netboot.boot import quirks
from netboot.boot.quirks import BY_ID, NAMES, QUIRKS, Effect, Match, resolve
from netboot.boot.rules import RULES
from netboot.dhcp.options import sub_options
from netboot.model.machine import Client, Mac, Speaker
from tests.boot.firmwares import (
    ACK,
    ADDRESS,
    IPXE_FEATURES,
    RASPBERRY_PI_3,
    RASPBERRY_PI_4,
    REQUEST,
    SERVER,
    Bench,
    captured,
    http,
    ipxe,
    message,
    number,
    options_of,
    pxe,
    told,
)
from tests.dhcp.world import network

MAC = "52:54:00:77:00:00"
PI_3, PI_4 = "b8:27:eb:0f:69:01", "dc:a6:32:27:76:bc"
SCRIPT = f"http://{SERVER}/boot.ipxe".encode()
ADDRESS_OCTETS = bytes(map(int, ADDRESS.split(".")))


# what matches by itself


async def test_a_bios_rom_is_told_to_load_the_file_of_this_offer() -> None:
    """Class PXEClient and discovery control 8 lead it past the boot menu."""
    offer = await told(message(MAC, pxe(0)))
    assert offer.options[60] == b"PXEClient" and offer.options[43] == bytes.fromhex("060108ff")
    assert offer.file == b"undionly.kpxe" and offer.quirks == ["bios-pxe"]


@pytest.mark.parametrize("arch", [7, 9])
async def test_uefi_pxe_gets_neither_60_nor_43_and_the_file_at_once(arch: int) -> None:
    """No menu, no question on port 4011: EDK2, UEFI that ignores 43.6 = 8, and Ampere eMAG boot alike."""
    offer = await told(message(MAC, pxe(arch)))
    assert not {43, 60} & set(offer.options)
    assert (offer.file, offer.header.siaddr) == (b"snponly.efi", SERVER)
    assert offer.quirks == ["uefi-pxe"]


async def test_the_captured_edk2_is_answered_as_uefi_pxe() -> None:
    """The firmware of OVMF, recorded."""
    offer = await told(captured("edk2-pxe-v6", vendor=b"PXEClient:Arch:00007:UNDI:003000"))
    assert offer.quirks == ["uefi-pxe"] and offer.file == b"snponly.efi"


async def test_an_ampere_emag_gets_no_class_whatever_it_boots() -> None:
    """It ignores the file name of a reply that says PXEClient; arm64 UEFI, here EDK2's, hears none."""
    said = captured("edk2-arm64-pxe", vendor=b"PXEClient:Arch:00011")
    offer = await told(said, program="snponly-arm64.efi")
    assert 60 not in offer.options and offer.file == b"snponly-arm64.efi"


async def test_uefi_http_boot_gets_class_and_url_though_it_asks_for_neither() -> None:
    """EDK2 compares nine octets of 60; older ones send junk in option 55."""
    for said in (captured("edk2-http-boot-v4", vendor=b"HTTPClient"), message(MAC, http(16) | {55: b"\xfe"})):
        offer = await told(said)
        assert offer.options[60].startswith(b"HTTPClient")
        assert offer.options[67].rstrip(b"\0") == f"http://{SERVER}/programs/snponly.efi".encode()
        assert offer.quirks == ["uefi-http"]


async def test_ipxe_is_told_its_class_not_to_wait_and_whom_to_prefer() -> None:
    """60 so that PXE options count, 175.b0 against two seconds of waiting, 175.1 against a second server."""
    offer = await told(captured("ipxe-bios"))
    said = sub_options(offer.options[175])
    assert said == {0x01: b"\x01", 0xB0: b"\x01"} and offer.options[60] == b"PXEClient"
    assert offer.quirks == ["ipxe"]


@pytest.mark.parametrize("capture", ["ipxe-bios", "ipxe-uefi-rom", "ipxe-bios-chainload-undionly"])
async def test_ipxe_in_a_rom_and_our_own_get_the_script_and_never_a_program(capture: str) -> None:
    """Both send the same octets: a program for one would load itself for ever."""
    offer = await told(captured(capture))
    assert offer.file == SCRIPT and offer.options[67] == SCRIPT + b"\0"


@pytest.mark.parametrize(("arch", "program"), [(0, b"undionly.kpxe"), (7, b"snponly.efi")])
async def test_ipxe_without_http_loads_ours_which_then_gets_the_script(arch: int, program: bytes) -> None:
    """Its features (175) lack HTTP; those of ours name it, so that the chain has an end."""
    bench = Bench()
    small = IPXE_FEATURES.replace(b"\x13\x01\x01", b"")
    first = await bench.told(message(MAC, ipxe(small, arch=arch)))
    assert (first.file, first.header.siaddr) == (program, SERVER)
    assert "ipxe-without-http" in first.quirks
    second = await bench.told(message(MAC, ipxe(arch=arch)))
    assert second.file == SCRIPT


async def test_no_name_in_a_nodes_file_makes_the_chain_endless() -> None:
    """`boot.program`, options and quirks of the node do not change what iPXE with HTTP gets."""
    names = ("ipxe-without-http", "gpxe")
    assert not set(names) & NAMES, "check refuses them"
    own = {"program": "own.efi", "quirks": names, "options": {67: "own.efi"}}
    assert (await told(message(MAC, ipxe()), **own)).file == SCRIPT


async def test_ipxe_that_tells_no_features_gets_the_script() -> None:
    """Without option 175 nothing says that it cannot load one."""
    said = ipxe()
    del said[175]
    assert (await told(message(MAC, said))).file == SCRIPT


async def test_gpxe_loads_our_ipxe() -> None:
    """It sends option 175 like iPXE, but knows no #!ipxe."""
    offer = await told(message(MAC, ipxe(user_class=b"gPXE")))
    assert offer.file == b"undionly.kpxe" and "gpxe" in offer.quirks


@pytest.mark.parametrize(("mac", "said"), [(PI_3, RASPBERRY_PI_3), (PI_4, RASPBERRY_PI_4)])
async def test_a_raspberry_pi_sees_its_menu_and_no_nul(mac: str, said: dict[int, bytes]) -> None:
    """43 with the menu that it looks for, 66 and siaddr as it reads them, and no program of a BIOS."""
    offer = await told(message(mac, said))
    menu = sub_options(offer.options[43])
    assert menu[9] == b"\0\0\x11Raspberry Pi Boot" and menu[10] == b"\0PXE"
    assert offer.options[60] == b"PXEClient"
    assert offer.options[66] == SERVER.encode(), "no NUL at its end"
    assert (offer.file, offer.header.siaddr) == (b"", SERVER) and 67 not in offer.options
    assert offer.quirks == ["bios-pxe", "raspberry-pi"]
    assert {1, 3} <= set(offer.options), "a Pi 3 asks for them last"


async def test_a_raspberry_pi_without_class_in_its_request_is_the_same_firmware() -> None:
    """Its REQUEST says no option 60; the ACK is that of a boot, with its short lease."""
    bench = Bench()
    offer = await bench.told(message(PI_4, RASPBERRY_PI_4))
    chosen = {50: ADDRESS_OCTETS, 54: offer.options[54], 55: RASPBERRY_PI_4[55]}
    for said in (chosen, {**chosen, 93: b"\0\0", 97: RASPBERRY_PI_4[97]}):
        ack = await bench.told(message(PI_4, said, kind=REQUEST))
        assert ack.options[53] == bytes((ACK,)) and 9 in sub_options(ack.options[43])
        assert int.from_bytes(ack.options[51], "big") == 300


async def test_the_system_of_a_raspberry_pi_boots_nothing() -> None:
    """Its DHCP client says who it is, so that no firmware's options reach it."""
    dhcpcd = {60: b"dhcpcd-9.4.1:Linux-6.1:aarch64:BCM2835", 61: b"\x01" + Mac(PI_4).packed(), 12: b"pi"}
    offer = await told(message(PI_4, dhcpcd))
    assert not {43, 60, 66, 67} & set(offer.options)


async def test_a_raspberry_pi_may_be_given_a_program_by_its_node() -> None:
    """UEFI firmware on an SD card says the same MAC and class; the node's own word counts."""
    offer = await told(message(PI_4, RASPBERRY_PI_4), program="own.efi")
    assert offer.file == b"own.efi"


async def test_no_other_machine_that_says_architecture_0_is_a_raspberry_pi() -> None:
    """The first octets of the MAC decide."""
    assert 9 not in sub_options((await told(message(MAC, RASPBERRY_PI_3))).options[43])


@pytest.mark.parametrize("capture", ["u-boot-arm64", "u-boot-arm32", "u-boot-x86"])
async def test_u_boot_finds_its_server_and_is_given_no_file(capture: str) -> None:
    """It asks siaddr for boot.scr.uimg and pxelinux.cfg/01-MAC; x86 says its class and no architecture."""
    offer = await told(captured(capture, vendor=b"U-Boot"), tag_options={210: "u-boot/"})
    assert (offer.file, offer.header.siaddr, offer.options[210]) == (b"", SERVER, b"u-boot/")
    assert not {43, 60, 67} & set(offer.options) and "u-boot" in offer.quirks
    boot = offer.world.boots.of_node("m1")
    assert boot is not None and "pxelinux.cfg" in (boot.steps[-1].detail)
    request = captured(capture, REQUEST, vendor=b"U-Boot")
    ack = await told(request, at=number(options_of(request)[50]))
    assert ack.file == b"" and int.from_bytes(ack.options[51], "big") == 300


async def test_u_boot_gets_the_program_of_its_architecture_when_it_asks_as_uefi() -> None:
    """It asks once more with UEFI's class and architecture, for what `bootefi` can start."""
    assert (await told(captured("u-boot-x86", vendor=b"PXEClient:Arch:00007"))).file == b"snponly.efi"
    arm = captured("u-boot-arm64", vendor=b"PXEClient:Arch:00011")
    brought = frozenset({"snponly-arm64.efi"})
    assert (await told(arm, provided=brought)).file == b"snponly-arm64.efi"


@pytest.mark.parametrize("arch", [21, 22, 23, 24])
async def test_u_boot_is_known_by_its_architecture_too(arch: int) -> None:
    """Where the operator gave it another class."""
    offer = await told(message(MAC, pxe(arch) | {60: b"board-7"}))
    assert offer.file == b"" and offer.quirks == ["u-boot-by-architecture"]


async def test_u_boot_gets_a_program_that_the_operator_brought() -> None:
    """It can start UEFI programs."""
    offer = await told(message(MAC, pxe(22)), provided=frozenset({"snponly-arm64.efi"}))
    assert offer.file == b"snponly-arm64.efi"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (pxe(6), "snponly-ia32.efi"),
        (pxe(10), "snponly-arm32.efi"),
        (pxe(11), "snponly-arm64.efi"),
        (http(15), "snponly-ia32.efi"),
        (http(18), "snponly-arm32.efi"),
        (http(19), "snponly-arm64.efi"),
        (pxe(27), "snponly-riscv64.efi"),
        (pxe(39), "snponly-loong64.efi"),
    ],
)
async def test_other_architectures_get_what_the_operator_put_into_files_dir(
    said: dict[int, bytes], name: str
) -> None:
    """Without it they get an address and the reason; with it the file, by URL where they boot by HTTP."""
    bare = await told(message(MAC, said))
    boot = bare.world.boots.of_node("m1")
    assert bare.file == b"" and boot is not None and f"put {name} into files_dir" in boot.steps[-1].detail
    offer = await told(message(MAC, said), provided=frozenset({name}))
    url = f"http://{SERVER}/programs/{name}" if said[60].startswith(b"HTTP") else name
    assert offer.file == url.encode()


@pytest.mark.parametrize("said", [pxe(7), pxe(9), http(16), http(17)])
async def test_bytecode_architectures_are_x64(said: dict[int, bytes]) -> None:
    """RFC 4578 swapped 7 and 9, and firmware followed either."""
    assert (await told(message(MAC, said))).file.endswith(b"snponly.efi")


async def test_a_client_whose_strings_end_in_nul_gets_such_strings() -> None:
    """Windows: its host name comes with a NUL, so ours goes with one; others get none."""
    windows = {
        12: b"DESKTOP-1\0",
        60: b"MSFT 5.0",
        55: bytes((1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 121, 249)),
    }
    offer = await told(message(MAC, windows))
    assert (offer.options[12], offer.options[15]) == (b"m1\0", b"lab.test\0")
    plain = await told(message(MAC, {**windows, 12: b"DESKTOP-1"}))
    assert (plain.options[12], plain.options[15]) == (b"m1", b"lab.test")


# what a node names


async def test_option_60_can_be_forced_for_uefi_with_the_43_that_edk2_needs() -> None:
    """Older firmware takes no offer without the class; EDK2 takes the class only with 43."""
    offer = await told(message(MAC, pxe(7)), quirks=("option-60",))
    assert (offer.options[60], offer.options[43]) == (b"PXEClient", bytes.fromhex("060108ff"))
    assert offer.quirks == ["uefi-pxe", "option-60"]
    without = await told(message(MAC, pxe(7)), quirks=("option-60", "no-option-43"))
    assert without.options[60] == b"PXEClient" and 43 not in without.options


async def test_option_43_can_be_forced() -> None:
    """Alone, for UEFI that wants it so."""
    offer = await told(message(MAC, pxe(7)), quirks=("option-43",))
    assert offer.options[43] == bytes.fromhex("060108ff") and 60 not in offer.options


@pytest.mark.parametrize("said", [pxe(0), http(16), ipxe()])
async def test_option_60_can_be_left_out(said: dict[int, bytes]) -> None:
    """For firmware that ignores the file name of a reply with the class."""
    offer = await told(message(MAC, said), quirks=("no-option-60",))
    assert 60 not in offer.options and offer.file and "no-option-60" in offer.quirks


async def test_option_43_can_be_left_out() -> None:
    """For a BIOS ROM that ignores offers that skip its menu."""
    offer = await told(message(MAC, pxe(0)), quirks=("no-option-43",))
    assert 43 not in offer.options and offer.options[60] == b"PXEClient"


async def test_the_nul_of_66_and_67_can_be_left_out() -> None:
    """For firmware that takes it for a part of the name."""
    offer = await told(message(MAC, pxe(7)), quirks=("no-nul",))
    assert (offer.options[66], offer.options[67]) == (SERVER.encode(), b"snponly.efi")


async def test_the_client_identifier_can_be_kept_from_coming_back() -> None:
    """Clients older than RFC 6842 refuse a reply with it."""
    said = pxe(0) | {61: b"\x01" + Mac(MAC).packed()}
    assert (await told(message(MAC, said))).options[61] == said[61]
    assert 61 not in (await told(message(MAC, said), quirks=("no-option-61",))).options


async def test_a_nodes_replies_can_go_by_broadcast() -> None:
    """It cannot receive unicast and does not say so; a relay agent is told by the flag."""
    assert (await told(message(MAC, pxe(0)))).way == f"frame {MAC} {ADDRESS}"
    offer = await told(message(MAC, pxe(0)), quirks=("broadcast",))
    assert offer.way == "broadcast" and int(offer.header.flags) == 0x8000
    relayed = message(MAC, pxe(0), giaddr="10.77.0.5")
    assert int((await told(relayed, quirks=("broadcast",))).header.flags) == 0x8000


async def test_a_nodes_replies_can_be_kept_small() -> None:
    """It promises 1472 octets in option 57 and takes 548."""
    many = [network(options={code: "hex:" + "ab" * 200 for code in range(224, 230)})]
    said = pxe(0) | {57: (1500).to_bytes(2, "big"), 55: bytes((1, 3, 67, *range(224, 230)))}
    assert len((await told(message(MAC, said), networks=many)).payload) > 548
    offer = await told(message(MAC, said), networks=many, quirks=("small-replies",))
    assert len(offer.payload) <= 548 and offer.options[67] == b"undionly.kpxe\0"


async def test_a_quirk_that_applies_by_itself_can_be_switched_off() -> None:
    """`no-` and its id."""
    offer = await told(message(PI_3, RASPBERRY_PI_3), quirks=("no-raspberry-pi",))
    assert offer.file == b"undionly.kpxe" and offer.options[66] == SERVER.encode() + b"\0"
    bios = await told(message(MAC, pxe(0)), quirks=("no-bios-pxe",))
    assert not {43, 60} & set(bios.options) and bios.quirks == []


async def test_a_quirk_can_be_forced_on_a_machine_that_it_does_not_match() -> None:
    """A Raspberry Pi behind another maker's card."""
    offer = await told(message(MAC, RASPBERRY_PI_4), quirks=("raspberry-pi",))
    assert 9 in sub_options(offer.options[43]) and offer.file == b""
    assert "raspberry-pi" in offer.quirks


async def test_a_forced_quirk_of_firmware_leaves_ipxe_and_system_alone() -> None:
    """The same node's later stages say another class."""
    offer = await told(message(MAC, ipxe()), quirks=("raspberry-pi", "u-boot", "option-60"))
    assert offer.file == SCRIPT and offer.quirks == ["ipxe"]


# precedence


async def test_a_quirk_that_matches_gives_way_to_the_nodes_own_boot_options() -> None:
    """Boot options give way to the node's own `options` and nothing else."""
    offer = await told(message(MAC, pxe(7)), options={60: "PXEClient:own", 43: "hex:060108ff"})
    assert (offer.options[60], offer.options[43]) == (b"PXEClient:own", bytes.fromhex("060108ff"))
    pi = await told(message(PI_3, RASPBERRY_PI_3), options={43: "hex:0a0b"})
    assert pi.options[43] == b"\x0a\x0b"


async def test_a_quirk_that_the_node_names_is_stronger_than_its_options_and_program() -> None:
    """Protocol, quirk, node: who writes both means the quirk."""
    own = {60: "PXEClient:own", 43: "hex:0a0b"}
    offer = await told(message(MAC, pxe(0)), quirks=("no-option-60", "option-43"), options=own)
    assert 60 not in offer.options and offer.options[43] == bytes.fromhex("060108ff")
    pi = await told(message(PI_3, RASPBERRY_PI_3), quirks=("raspberry-pi",), program="own.efi")
    assert pi.file == b""


async def test_a_quirk_is_stronger_than_options_that_are_no_boot_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The operator's 175, of a tag or of the node itself, gives way; it stands there once."""
    said = ipxe() | {55: bytes((1, 3, 175))}
    offer = await told(message(MAC, said), options={175: "hex:aabb"}, tag_options={175: "hex:ccdd"})
    assert offer.options[175] == quirks.FOR_IPXE
    silent = replace(BY_ID["no-nul"], id="no-router-log", effect=Effect({7: None}))
    monkeypatch.setattr(quirks, "QUIRKS", (*QUIRKS, silent))
    log = {7: "10.77.0.9"}
    shown = await told(message(MAC, pxe(0) | {55: bytes((1, 7))}), tag_options=log)
    hidden = await told(
        message(MAC, pxe(0) | {55: bytes((1, 7))}), tag_options=log, options=log, quirks=("no-router-log",)
    )
    assert 7 in shown.options and 7 not in hidden.options


async def test_a_reload_brings_quirks_and_programs_into_force() -> None:
    """The same machine, the same question, another snapshot of the operator's file."""
    said, bench = message(MAC, pxe(11)), Bench()
    first = await bench.told(said)
    after = Bench(quirks=("option-60",), provided=frozenset({"snponly-arm64.efi"}))
    world = first.world
    world.inventory = after.stock(Mac(MAC))
    world.server.present.provided = lambda: frozenset({"snponly-arm64.efi"})
    second = await bench.told(said)
    assert first.file == b"" and 60 not in first.options
    assert second.file == b"snponly-arm64.efi" and second.options[60] == b"PXEClient"


# the table itself


def test_the_table_is_well_formed() -> None:
    """Ids are unique, an automatic row has a match, every row an effect and a source."""
    ids = [row.id for row in (*QUIRKS, *RULES)]
    assert len(ids) == len(set(ids))
    for row in QUIRKS:
        assert row.source and row.why and str(row.effect), row.id
        assert not row.automatic or row.match != Match(), row.id


def test_a_nodes_name_for_a_quirk_is_never_ambiguous() -> None:
    """`no-X` is the id of a row of its own, or switches X off, which applies by itself."""
    switched = {f"no-{row.id}" for row in QUIRKS if row.automatic}
    assert not switched & set(BY_ID)
    assert {"no-option-60", "option-60", "no-raspberry-pi", "raspberry-pi"} <= NAMES


def test_the_table_says_itself_in_words() -> None:
    """What `netboot quirks` and `explain` print is made of the data."""
    pi = BY_ID["raspberry-pi"]
    assert "b8:27:eb" in pi.match_text and "architecture 0" in pi.match_text
    assert str(BY_ID["no-option-60"].effect) == "no option 60"
    assert str(BY_ID["bios-pxe"].effect) == "60 = PXEClient; 43 = 06 01 08 ff"
    client = Client(Mac(PI_3), Speaker.PXE, 0, vendor_class="PXEClient:Arch:00000:UNDI:002001")
    why = {a.id: a.why for a in resolve(client).applied}
    assert why["raspberry-pi"] == "class PXEClient, architecture 0, MAC b8:27:eb"
    board = Client(Mac(MAC), Speaker.PXE, None, vendor_class="U-Boot")
    assert resolve(board).texts[-1] == "u-boot (PXE firmware, vendor class U-Boot)"
