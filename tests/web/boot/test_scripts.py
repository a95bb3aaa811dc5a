"""Scripts over loopback: who gets one that boots, and what everybody else is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from netboot.boot.stall import DISK
from netboot.model.lease import Lease
from tests.boot.identity import Identity
from tests.web.boot.machine import claim_body
from tests.web.boot_site import MAC, NODE, OTHER, STRANGER, running


async def test_a_missing_image_stops_this_boot_and_heals_by_itself(tmp_path: Path) -> None:
    """The boot shows the reason; once the image is there, the machine is led to a new boot."""
    async with running(tmp_path, image="other") as world:
        boot = await world.lease()
        script = await world.script()
        assert script.status == 200 and "image other" in script.text and "chain" in script.text
        stopped = world.boots.get(boot.id)
        assert (
            stopped is not None and stopped.stopped_at == "script" and "image other" in (stopped.cause or "")
        )
        cluster = replace(world.inventory.clusters["blue"], image="debian-12")
        world.inventory = replace(world.inventory, clusters={"blue": cluster})
        again = await world.script()
        assert "dhcp" in again.text and "seed.cpio" not in again.text
        assert (await world.lease()).id != boot.id
        assert "seed.cpio" in (await world.script()).text


async def test_a_machine_without_image_goes_to_its_disk(tmp_path: Path) -> None:
    """Its script says why and exits."""
    async with running(tmp_path, image=None) as world:
        await world.lease()
        script = await world.script()
        assert script.status == 200 and "has no image" in script.text and "exit 0" in script.text


@pytest.mark.parametrize(
    "query", ["", "?mac=", "?mac=nonsense", "?mac=%0ashell", "?mac=${net0/mac}&uuid=%00"]
)
async def test_odd_questions_get_a_script_without_their_words(tmp_path: Path, query: str) -> None:
    """Whatever stands in the query, the answer is a script that echoes none of it."""
    async with running(tmp_path) as world:
        answer = await world.ask("/ipxe" + query.replace("{", "%7B").replace("}", "%7D"))
        assert answer.status == 200 and answer.text.startswith("#!ipxe")
        assert "nonsense" not in answer.text and "shell" not in answer.text and "net0" not in answer.text


async def test_an_unknown_machine_is_told_the_reason(tmp_path: Path) -> None:
    """The inventory's reason stands in the script, which waits and asks again."""
    async with running(tmp_path) as world:
        answer = await world.script(mac=OTHER, source=STRANGER)
        assert answer.status == 200 and "no catch-all pool" in answer.text and "goto wait" in answer.text


async def test_a_script_from_another_address_has_no_seed_and_touches_no_boot(tmp_path: Path) -> None:
    """Asking with another machine's MAC gives an explanation, is counted, and leaves the boot alone."""
    async with running(tmp_path) as world:
        boot = await world.lease()
        before = world.boots.get(boot.id)
        for _ in range(3):
            answer = await world.script(source=STRANGER)
            assert (
                answer.status == 200
                and "seed.cpio" not in answer.text
                and "is not the address" in answer.text
            )
        assert world.boots.get(boot.id) == before
        assert world.journal.counters["script_refused"] == 3
        assert len([e for e in world.journal.events() if e.kind == "script_refused"]) == 1


async def test_a_machine_whose_lease_is_unwritten_is_told_of_the_disk(tmp_path: Path) -> None:
    """It waits for us and did nothing wrong: no seed, no refusal; another address gets the usual text."""
    async with running(tmp_path) as world:
        boot = world.boots.discovered(MAC, node="m1c29", cluster="blue", now=world.now)
        world.boots.step(boot.id, "ack", detail=f"{NODE} ipxe.efi; {DISK}: it is full")
        world.boots.annotate(boot.id, address=NODE)
        answer = await world.script()
        assert answer.status == 200 and DISK in answer.text and "seed.cpio" not in answer.text
        assert world.journal.counters["script_refused"] == 0
        assert DISK not in (await world.script(source=STRANGER)).text


async def test_a_leased_machine_cannot_ask_for_another_ones_script(tmp_path: Path) -> None:
    """A lease of one's own does not help: MAC and address must belong together."""
    async with running(tmp_path) as world:
        await world.lease()
        await world.lease(mac=OTHER, address=STRANGER)
        answer = await world.script(source=STRANGER)
        assert answer.status == 200 and "seed.cpio" not in answer.text


async def test_a_card_that_dhcp_knew_by_its_uuid_gets_its_nodes_script_and_configuration(
    tmp_path: Path, node: Identity
) -> None:
    """Script, seed and claim find the node by the name that its lease is under, as DHCP found it."""
    async with running(tmp_path) as world:
        (declared,) = world.inventory.nodes
        known = replace(declared, uuid="4c4c4544-0042-3510-8054-b4c04f564232")
        world.inventory = replace(world.inventory, nodes=(known,))
        boot = world.boots.discovered(OTHER, node="m1c29", cluster="blue", now=world.now)
        lease = Lease("m1c29", OTHER, NODE, "lab", "m1c29", world.now + 300, world.now, boot.id)
        assert await world.store.claim_lease(lease, None)
        world.neighbours[NODE] = OTHER
        assert "seed.cpio" in (await world.script(mac=OTHER)).text
        path = f"/boot/{world.key(boot)}"
        assert b"m1c29" in (await world.ask(f"{path}/seed.cpio")).body
        answer = await world.ask(f"{path}/claim", method="POST", body=claim_body(node, mac=str(OTHER)))
        assert answer.status == 200 and answer.json["node"] == "m1c29"


async def test_a_card_whose_node_has_no_further_identity_is_nobodys(tmp_path: Path) -> None:
    """It was taken out of the file: the lease that it still has does not make it the node."""
    async with running(tmp_path) as world:
        boot = world.boots.discovered(OTHER, node="m1c29", cluster="blue", now=world.now)
        lease = Lease("m1c29", OTHER, NODE, "lab", "m1c29", world.now + 300, world.now, boot.id)
        assert await world.store.claim_lease(lease, None)
        world.neighbours[NODE] = OTHER
        assert "seed.cpio" not in (await world.script(mac=OTHER)).text


async def test_script_seed_and_claim_want_the_neighbours_mac(tmp_path: Path, node: Identity) -> None:
    """On-link the kernel's neighbour entry must show the leased MAC; none at all is not enough."""
    async with running(tmp_path) as world:
        boot = await world.lease()
        for neighbours in ({NODE: OTHER}, {}):
            world.neighbours = neighbours
            script = await world.ask(f"/ipxe?mac={MAC}")
            assert script.status == 200 and world.key(boot) not in script.body.decode()
            assert (await world.ask(f"/boot/{world.key(boot)}/seed.cpio")).status == 404
            claim = await world.ask(f"/boot/{world.key(boot)}/claim", method="POST", body=claim_body(node))
            assert claim.status == 404
        assert await world.store.claim_of(boot.id) is None


async def test_a_relayed_machine_has_no_neighbour_entry(tmp_path: Path) -> None:
    """Behind a relay there is no neighbour entry to look at: the leased address decides."""
    async with running(tmp_path) as world:
        boot = await world.lease()
        world.neighbours = {}
        network = replace(world.inventory.networks["lab"], interface=None)
        world.inventory = replace(world.inventory, networks={"lab": network})
        assert (await world.ask(f"/boot/{world.key(boot)}/seed.cpio")).status == 200
