"""What every store promises at its door; the memory store and the SQLite store go through the same tests."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netboot.model.access import AuditEntry
from netboot.model.binding import SUPERSEDED
from netboot.model.lease import Rest
from netboot.store import Store
from netboot.store.memory import MemoryStore
from netboot.store.sqlite import SqliteStore
from tests.store.values import NOW, binding, boot, claim, lease, token


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Each store in turn."""
    made: Store = MemoryStore() if request.param == "memory" else await SqliteStore.open(tmp_path / "n.db")
    yield made
    await made.close()


async def test_a_claimed_lease_is_found_by_its_holder_and_by_its_address(store: Store) -> None:
    """A claim of a free address wins, and the lease stands under both keys."""
    one = lease(1)
    assert await store.claim_lease(one, None)
    assert await store.lease_of("n1", "compute") == one
    assert await store.lease_at(one.address) == one
    assert list(await store.leases()) == [one]


async def test_what_nobody_holds_is_none(store: Store) -> None:
    """Unknown holders, networks and addresses have no lease."""
    await store.claim_lease(lease(1), None)
    assert await store.lease_of("n1", "other") is None
    assert await store.lease_of("n2", "compute") is None
    assert await store.lease_at(IPv4Address("10.9.9.9")) is None


async def test_a_claim_loses_where_the_holders_lease_has_changed(store: Store) -> None:
    """The caller saw an older lease, or none: False, and nothing changes."""
    first, second = lease(1), lease(1, seen=NOW + 5)
    await store.claim_lease(first, None)
    assert await store.claim_lease(second, first)
    assert not await store.claim_lease(lease(1, seen=NOW + 9), first)
    assert not await store.claim_lease(lease(1, seen=NOW + 9), None)
    assert await store.lease_of("n1", "compute") == second


async def test_one_address_never_has_two_holders(store: Store) -> None:
    """A claim of an address that another holder's lease stands on loses, live or expired."""
    await store.claim_lease(lease(1), None)
    assert not await store.claim_lease(lease(2, address=1), None)
    assert await store.lease_of("n2", "compute") is None


async def test_an_expired_lease_goes_when_the_caller_names_it(store: Store) -> None:
    """`displaced` makes way, and its holder has no lease any more."""
    old, new = lease(1), lease(2, address=1)
    await store.claim_lease(old, None)
    assert await store.claim_lease(new, None, old)
    assert await store.lease_at(old.address) == new
    assert await store.lease_of("n1", "compute") is None


async def test_a_displaced_lease_that_was_renewed_meanwhile_stays(store: Store) -> None:
    """The caller saw it expired, but its holder came back first: the claim loses."""
    old = lease(1)
    renewed = replace(old, expires=NOW + 999)
    await store.claim_lease(old, None)
    await store.claim_lease(renewed, old)
    assert not await store.claim_lease(lease(2, address=1), None, old)
    assert await store.lease_at(old.address) == renewed


async def test_a_holder_that_moves_frees_its_old_address(store: Store) -> None:
    """The old address is nobody's afterwards, and another holder can have it."""
    first, second = lease(1), lease(1, address=7)
    await store.claim_lease(first, None)
    assert await store.claim_lease(second, first)
    assert await store.lease_at(first.address) is None
    assert await store.claim_lease(lease(2, address=1), None)


async def test_a_holders_lease_from_another_network_makes_way(store: Store) -> None:
    """A renamed network does not lock a machine out of its own address."""
    await store.claim_lease(lease(1, network="old"), None)
    assert await store.claim_lease(lease(1, network="new"), None)
    assert await store.lease_of("n1", "old") is None


async def test_a_released_lease_is_expired_and_remembered(store: Store) -> None:
    """RELEASE ends a lease now, and keeps who had the address; a changed lease is not released."""
    one = lease(1)
    await store.claim_lease(one, None)
    assert await store.release_lease(one, NOW + 1)
    assert not await store.release_lease(one, NOW + 2)
    kept = await store.lease_of("n1", "compute")
    assert kept is not None and kept.expires == NOW + 1 and not kept.live(NOW + 1)


async def test_a_dropped_lease_is_forgotten_unless_it_has_changed(store: Store) -> None:
    """An operator's word counts for the lease that the operator saw."""
    await store.claim_lease(lease(1), None)
    assert not await store.drop_lease(lease(1, seen=NOW + 1)) and not await store.drop_lease(lease(2))
    assert await store.drop_lease(lease(1))
    assert await store.lease_of("n1", "compute") is None and await store.lease_at(lease(1).address) is None
    assert await store.claim_lease(lease(2, address=1), None)


async def test_rests_are_remembered_until_they_are_ended(store: Store) -> None:
    """By address; a second one replaces the first."""
    first = Rest(lease(1).address, "compute", NOW, NOW + 60, "conflict", None)
    await store.rest(first)
    await store.rest(replace(first, until=NOW + 90, cause="declined", mac=lease(1).mac))
    (found,) = await store.rests()
    assert (found.until, found.cause, found.mac) == (NOW + 90, "declined", lease(1).mac)
    await store.end_rests([first.address])
    assert list(await store.rests()) == []


async def test_an_infinite_lease_stays_infinite(store: Store) -> None:
    """`inf` survives the way to the disk and back."""
    endless = replace(lease(1), expires=math.inf, boot_id=None)
    await store.claim_lease(endless, None)
    assert await store.lease_of("n1", "compute") == endless


async def test_boots_come_back_newest_first(store: Store) -> None:
    """Saved boots are whole, replaced by their id, and limited from the newest."""
    await store.save_boots([boot(1), boot(2, NOW + 5), boot(3, NOW + 2)])
    await store.save_boots([replace(boot(3, NOW + 2), state="joined", address=None)])
    assert [b.id for b in await store.boots()] == ["b2", "b3", "b1"]
    assert (await store.boots(limit=1))[0] == boot(2, NOW + 5)
    assert (await store.boots())[1].state == "joined"


async def test_a_key_is_burnt_once(store: Store) -> None:
    """The second claim of a boot gets the first one back."""
    assert await store.claim_of("b1") is None
    assert await store.burn(claim(request="first")) == claim(request="first")
    assert await store.burn(claim(request="second")) == claim(request="first")
    assert await store.claim_of("b1") == claim(request="first")


async def test_credentials_are_counted_up_to_their_limit(store: Store) -> None:
    """So many and no more; none without a claim."""
    assert not await store.count_credential("b1", 2)
    await store.burn(claim())
    assert [await store.count_credential("b1", 2) for _ in range(3)] == [True, True, False]
    found = await store.claim_of("b1")
    assert found is not None and found.credentials == 2


async def test_an_ended_claim_stays_burnt_and_gives_no_credential(store: Store) -> None:
    """The session is over; its key cannot be claimed again."""
    await store.burn(claim())
    await store.end_claim("b1")
    await store.end_claim("unknown")
    found = await store.claim_of("b1")
    assert found is not None and found.ended
    assert not await store.count_credential("b1", 5)
    assert (await store.burn(claim(request="again"))).ended


async def test_tokens_are_remembered_until_they_are_forgotten(store: Store) -> None:
    """By boot and all together, without any secret; forgetting twice is no error."""
    for one in (token(1), token(2, "b2")):
        await store.record_token(one)
    assert list(await store.tokens_of("b2")) == [token(2, "b2")]
    await store.forget_token("blue", "abcde1")
    await store.forget_token("blue", "abcde1")
    assert list(await store.tokens()) == [token(2, "b2")]


async def test_the_audit_comes_back_newest_first_with_how_each_request_ended(store: Store) -> None:
    """An entry is there before its request is done, without a status until then."""
    change = AuditEntry(NOW, "anna", "operator", "10.0.0.1", "DELETE", "/api/v1/leases/x", {"force": "true"})
    refused = AuditEntry(NOW, None, None, "10.0.0.2", "GET", "/", refused=True, status=401)
    first, second = await store.record_audit(change), await store.record_audit(refused)
    assert [e.status for e in await store.audit()] == [401, None]
    await store.finish_audit(first, 202, "op1")
    assert list(await store.audit()) == [
        replace(refused, id=second),
        replace(change, id=first, status=202, operation="op1"),
    ]
    assert len(await store.audit(limit=1)) == 1


async def test_a_token_has_one_first_request(store: Store) -> None:
    """Whichever certificate request came first stays the first; an unknown token has none."""
    await store.bind(binding(1))
    assert await store.first_request("blue", "abcde1", "uid-1") == "uid-1"
    assert await store.first_request("blue", "abcde1", "uid-2") == "uid-1"
    assert await store.binding_of("blue", "abcde1") == replace(binding(1), request="uid-1")
    assert await store.first_request("green", "abcde1", "uid-1") == ""
    assert await store.binding_of("blue", "abcde2") is None


async def test_a_token_of_the_same_boot_takes_the_place_of_an_unused_one(store: Store) -> None:
    """A machine that asked again is to use the new token alone; what was used stays so."""
    for number in (1, 2, 3):
        await store.bind(replace(binding(number), boot_id="b1"))
        await store.first_request("blue", "abcde1", "uid-1")
    found = [await store.first_request("blue", f"abcde{number}", "uid-9") for number in (1, 2, 3)]
    assert found == ["uid-1", SUPERSEDED, "uid-9"]


async def test_a_name_is_held_until_it_is_let_go(store: Store) -> None:
    """The first reason stays, and only names of that cluster are let go."""
    await store.bind(binding(1))
    await store.hold("blue", "abcde1", "why")
    await store.hold("blue", "abcde1", "another")
    assert [b.alarm for b in await store.holds()] == ["why"]
    assert not await store.let_go("green", "n1")
    assert await store.let_go("blue", "n1")
    assert not await store.let_go("blue", "n1") and not await store.holds()
