from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.config import UNLIMITED, Rate, values
from netboot.config.problems import Bad
from netboot.config.values import bandwidth, duration, limit, listen, rate
from netboot.model.inventory import INFINITE, AddressRange
from netboot.model.machine import Mac
from tests.config.anything import ANYTHING, gives_a_value_or_bad


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("10h30m", 37800), ("1d", 86400), ("1h1m1s", 3661)]
)
def test_durations(text: str, seconds: float) -> None:
    """Hours, minutes and seconds in this order; days too."""
    assert duration(1, 10**6)(text) == seconds


def test_infinite_is_a_duration_where_it_makes_sense() -> None:
    """A lease may last for ever, a boot lease may not."""
    assert duration(1, 10, infinite=True)("infinite") == INFINITE
    with pytest.raises(Bad):
        duration(1, 10)("infinite")


@pytest.mark.parametrize("value", ["", "s", "90", 90, "1.5h", "-1s", "5m5h", True, None, [], "1h ", "١s"])
def test_what_is_no_duration(value: object) -> None:
    """Numbers without a unit, units out of order, other digits and other types."""
    with pytest.raises(Bad):
        duration(0, 10**6)(value)


def test_rates_bandwidths_and_limits() -> None:
    """Each has `unlimited`, and bits are decimal."""
    assert rate("60/m") == Rate(60, 60.0)
    assert rate("60/m").per_second == 1.0
    assert rate("unlimited") == UNLIMITED
    assert UNLIMITED.per_second == INFINITE
    assert bandwidth("8Gbit") == 8e9
    assert bandwidth("1.5Mbit") == 1.5e6
    assert bandwidth("unlimited") == INFINITE
    assert limit("unlimited") == INFINITE
    assert limit(64) == 64


def test_listen_addresses() -> None:
    """IPv6 in brackets."""
    assert listen("[::1]:8443") == ("::1", 8443)
    with pytest.raises(Bad):
        listen("::1:8443")


@pytest.mark.parametrize("text", ["52:54:00:12:34:56", "52-54-00-12-34-56", "5254.0012.3456", "525400123456"])
def test_a_mac_is_read_in_any_usual_notation(text: str) -> None:
    """Upper or lower case, with colons, dashes, dots or without."""
    assert values.mac(text.upper()) == Mac("52:54:00:12:34:56")


@pytest.mark.parametrize(
    "value", ["52:54:00:12:34", "52:54:00:12:34:5g", "01:00:5e:00:00:01", "0" * 12, 5, None, [], True]
)
def test_what_is_no_machines_mac(value: object) -> None:
    """Too short, no hex, multicast, all zeros, other types."""
    with pytest.raises(Bad):
        values.mac(value)


@pytest.mark.parametrize(
    "value", ["0.0.0.0", "255.255.255.255", "224.0.0.1", "10.0.0.1/24", "10.0.0", "fe80::1", 167772161]
)
def test_what_is_no_machines_address(value: object) -> None:
    """Unspecified, broadcast, multicast, networks, IPv6, numbers."""
    with pytest.raises(Bad):
        values.ipv4(value)


def test_a_range_is_one_or_a_list() -> None:
    """First and last address, blanks around the dash allowed."""
    one = AddressRange(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.9"))
    assert values.ranges("10.0.0.1-10.0.0.9") == (one,)
    assert values.ranges(["10.0.0.1 - 10.0.0.9"]) == (one,)


@pytest.mark.parametrize("name", ["m1", "m1c29", "a-b", "a.b-c.d", "0", "a" * 63])
def test_host_names_by_rfc_1123(name: str) -> None:
    """Lower-case letters, digits, dashes; labels by dots; 63 in all."""
    assert values.hostname(name) == name


@pytest.mark.parametrize("name", ["", "M1", "m_1", "-m", "m-", "a..b", ".a", "a" * 64, "é", "a b", "a\n"])
def test_what_is_no_host_name(name: str) -> None:
    """Upper case, underscores, dashes at the ends, empty labels, too long, line breaks."""
    with pytest.raises(Bad):
        values.hostname(name)


@pytest.mark.parametrize(
    "text", ["10.28.36.72:6443", "[fd00:28::71]:6443", "api.example.org:443", "localhost:1"]
)
def test_endpoints(text: str) -> None:
    """IPv4, IPv6 in brackets, names."""
    assert values.endpoint(text) == text


@pytest.mark.parametrize(
    "text", ["10.28.36.72", "fd00::1:6443", "a:0", "a:65536", "a:-1", "[::1:1", "1.2.3:6443", ":1", "a b:1"]
)
def test_what_is_no_endpoint(text: str) -> None:
    """No port, no brackets, ports out of range, half addresses."""
    with pytest.raises(Bad):
        values.endpoint(text)


def test_paths_are_absolute_and_plain() -> None:
    """No `..`, no control characters."""
    assert values.path("/srv/netboot") == Path("/srv/netboot")
    for text in ("srv", "/a/../b", "", "/a\nb", "~/x"):
        with pytest.raises(Bad):
            values.path(text)


def test_octets_are_text_or_hexadecimal() -> None:
    """`hex:` with or without colons, else the text's own bytes."""
    assert values.octets("hex:0a:0b") == values.octets("hex:0a0b") == b"\x0a\x0b"
    assert values.octets("port 7") == b"port 7"
    assert values.octets("1:2") == b"1:2"
    for printed in ("01:52:54:00:12:34:56", "ff-00-0A"):
        with pytest.raises(Bad, match="octets or as a text") as caught:
            values.octets(printed)
        assert f"hex:{printed}" in caught.value.remedy
    for text in ("hex:", "hex:0", "hex:zz", "x" * 0):
        with pytest.raises(Bad):
            values.octets(text)


def test_a_uuid_is_lower_case_with_dashes() -> None:
    """As the Node object shows it; all zeros and all ones name no machine."""
    assert (
        values.uuid("4C4C454400423510 8054b4c04f564232".replace(" ", ""))
        == "4c4c4544-0042-3510-8054-b4c04f564232"
    )
    for text in ("x", "0" * 32, "f" * 32):
        with pytest.raises(Bad):
            values.uuid(text)


READERS = [
    values.text,
    values.line,
    values.boolean,
    values.rate,
    values.bandwidth,
    values.limit,
    values.workers,
    values.mac,
    values.macs,
    values.ipv4,
    values.any_ip,
    values.subnet,
    values.ranges,
    values.hostname,
    values.domain,
    values.endpoint,
    values.listen,
    values.path,
    values.image,
    values.uuid,
    values.octets,
    values.node_name,
    values.url,
    values.duration(1, 100),
    values.integer(1, 5),
    values.choice("a", "b"),
    values.name,
]


@given(ANYTHING, st.sampled_from(READERS))
def test_a_reader_gives_a_value_or_bad(value: object, read: object) -> None:
    """Nothing that YAML can hold raises anything but ValueError."""
    gives_a_value_or_bad(value, read)
