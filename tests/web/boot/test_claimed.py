"""What a claimed boot keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from netboot.model.boot import Kept
from netboot.model.machine import Mac
from netboot.model.overlay import overlaid
from netboot.model.placement import Placement
from netboot.model.settings import Settings
from netboot.store.memory import MemoryStore
from tests.boot.identity import Identity
from tests.web.boot.machine import claim_body, claimed, members
from tests.web.boot_site import MAC, running


async def test_a_claimed_boot_keeps_its_assignment_over_a_reload(tmp_path: Path, node: Identity) -> None:
    """A reload changes boots that are not claimed yet, not this one."""
    async with running(tmp_path, timezone="Europe/Prague") as world:
        _, session = await claimed(world, node)
        changed = replace(world.inventory.nodes[0], settings=Settings(timezone="UTC"))
        world.inventory = replace(world.inventory, nodes=(changed,))
        found = members((await world.ask("/boot/config", session=session)).body, node)
        assert found["netboot/timezone"] == "Europe/Prague\n"


async def test_a_claimed_boot_keeps_its_assignment_over_a_restart(tmp_path: Path, node: Identity) -> None:
    """Cluster, pool and name as at its claim, though the machine was assigned elsewhere meanwhile."""
    store = MemoryStore()
    async with running(tmp_path, store=store) as world:
        _, session = await claimed(world, node)
        await world.boots.flush()
    async with running(tmp_path / "again", store=store) as world:
        await world.boots.start()
        red = replace(world.inventory.clusters["blue"], name="red")
        declared = replace(world.inventory, clusters={**world.inventory.clusters, "red": red})
        world.inventory = overlaid(declared, [Placement("m1c29", (MAC,), cluster="red", name="m9")]).inventory
        found = members((await world.ask("/boot/config", session=session)).body, node)
        assert found["netboot/hostname"] == "m1c29\n"
        assert found["netboot/join/kubeadm.yaml"] and world.join.made
        assert [boot.cluster for boot in world.boots.all()] == ["blue"]
        world.inventory = replace(world.inventory, clusters={"red": red}, pools={})
        assert (await world.ask("/boot/config", session=session)).status == 200  # kept in memory by now


async def test_a_boot_whose_assignment_changed_before_its_claim_belongs_to_the_new_one(
    tmp_path: Path, node: Identity
) -> None:
    """Only claimed boots keep theirs: name and cluster of the boot follow."""
    async with running(tmp_path, method="none") as world:
        boot = await world.lease()
        await world.script()
        red = replace(world.inventory.clusters["blue"], name="red")
        declared = replace(world.inventory, clusters={**world.inventory.clusters, "red": red})
        world.inventory = overlaid(declared, [Placement("m1c29", (MAC,), cluster="red", name="m9")]).inventory
        answer = await world.ask(f"/boot/{world.key(boot)}/claim", method="POST", body=claim_body(node))
        assert answer.json["node"] == "m9"
        found = world.boots.get(boot.id)
        assert found is not None and (found.node, found.cluster) == ("m9", "red")
        kept = await world.store.claim_of(boot.id)
        assert kept is not None and kept.kept == Kept("m9", "red", "compute", ())


async def test_a_machine_waits_for_an_operator_where_admission_is_by_approval(
    tmp_path: Path, node: Identity
) -> None:
    """The console and the boot tell what to type; once it is let in it is given its configuration."""
    let_in: set[Mac] = set()
    async with running(tmp_path, admitted=let_in.__contains__) as world:
        pool = replace(world.inventory.pools["compute"], catch_all=True, admission="approval")
        world.inventory = replace(world.inventory, nodes=(), pools={"compute": pool})
        boot, session = await claimed(world, node)
        waits = await world.ask("/boot/config", session=session)
        text = f"waits for an operator: netboot node admit {MAC}"
        assert (waits.status, waits.text.strip()) == (503, text) and int(waits.headers["retry-after"]) >= 10
        step = world.boots.get(boot.id).step("config")  # type: ignore[union-attr]
        assert step is not None and step.detail == text and not world.join.made
        let_in.add(MAC)
        assert (await world.ask("/boot/config", session=session)).status == 200
