"""The decisions about claims, sessions and reports, one by one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot.boot import session
from netboot.boot.key import boot_key, session_secret
from netboot.boot.session import BY_TFTP, Asker, ClaimRequest
from netboot.errors import Refused
from netboot.model.boot import Boot, Claim, Step
from netboot.model.lease import Lease
from tests.boot.conftest import ADDRESS, MAC, OTHER

NOW = 1_000_000.0
SECRET = b"s" * 32
BOOT = Boot("boot1", MAC, "m1c29", "blue", started=NOW)
LEASE = Lease("m1c29", MAC, ADDRESS, "lab", "m1c29", NOW + 300, NOW, "boot1")
REQUEST = ClaimRequest(MAC, None, "PEM", "", "aa" * 32)
CLAIM = Claim("boot1", ADDRESS, "aa" * 32, "PEM", "bb" * 32, NOW)
ASKER = Asker(ADDRESS, LEASE, True, MAC)


def refused(call: object, *arguments: object) -> str:
    assert callable(call)
    with pytest.raises(Refused) as caught:
        call(*arguments)
    assert caught.value.status == 404
    return caught.value.reason


def test_an_address_belongs_to_its_lease_and_its_neighbour() -> None:
    """A lease, and on-link the same MAC in the neighbour table."""
    assert session.leased_to(ASKER) == LEASE
    assert session.leased_to(replace(ASKER, on_link=False, neighbour=None)) == LEASE
    refused(session.leased_to, replace(ASKER, lease=None))
    assert str(OTHER) in refused(session.leased_to, replace(ASKER, neighbour=OTHER))
    refused(session.leased_to, replace(ASKER, neighbour=None))


def test_an_address_that_was_only_observed_needs_its_neighbour_entry() -> None:
    """Another DHCP server gave it: behind a relay agent, or off the subnet, nothing proves it."""
    observed = replace(ASKER, observed=True)
    assert session.leased_to(observed) == LEASE
    refused(session.leased_to, replace(observed, on_link=False, neighbour=None))
    refused(session.leased_to, replace(observed, neighbour=OTHER))
    assert "mode proxy" in session.doubt(replace(observed, on_link=False, neighbour=None))
    assert "another machine" in session.doubt(replace(observed, neighbour=OTHER))


def test_a_key_belongs_to_one_of_the_machines_boots() -> None:
    """The right boot among several; a wrong or odd key is refused."""
    other = replace(BOOT, id="boot2")
    assert session.boot_of_key(boot_key(SECRET, "boot2"), [BOOT, other], SECRET) == other
    for key in (boot_key(SECRET, "boot3"), "", "0" * 31, boot_key(SECRET, "boot1").upper()):
        refused(session.boot_of_key, key, [BOOT, other], SECRET)


def test_a_key_is_unused_until_claim_end_or_an_hour() -> None:
    """Each of the three ends it."""
    session.check_unused(BOOT, None, NOW + 3600)
    assert "used" in refused(session.check_unused, BOOT, CLAIM, NOW)
    assert "over" in refused(session.check_unused, replace(BOOT, ended=NOW), None, NOW)
    assert "expired" in refused(session.check_unused, BOOT, None, NOW + 3601)


def test_a_claim_is_spent_once_and_repeated_for_a_minute() -> None:
    """First the key is spent; then only the identical request, from there, within 60 s."""
    check = session.check_claim
    assert check(REQUEST, ASKER, LEASE, BOOT, None, NOW) is None
    assert check(REQUEST, ASKER, LEASE, BOOT, CLAIM, NOW + 60) == CLAIM
    elsewhere = replace(ASKER, address=IPv4Address("10.77.0.21"))
    refused(check, REQUEST, ASKER, LEASE, BOOT, CLAIM, NOW + 61)
    refused(check, replace(REQUEST, sha256="cc" * 32), ASKER, LEASE, BOOT, CLAIM, NOW)
    refused(check, REQUEST, elsewhere, LEASE, BOOT, CLAIM, NOW)
    refused(check, REQUEST, ASKER, LEASE, BOOT, replace(CLAIM, ended=True), NOW)
    refused(check, replace(REQUEST, mac=OTHER), ASKER, LEASE, BOOT, None, NOW)


def test_another_claim_of_one_boot_is_another_machines() -> None:
    """Not the identical one, nor one after the key's hour, nor one that any program of a node may make."""
    other = replace(REQUEST, sha256="cc" * 32, uuid="u-2")
    by_tftp = replace(BOOT, steps=(Step("script", NOW, detail=BY_TFTP),))
    second = session.second_claimant
    for boot in (BOOT, replace(BOOT, ended=NOW), by_tftp):
        text = second(other, LEASE, boot, CLAIM, NOW)
        assert text.startswith("impostor: boot boot1 of m1c29") and str(MAC) in text and "u-2" in text
    assert not second(REQUEST, LEASE, BOOT, CLAIM, NOW)
    assert not second(other, LEASE, BOOT, None, NOW)
    assert not second(other, LEASE, BOOT, CLAIM, NOW + 3601)
    assert not second(other, LEASE, replace(by_tftp, ended=NOW), CLAIM, NOW)
    assert not second(replace(other, mac=OTHER), LEASE, BOOT, CLAIM, NOW)


def test_only_a_script_by_tftp_allows_a_claim_without_key() -> None:
    """No script, or one by HTTP, does not."""
    session.check_without_key(replace(BOOT, steps=(Step("script", NOW, detail=BY_TFTP),)))
    refused(session.check_without_key, BOOT)
    refused(session.check_without_key, replace(BOOT, steps=(Step("script", NOW),)))


def test_a_session_lives_until_its_end() -> None:
    """The right secret, within the hour, of a boot that neither joined nor was superseded."""
    secret = session_secret(SECRET, "boot1", "bb" * 32)
    check = session.check_session
    assert check(secret, CLAIM, BOOT, SECRET, NOW + 3600) == CLAIM
    assert check(secret, CLAIM, replace(BOOT, state="stopped", ended=NOW), SECRET, NOW) == CLAIM
    refused(check, secret, CLAIM, BOOT, SECRET, NOW + 3601)
    refused(check, secret, replace(CLAIM, ended=True), BOOT, SECRET, NOW)
    refused(check, secret, CLAIM, replace(BOOT, state="joined", ended=NOW), SECRET, NOW)
    refused(check, secret, None, BOOT, SECRET, NOW)
    refused(check, secret, CLAIM, None, SECRET, NOW)
    refused(check, secret + "x", CLAIM, BOOT, SECRET, NOW)
    refused(check, secret, replace(CLAIM, certificate_sha256="cc" * 32), BOOT, SECRET, NOW)


@given(st.binary(max_size=300))
def test_any_body_is_a_value_or_a_refusal(body: bytes) -> None:
    """Whatever a node sends, parsing ends in a value or a Refused of status 400."""
    for parse in (session.parse_claim, session.parse_report):
        try:
            parse(body)
        except Refused as error:
            assert error.status == 400
    assert len(session.parse_log(body)) <= 200


def test_log_lines_keep_the_last_ones() -> None:
    """Of too many lines the newest count, empty ones are left out."""
    lines = session.parse_log(b"\n\n".join(b"%d" % n for n in range(500)))
    assert (len(lines), lines[-1]) == (200, "499")
