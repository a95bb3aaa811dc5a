"""Options: the operator's values to bytes, names to codes, and what clients say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from netboot.dhcp.options import (
    BOOT_CODES,
    BY_NAME,
    PROTOCOL_CODES,
    TABLE,
    Option,
    client_of,
    code_of,
    counted,
    encode_value,
    encoded,
    sub_options,
)
from netboot.dhcp.wire import Kind, Packet
from netboot.errors import MalformedPacket
from netboot.model.inventory import OptionValue
from netboot.model.machine import Client, Mac, Speaker
from tests.dhcp.world import HTTP_X64, IPXE, PXE_BIOS, PXE_X64, SYSTEM, discover, message

MAC = Mac("52:54:00:00:00:01")


@pytest.mark.parametrize(
    ("code", "value", "octets"),
    [
        (1, "255.255.0.0", "ffff0000"),
        (3, ("10.0.0.1", "10.0.0.2"), "0a0000010a000002"),
        (3, "10.0.0.1", "0a000001"),
        (42, "10.0.0.1, 10.0.0.2", "0a0000010a000002"),
        (33, ("10.1.0.0", "10.0.0.1"), "0a0100000a000001"),
        (23, 64, "40"),
        (26, 9000, "2328"),
        (26, "9000", "2328"),
        (25, (68, 1500), "004405dc"),
        (35, 4294967295, "ffffffff"),
        (2, -3600, "fffff1f0"),
        (19, True, "01"),
        (19, "false", "00"),
        (15, "example.org", "6578616d706c652e6f7267"),
        (119, ("example.org", "a.b."), "076578616d706c65036f726700016101620 0".replace(" ", "")),
        (121, ("10.0.0.0/8 via 10.1.0.1",), "080a0a010001"),
        (121, "10.17.0.0/16 - 10.1.0.1, default via 10.1.0.2", "100a110a010001000a010002"),
        (80, "", ""),
        (224, "hex:0a0b0c", "0a0b0c"),
        (15, "hex:00:ff", "00ff"),
        (230, "as it is", "6173206974206973"),
    ],
)
def test_a_value_becomes_the_octets_of_its_type(code: int, value: OptionValue, octets: str) -> None:
    """Every type is written as its RFC has it; hex wins over any type."""
    assert encode_value(code, value).hex() == octets


@pytest.mark.parametrize(
    ("code", "value", "reason"),
    [
        (1, "255.255.0", "subnet-mask.*a subnet mask"),
        (1, 5, "no text like"),
        (3, (), "empty"),
        (33, ("10.1.0.0",), "partner"),
        (23, 256, "1 to 255"),
        (23, 0, "1 to 255"),
        (46, 3, "one of 1, 2, 4, 8"),
        (26, -1, "68 to 65535"),
        (26, 67, "68 to 65535"),
        (25, (68, 60), "a list of numbers from 68"),
        (26, "1_500", "no number"),
        (26, ("1", "2"), "it is a list"),
        (19, "maybe", "true or false"),
        (15, "", "at least one octet"),
        (15, "a\0b", "no NUL"),
        (119, ("a..b",), "not a domain name"),
        (119, ("a" * 64,), "not a domain name"),
        (121, ("10.0.0.1/8 via 10.1.0.1",), "host bits"),
        (121, ("10.0.0.0/8",), "not a route"),
        (43, "060108ff", "hex:"),
        (15, "hex:0g", "hexadecimal"),
        (224, 5, "hex:"),
    ],
)
def test_a_wrong_value_is_refused_with_what_it_should_be(code: int, value: OptionValue, reason: str) -> None:
    """The reason names the option and what it takes."""
    with pytest.raises(ValueError, match=reason):
        encode_value(code, value)


def test_names_numbers_and_keas_names_find_the_same_option() -> None:
    """IANA's name, its alias, its number and the number as text are one option."""
    assert code_of("ntp-servers") == code_of(42) == code_of("42") == 42
    assert code_of("routers") == code_of("Router") == 3
    assert code_of("boot-file-name") == code_of("bootfile-name") == 67


@pytest.mark.parametrize("key", ["no-such-option", 0, 255, "999", True])
def test_what_is_no_option_is_refused(key: int | str) -> None:
    """Unknown names and codes outside of 1 to 254 are a ValueError."""
    with pytest.raises(ValueError, match="DHCP option"):
        code_of(key)


def test_no_two_options_share_a_code_or_a_name() -> None:
    """A second row would silently win over the first."""
    names = [name for option in TABLE for name in (option.name, *option.aliases)]
    assert len({option.code for option in TABLE}) == len(TABLE)
    assert len(set(names)) == len(names) == len(BY_NAME)


def test_a_whole_option_carries_its_code_and_length() -> None:
    """`encoded` is ready for the wire, and split where the value is long."""
    assert encoded(26, 9000) == b"\x1a\x02\x23\x28"
    assert encoded(15, "x" * 256)[257:] == b"\x0f\x01x"


def said(options: dict[int, bytes]) -> Client:
    """What a client with these options is taken for."""
    return client_of(discover(MAC, options))


@pytest.mark.parametrize(
    ("options", "speaker", "arch"),
    [
        (PXE_BIOS, Speaker.PXE, 0),
        (PXE_X64, Speaker.PXE, 7),
        (HTTP_X64, Speaker.HTTP, 16),
        (IPXE, Speaker.IPXE, 0),
        ({**HTTP_X64, 77: b"iPXE"}, Speaker.IPXE, 16),
        ({**PXE_X64, 77: b"\x04iPXE"}, Speaker.IPXE, 7),
        ({**PXE_X64, 175: b"\x13\x01\x01"}, Speaker.IPXE, 7),
        (SYSTEM, Speaker.SYSTEM, None),
        ({60: b"PXEClient:Arch:00009:UNDI:003016"}, Speaker.PXE, 9),
        ({60: b"PXEClient"}, Speaker.PXE, None),
        ({60: b"PXEClient:Arch:99999:UNDI"}, Speaker.PXE, 65535),
        ({60: b"PXEClient", 93: b"\0"}, Speaker.PXE, None),
        ({}, Speaker.SYSTEM, None),
    ],
)
def test_the_speaker_and_its_architecture(
    options: dict[int, bytes], speaker: Speaker, arch: int | None
) -> None:
    """iPXE by its user class or option 175, firmware by its vendor class, all others are systems."""
    client = said(options)
    assert (client.speaker, client.arch) == (speaker, arch)


def test_a_uuid_counts_only_where_somebody_set_it() -> None:
    """Type 0 and 16 octets that are neither all zero nor all one."""
    assert said({97: b"\0" + bytes(range(16))}).uuid == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    for junk in (b"", b"\0" * 17, b"\0" + b"\xff" * 16, b"\1" + bytes(range(16)), b"\0" + bytes(15)):
        assert said({97: junk}).uuid is None


def test_user_classes_are_counted_texts_or_one_bare_word() -> None:
    """RFC 3004; iPXE sends its name without a length, and counts wherever it stands."""
    assert counted(b"\x03foo\x02ab") == [b"foo", b"ab"]
    assert counted(b"iPXE") == counted(b"\x00") == counted(b"") == counted(b"\x05ab") == []
    assert said({77: b"\x03foo\x02ab"}).user_class == "foo"
    assert said({77: b"\x03foo\x04iPXE"}).speaker is Speaker.IPXE
    assert said({77: b"gPXE"}).user_class == "gPXE"


def test_the_relay_agents_links_and_names_are_addresses() -> None:
    """Sub-options 5 and 11, and option 118; what is no machine's address counts nothing."""
    client = said({82: b"\x05\x04\x0a\0\0\0\x0b\x04\x0a\0\0\1", 118: b"\x0a\1\0\0"})
    assert tuple(map(str, (client.link, client.server_id, client.subnet))) == (
        "10.0.0.0",
        "10.0.0.1",
        "10.1.0.0",
    )
    for junk in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\0\0\1", b"\x0a\0\0", b"\xe0\0\0\1"):
        assert said({82: b"\x0b" + bytes([len(junk)]) + junk, 118: junk}).server_id is None
        assert said({118: junk}).subnet is None


def test_the_relay_agents_words_are_told_apart() -> None:
    """Sub-options 1 and 2 of option 82 are circuit and remote id; a cut-off rest is left out."""
    client = said({82: b"\x01\x03ge1\x02\x02\xaa\xbb\x09\x7fx"})
    assert (client.circuit_id, client.remote_id) == (b"ge1", b"\xaa\xbb")


@pytest.mark.parametrize(
    "fields",
    [
        {"htype": 6},
        {"hlen": 8},
        {"chaddr": b"\xff" * 6},
        {"chaddr": b"\x01\0\x5e\0\0\1"},
        {"chaddr": bytes(6)},
    ],
)
def test_only_an_ethernet_card_is_a_client(fields: dict[str, object]) -> None:
    """A reply to a group address would be sent to everybody: refused, as other hardware is."""
    packet: Packet = message(MAC, Kind.DISCOVER)._replace(**fields)
    with pytest.raises(MalformedPacket):
        client_of(packet)


@given(st.dictionaries(st.sampled_from([12, 60, 61, 77, 82, 93, 97, 175]), st.binary(max_size=300)))
def test_any_options_make_a_client(options: dict[int, bytes]) -> None:
    """Nothing that a client says of itself raises, and its texts are text."""
    client = said(options)
    assert client.vendor_class.isascii() or "\ufffd" in client.vendor_class
    assert all(isinstance(code, int) for code in sub_options(options.get(175, b"")))


def documented_row(option: Option) -> str:
    """An option's row in docs/dhcp-options.md."""
    wanted = option.wanted
    if option.code in PROTOCOL_CODES:
        wanted = "computed by the protocol: refused"
    elif option.code in BOOT_CODES:
        wanted += "; of the boot plan: only in a node's own `options`"
    aliases = ", ".join(f"`{name}`" for name in option.aliases)
    return f"| {option.code} | `{option.name}` | {aliases} | {wanted} |"


def test_every_option_is_documented() -> None:
    """docs/dhcp-options.md has the rows of the table, all of them, and no others."""
    text = (Path(__file__).parents[2] / "docs" / "dhcp-options.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert rows == [documented_row(option) for option in TABLE]


def test_the_example_of_the_documentation_is_taken() -> None:
    """Each of its values fits its option."""
    text = (Path(__file__).parents[2] / "docs" / "dhcp-options.md").read_text()
    example = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    for key, value in example["networks"][0]["options"].items():
        assert encode_value(code_of(key), tuple(value) if isinstance(value, list) else value)


def test_names_may_be_written_with_underscores_and_in_capitals() -> None:
    """As IANA's registry has some of them."""
    assert code_of("OPTION_CAPWAP_AC_V4") == code_of("capwap-ac-v4") == 138
