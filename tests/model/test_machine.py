from __future__ import annotations

import copy
import pickle
import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.model.machine import Arch, Client, Mac, Speaker, other_order, smbios_uuid, uuid_of


@given(st.binary(min_size=6, max_size=6))
def test_a_mac_is_one_text_however_it_was_written(raw: bytes) -> None:
    """Six octets, colons, dashes, dots, bare digits, upper case: equal, and one key of a dictionary."""
    mac = Mac.from_bytes(raw)
    digits = raw.hex()
    forms = [
        raw.hex(":"),
        raw.hex("-"),
        digits,
        f"{digits[:4]}.{digits[4:8]}.{digits[8:]}",
        raw.hex(":").upper(),
    ]
    assert {Mac(form) for form in forms} == {mac}
    assert mac.packed() == raw
    assert (mac.digits, mac.dashed, str(mac)) == (digits, raw.hex("-"), raw.hex(":"))


@pytest.mark.parametrize(
    "text",
    ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "52:54-00:12:34:56", "5254.00.123456", "zz" * 6, "52 54"],
)
def test_what_is_no_mac_is_refused(text: str) -> None:
    """Wrong length, mixed separators, other digits."""
    with pytest.raises(ValueError, match="is not a MAC address"):
        Mac(text)


@pytest.mark.parametrize("raw", [b"", b"\0" * 5, b"\0" * 16])
def test_a_hardware_address_of_another_length_is_no_mac(raw: bytes) -> None:
    """InfiniBand's is longer; a cut packet's is shorter."""
    with pytest.raises(ValueError, match="6 octets"):
        Mac.from_bytes(raw)


def test_a_mac_survives_copies_and_pickle() -> None:
    """It travels between processes and stays a Mac."""
    mac = Mac("52:54:00:12:34:56")
    for other in (copy.deepcopy(mac), pickle.loads(pickle.dumps(mac))):
        assert other == mac
        assert type(other) is Mac


def test_a_client_claims_nothing_that_it_did_not_say() -> None:
    """Only the MAC is always there; who says nothing opens no boot."""
    client = Client(Mac("52:54:00:12:34:56"))
    assert client.speaker is Speaker.SYSTEM
    assert (client.arch, client.uuid, client.client_id, client.giaddr) == (None, None, None, None)


def test_clients_with_one_mac_do_not_share_a_hash() -> None:
    """A flood of them would make every look into a cache slow; equal ones still are one key."""
    flood = {hash(Client(Mac("52:54:00:12:34:56"), client_id=bytes([i]))) for i in range(100)}
    flood |= {hash(Client(Mac("52:54:00:12:34:56"), hostname=str(i))) for i in range(100)}
    assert len(flood) == 200
    first, second = (Client(Mac("52:54:00:12:34:56"), uuid="u") for _ in range(2))
    assert first == second and hash(first) == hash(second)
    assert replace(first, uuid=None) == Client(Mac("52:54:00:12:34:56"))


def test_both_numbers_of_x64_are_known() -> None:
    """RFC 4578 as published swaps 7 and 9, and firmware uses both."""
    assert {Arch(7).name, Arch(9).name} == {"EFI_X64", "EFI_BC"}


@given(st.uuids())
def test_the_other_byte_order_as_text_is_the_same_uuid(value: uuid.UUID) -> None:
    """What a lookup asks for."""
    assert other_order(str(value)) == str(smbios_uuid(value))


@pytest.mark.parametrize("text", ["", "4c4c4544", "0" * 32, "f" * 32, "4c4c4544-0042-3510-8054-b4c04f56423g"])
def test_what_names_no_machine_is_no_uuid(text: str) -> None:
    """All zero, all one, and what is none at all; others come in their canonical text."""
    assert uuid_of(text) is None
    assert uuid_of("{4C4C4544-0042-3510-8054-B4C04F564232}") == "4c4c4544-0042-3510-8054-b4c04f564232"


@given(st.uuids())
def test_the_other_byte_order_of_a_uuid_leads_back(value: uuid.UUID) -> None:
    """Only the first three fields turn round; twice is the same again."""
    other = smbios_uuid(value)
    assert smbios_uuid(other) == value
    assert other.bytes[8:] == value.bytes[8:]
    assert other.bytes[:4] == value.bytes[:4][::-1]
