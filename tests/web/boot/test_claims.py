"""Seeds and claims over loopback, and everything that somebody may try against them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from netboot.boot.key import boot_key
from netboot.boot.session import BY_TFTP
from netboot.boot.stall import DISK, UNCLAIMED, last_step
from netboot.errors import StoreError
from netboot.model.boot import Boot
from netboot.model.inventory import Node
from netboot.model.manners import Rate
from tests.boot.identity import Identity
from tests.web.boot.machine import claim_body, claimed
from tests.web.boot_site import NODE, OTHER, SECRET, STRANGER, Answer, World, running


async def test_the_claim_turns_the_boot_lease_into_the_networks(tmp_path: Path, node: Identity) -> None:
    """After the 200 the address is held for the network's whole lease."""
    async with running(tmp_path) as world:
        await claimed(world, node)
        lease = await world.store.lease_at(NODE)
        assert lease is not None and lease.expires == world.now + 12 * 3600.0


async def test_a_seed_is_for_the_leased_address_only(tmp_path: Path) -> None:
    """A stolen key is worth nothing at another address, leased or not."""
    async with running(tmp_path) as world:
        boot = await world.lease()
        path = f"/boot/{world.key(boot)}/seed.cpio"
        assert (await world.ask(path, source=STRANGER)).status == 404
        await world.lease(mac=OTHER, address=STRANGER)
        assert (await world.ask(path, source=STRANGER)).status == 404
        assert (await world.ask(path)).status == 200
        for wrong in (boot_key(SECRET, "boot9999"), "0" * 32):
            assert (await world.ask(f"/boot/{wrong}/seed.cpio")).status == 404


async def test_a_claim_from_another_address_is_refused(tmp_path: Path, node: Identity) -> None:
    """Key and body of the right machine, from a wrong address: 404, and the key is still good."""
    async with running(tmp_path) as world:
        boot = await world.lease()
        path = f"/boot/{world.key(boot)}/claim"
        await world.lease(mac=OTHER, address=STRANGER)
        assert (await world.ask(path, method="POST", body=claim_body(node), source=STRANGER)).status == 404
        wrong_mac = claim_body(node, mac=OTHER)
        assert (await world.ask(path, method="POST", body=wrong_mac)).status == 404
        assert (await world.ask(path, method="POST", body=claim_body(node))).status == 200


async def test_the_certificate_request_is_kept_with_the_claim_for_the_join(
    tmp_path: Path, node: Identity
) -> None:
    """On disk with the burnt key; the join method gets it as it came, and the machine's names."""
    async with running(tmp_path, method="certificate") as world:
        boot = await world.lease()
        await world.script()
        body = claim_body(node, csr="what the node made")
        answer = await world.ask(f"/boot/{world.key(boot)}/claim", method="POST", body=body)
        standing = await world.store.claim_of(boot.id)
        assert standing is not None and standing.csr == "what the node made"
        assert (await world.ask("/boot/config", session=answer.json["session"])).status == 200
        (asked,) = world.join.asked
        assert asked.csr == "what the node made" and asked.names == ("m1c29.lab.example.org",)


async def test_a_key_is_good_for_one_claim(tmp_path: Path, node: Identity) -> None:
    """The identical request within a minute gets the identical answer; any other is refused."""
    async with running(tmp_path) as world:
        boot = await world.lease()
        path = f"/boot/{world.key(boot)}/claim"
        first = await world.ask(path, method="POST", body=claim_body(node))
        world.now += 59
        again = await world.ask(path, method="POST", body=claim_body(node))
        assert (again.status, again.json) == (200, first.json)
        other = claim_body(node, uuid="")
        for _ in range(3):
            assert (await world.ask(path, method="POST", body=other)).status == 404
        (alarm,) = [event.text for event in world.journal.events() if event.kind == "impostor"]
        assert f"claimed from {NODE} (UUID none)" in alarm and "two machines have the MAC address" in alarm
        world.now += 2
        assert (await world.ask(path, method="POST", body=claim_body(node))).status == 404
        assert (await world.ask(f"/boot/{world.key(boot)}/seed.cpio")).status == 404
        assert world.journal.counters["claims_answered"] == 2


async def test_the_key_is_burnt_on_disk_before_the_answer(tmp_path: Path, node: Identity) -> None:
    """When the 200 arrives the store holds the claim; a failing store gives 503 and keeps the key good."""
    async with running(tmp_path) as world:
        boot = await world.lease()
        path = f"/boot/{world.key(boot)}/claim"
        burn = world.store.burn

        async def full(claim: object) -> object:
            raise StoreError("no space left on device")

        world.store.burn = full  # type: ignore[method-assign, assignment]
        answer = await world.ask(path, method="POST", body=claim_body(node))
        assert answer.status == 503 and int(answer.headers["retry-after"]) > 0
        waiting = world.boots.get(boot.id)
        assert waiting and any(f"{DISK}: no space left" in s.detail for s in waiting.steps)
        world.store.burn = burn  # type: ignore[method-assign]
        assert (await world.ask(path, method="POST", body=claim_body(node))).status == 200
        claim = await world.store.claim_of(boot.id)
        assert claim is not None and claim.address == NODE


async def test_a_claim_is_refused_while_the_lease_cannot_be_written(tmp_path: Path, node: Identity) -> None:
    """No 200 without the network's lease on disk."""
    async with running(tmp_path) as world:
        boot = await world.lease()

        async def lost(*_: object) -> bool:
            return False

        world.store.claim_lease = lost  # type: ignore[method-assign, assignment]
        answer = await world.ask(f"/boot/{world.key(boot)}/claim", method="POST", body=claim_body(node))
        assert answer.status == 503 and await world.store.claim_of(boot.id) is None


async def test_an_expired_key_is_refused(tmp_path: Path) -> None:
    """An hour after the boot opened its key is worth nothing."""
    async with running(tmp_path) as world:
        boot = await world.lease(seconds=100_000)
        world.now += 3601
        assert (await world.ask(f"/boot/{world.key(boot)}/seed.cpio")).status == 404


async def test_a_key_of_the_boot_before_is_refused(tmp_path: Path, node: Identity) -> None:
    """A new boot has a new key, and the one before cannot be claimed twice."""
    async with running(tmp_path) as world:
        old, _ = await claimed(world, node)
        new = await world.lease()
        assert new.id != old.id and world.key(new) != world.key(old)
        world.now += 61
        for key, status in ((world.key(old), 404), (world.key(new), 200)):
            answer = await world.ask(f"/boot/{key}/claim", method="POST", body=claim_body(node, uuid=""))
            assert answer.status == status


async def test_claims_without_a_key_only_where_the_script_went_by_tftp(
    tmp_path: Path, node: Identity
) -> None:
    """POST /boot/claim is answered once, to the leased address, if this boot's script went by TFTP."""
    async with running(tmp_path) as world:
        boot = await world.lease()
        await world.script()
        assert (await world.ask("/boot/claim", method="POST", body=claim_body(node))).status == 404
        await world.lease(mac=OTHER, address=STRANGER)
        by_tftp = world.boots.current(OTHER)
        assert by_tftp is not None and by_tftp.id != boot.id
        world.boots.step(by_tftp.id, "script", detail=BY_TFTP)
        body = claim_body(node, mac=OTHER)
        catch_all(world)
        assert (await world.ask("/boot/claim", method="POST", body=body, source=NODE)).status == 404
        assert (await world.ask("/boot/claim", method="POST", body=body, source=STRANGER)).status == 200
        second = claim_body(node, mac=OTHER, uuid="")
        assert (await world.ask("/boot/claim", method="POST", body=second, source=STRANGER)).status == 404


def catch_all(world: World) -> None:
    pool = replace(world.inventory.pools["compute"], name="unknown", catch_all=True)
    pools = {**world.inventory.pools, "unknown": pool}
    world.inventory = replace(world.inventory, pools=pools)


async def test_a_script_by_http_closes_the_claim_without_key(tmp_path: Path, node: Identity) -> None:
    """Once a boot's script went over HTTP, its key is needed."""
    async with running(tmp_path) as world:
        await world.lease()
        await world.script()
        assert (await world.ask("/boot/claim", method="POST", body=claim_body(node))).status == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"mac": 5}',
        b'{"mac": "52:54:00:12:34:56", "uuid": "x"}',
        b'{"mac": "52:54:00:12:34:56", "uuid": "", "certificate": "x", "csr": ""}',
        b"[" * 10_000,
        b'{"mac":"\\ud800"}',
    ],
)
async def test_a_bad_claim_is_refused_and_burns_nothing(tmp_path: Path, body: bytes) -> None:
    """400 with a reason, the key is still good."""
    async with running(tmp_path) as world:
        boot = await world.lease()
        answer = await world.ask(f"/boot/{world.key(boot)}/claim", method="POST", body=body)
        assert answer.status == 400 and answer.text
        assert await world.store.claim_of(boot.id) is None


async def test_a_pool_admits_so_many_claims_and_the_others_wait(tmp_path: Path, node: Identity) -> None:
    """503 with Retry-After and the reason, at the boot too; nothing is burnt, and its turn comes."""
    async with running(tmp_path) as world:
        found = world.inventory
        pools = {name: replace(pool, claims=Rate(1, 20.0)) for name, pool in found.pools.items()}
        second = Node("m2", "compute", (OTHER,), address=STRANGER)
        world.inventory = replace(found, pools=pools, nodes=(*found.nodes, second))
        first, boot = await world.lease(mac=OTHER, address=STRANGER), await world.lease()
        other = claim_body(node, OTHER)

        async def claim(which: Boot, body: dict[str, object], source: IPv4Address) -> Answer:
            path = f"/boot/{world.key(which)}/claim"
            return await world.ask(path, method="POST", body=body, source=source)

        assert (await claim(first, other, STRANGER)).status == 200
        answer = await claim(boot, claim_body(node), NODE)
        assert (answer.status, answer.headers["retry-after"]) == (503, "20")
        assert "pool compute admits 1 claims in 20 s" in answer.text
        assert await world.store.claim_of(boot.id) is None
        shown = world.boots.get(boot.id)
        assert shown is not None and (step := last_step(shown)) is not None
        assert step.detail.startswith(UNCLAIMED)
        again = await claim(first, other, STRANGER)
        assert again.status == 200, "the identical request counts no second time"
        world.now += 20
        assert (await claim(boot, claim_body(node), NODE)).status == 200


DECLARED = "4c4c4544-0042-3510-8054-b4c04f564232"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (DECLARED, 200),
        (DECLARED.upper(), 200),
        ("44454c4c-4200-1035-8054-b4c04f564232", 200),
        ("4c4c4544-0042-3510-8054-b4c04f564233", 404),
        ("", 404),
    ],
    ids=["its own", "in capitals", "in SMBIOS' byte order", "another", "none"],
)
async def test_a_machine_without_the_declared_uuid_gets_no_session(
    tmp_path: Path, node: Identity, said: str, status: int
) -> None:
    """Its MAC address can be taken over; the boot shows whose machine it is not, and the key stays good."""
    async with running(tmp_path) as world:
        (declared,) = world.inventory.nodes
        world.inventory = replace(world.inventory, nodes=(replace(declared, uuid=DECLARED),))
        boot = await world.lease()
        await world.script()
        path = f"/boot/{world.key(boot)}/claim"
        answer = await world.ask(path, method="POST", body=claim_body(node, uuid=said))
        assert answer.status == status
        standing = await world.store.claim_of(boot.id)
        assert (standing is not None) is (status == 200)
        shown = world.boots.get(boot.id)
        told = bool(shown and any("is declared with" in step.detail for step in shown.steps))
        assert told is (status == 404)


async def test_a_machine_at_the_wrong_place_gets_a_reason_and_no_seed(tmp_path: Path, node: Identity) -> None:
    """DHCP saw what does not fit: script, seed and claim say so, until the machine fits."""
    async with running(tmp_path) as world:
        boot = await world.lease()
        key = world.key(boot)
        world.boots.annotate(boot.id, doubt="its relay agent's circuit id is none")
        script = await world.script()
        assert script.status == 200 and "circuit id is none" in script.text and key not in script.text
        assert (await world.ask(f"/boot/{key}/seed.cpio")).status == 404
        assert (await world.ask(f"/boot/{key}/claim", method="POST", body=claim_body(node))).status == 404
        world.boots.annotate(boot.id, doubt="")
        assert (await world.ask(f"/boot/{key}/claim", method="POST", body=claim_body(node))).status == 200
