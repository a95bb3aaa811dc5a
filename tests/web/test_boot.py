"""The boot port over loopback: whole boots, and everything that somebody may try against them."""

from __future__ import annotations

import io
import json
import logging
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from netboot.boot.key import boot_key
from netboot.boot.session import BY_TFTP
from netboot.boot.stall import DISK
from netboot.errors import JoinWithheld, StoreError
from netboot.model.boot import Boot
from netboot.model.lease import Lease
from netboot.model.settings import Settings
from netboot.proc import Progress
from tests.boot.identity import Identity, identity
from tests.web.boot_site import MAC, NODE, OTHER, SECRET, STRANGER, TOKEN, World, running

HASH = "$6$canary$0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """A node's key and certificate, made by openssl as the initrd does."""
    return identity(tmp_path_factory.mktemp("node"))


def claim_body(node: Identity, mac: str = MAC, **changes: object) -> dict[str, object]:
    uuid = "4c4c4544-0042-3510-8054-b4c04f564232"
    return {"mac": mac, "uuid": uuid, "certificate": node.pem, "csr": "", **changes}


async def claimed(world: World, node: Identity) -> tuple[Boot, str]:
    """A machine with a lease that asked its script and claimed: its boot and session."""
    boot = await world.lease()
    await world.script()
    answer = await world.ask(f"/boot/{world.key(boot)}/claim", method="POST", body=claim_body(node))
    assert answer.status == 200, answer.text
    return boot, answer.json["session"]


def members(sealed: bytes, node: Identity) -> dict[str, str]:
    """The configuration as the agent reads it: opened by openssl, unpacked by tar."""
    with tarfile.open(fileobj=io.BytesIO(node.open(sealed))) as tar:
        return {m.name: (tar.extractfile(m) or io.BytesIO()).read().decode() for m in tar.getmembers()}


# --- a whole boot


async def test_a_machine_goes_from_script_to_configuration(tmp_path: Path, node: Identity) -> None:
    """Script, seed, claim and sealed configuration follow each other, and the boot's steps tell it."""
    async with running(tmp_path, root_password_hash=HASH) as world:
        boot = await world.lease()
        script = await world.script()
        assert script.status == 200 and f"/boot/{world.key(boot)}/seed.cpio" in script.text
        seed = await world.ask(f"/boot/{world.key(boot)}/seed.cpio")
        assert seed.status == 200 and world.key(boot).encode() in seed.body
        claim = await world.ask(f"/boot/{world.key(boot)}/claim", method="POST", body=claim_body(node))
        assert claim.json["node"] == "m1c29"
        config = await world.ask("/boot/config", session=claim.json["session"])
        assert config.status == 200 and config.headers["content-type"] == "application/cms"
        found = members(config.body, node)
        assert found["netboot/hostname"] == "m1c29\n" and TOKEN in found["netboot/join/kubeadm.yaml"]
        assert found["netboot/root_password_hash"] == f"{HASH}\n"
        current = world.boots.get(boot.id)
        assert current is not None and current.claimed and current.image == "debian-12"
        assert [s.step for s in current.steps] == ["discover", "ack", "script", "seed", "claim", "config"]
        assert current.system_uuid == "4c4c4544-0042-3510-8054-b4c04f564232"
        assert world.handed_out == [boot.id]


async def test_the_claim_turns_the_boot_lease_into_the_networks(tmp_path: Path, node: Identity) -> None:
    """After the 200 the address is held for the network's whole lease."""
    async with running(tmp_path) as world:
        await claimed(world, node)
        lease = await world.store.lease_at(NODE)
        assert lease is not None and lease.expires == world.now + 12 * 3600.0


async def test_scripts_come_from_the_networks_address(tmp_path: Path) -> None:
    """URLs are made of the network's address; the Host header is never looked at."""
    async with running(tmp_path) as world:
        await world.lease()
        for answer in (
            await world.ask("/boot.ipxe"),
            await world.ask("/boot.ipxe.0"),
            await world.ask("/programs/autoexec.ipxe"),
            await world.script(),
        ):
            assert answer.status == 200 and "http://127.0.0.1/" in answer.text
            assert "evil" not in answer.text and answer.text.startswith("#!ipxe\n")


async def test_a_machine_that_joins_nothing_is_done_with_its_report(tmp_path: Path, node: Identity) -> None:
    """With join method none the report of step join ends the boot as joined, and its session."""
    async with running(tmp_path, method="none", kubelet_args={"v": "2"}) as world:
        boot, session = await claimed(world, node)
        config = await world.ask("/boot/config", session=session)
        found = members(config.body, node)
        assert found["netboot/join/method"] == "none\n" and "--v=2" in found["netboot/kubelet.env"]
        report = {"step": "join", "at": 0.0, "bytes": None, "of": None, "detail": "none", "failed": False}
        assert (await world.ask("/boot/report", method="POST", body=report, session=session)).status == 204
        ended = world.boots.get(boot.id)
        assert ended is not None and ended.state == "joined"
        assert (await world.ask("/boot/config", session=session)).status == 404


async def test_a_last_word_after_the_join_raises_no_alarm(tmp_path: Path, node: Identity) -> None:
    """A report that crossed with the news of its end is answered 404 and counted, not told as a refusal."""
    async with running(tmp_path, method="none") as world:
        boot, session = await claimed(world, node)
        world.boots.joined(boot.id)
        report = {"step": "join", "at": 0.0, "bytes": None, "of": None, "detail": "done", "failed": False}
        assert (await world.ask("/boot/report", method="POST", body=report, session=session)).status == 404
        assert world.journal.counters["boot_too_late"] == 1
        assert world.journal.counters["boot_refused"] == 0


async def test_a_node_of_a_cluster_cannot_call_itself_joined(tmp_path: Path, node: Identity) -> None:
    """`none` in a report of a machine that is to join ends nothing."""
    async with running(tmp_path) as world:
        boot, session = await claimed(world, node)
        report = {"step": "join", "at": 0.0, "bytes": None, "of": None, "detail": "none", "failed": False}
        await world.ask("/boot/report", method="POST", body=report, session=session)
        current = world.boots.get(boot.id)
        assert current is not None and current.state == "booting"


async def test_a_failed_report_stops_the_boot_with_its_reason(tmp_path: Path, node: Identity) -> None:
    """The node's own words become the cause; it may still send its log, but gets no configuration."""
    async with running(tmp_path) as world:
        boot, session = await claimed(world, node)
        report = {"step": "network_script", "at": 1.0, "detail": "exit status 3\nline", "failed": True}
        await world.ask("/boot/report", method="POST", body=report, session=session)
        stopped = world.boots.get(boot.id)
        assert stopped is not None and (stopped.state, stopped.stopped_at) == ("stopped", "network_script")
        assert stopped.cause is not None and "exit status 3" in stopped.cause and "\n" not in stopped.cause
        assert (await world.ask("/boot/log", method="POST", body=b"a line\n", session=session)).status == 204
        assert world.journal.events(MAC)[0].text == "a line"
        assert (await world.ask("/boot/config", session=session)).status == 404


async def test_progress_of_workers_becomes_steps(tmp_path: Path) -> None:
    """What a worker sent of a kernel, an initrd, a squashfs or a program is a step of the boot."""
    async with running(tmp_path) as world:
        boot = await world.lease()
        paths = (
            "/programs/snponly.efi",
            "/images/a/b/vmlinuz",
            "/images/a/b/root.squashfs",
            "/files/vmlinuz",
        )
        for path in paths:
            world.http.progress(Progress(boot.id, str(NODE), path, 5, 10, False))
        world.http.progress(Progress(None, str(NODE), "/images/a/b/initrd.img", 5, 10, False))
        current = world.boots.get(boot.id)
        assert current is not None
        steps = {s.step: (s.bytes, s.of) for s in current.steps if s.bytes}
        assert steps == {"program": (5, 10), "kernel": (5, 10), "squashfs": (5, 10)}


# --- scripts for machines that boot nothing


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


# --- who gets a secret


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
        assert (await world.ask(path, method="POST", body=other)).status == 404
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


# --- sessions


async def test_a_wrong_or_foreign_session_gets_404(tmp_path: Path, node: Identity) -> None:
    """No session, a made-up one, one of another boot's name: 404 everywhere, with one text."""
    async with running(tmp_path) as world:
        boot, session = await claimed(world, node)
        forged = f"{boot.id}.{'A' * 43}"
        report: dict[str, object] = {"step": "config", "at": 0, "detail": "", "failed": True}
        changed = session[:-2] + ("AA" if session[-2:] != "AA" else "BB")
        for wrong in (None, forged, changed, "x" * 40, f"boot9999.{'A' * 43}"):
            answers = [
                await world.ask("/boot/config", session=wrong),
                await world.ask("/boot/report", method="POST", body=report, session=wrong),
                await world.ask("/boot/log", method="POST", body=b"x", session=wrong),
            ]
            assert [a.status for a in answers] == [404, 404, 404] and len({a.text for a in answers}) == 1
        current = world.boots.get(boot.id)
        assert current is not None and current.state == "booting"


async def test_a_session_ends_after_an_hour(tmp_path: Path, node: Identity) -> None:
    """One hour after the claim the session is dead."""
    async with running(tmp_path) as world:
        _, session = await claimed(world, node)
        world.now += 3601
        assert (await world.ask("/boot/config", session=session)).status == 404


async def test_only_the_next_claim_ends_a_session(tmp_path: Path, node: Identity) -> None:
    """A DISCOVER or a script of a new boot leaves the old session alone; its claim ends it."""
    async with running(tmp_path) as world:
        old, session = await claimed(world, node)
        new = await world.lease()
        await world.script()
        assert new.id != old.id and (await world.ask("/boot/config", session=session)).status == 200
        world.now += 1
        claim = await world.ask(f"/boot/{world.key(new)}/claim", method="POST", body=claim_body(node))
        assert claim.status == 200
        assert (await world.ask("/boot/config", session=session)).status == 404
        ended = await world.store.claim_of(old.id)
        assert ended is not None and ended.ended


async def test_a_newer_claim_ends_the_session_though_a_crash_hid_it(tmp_path: Path, node: Identity) -> None:
    """The store's burnt key counts, even where the news of it was lost with a crash."""
    async with running(tmp_path) as world:
        old, session = await claimed(world, node)
        new = await world.lease()
        standing = await world.store.claim_of(old.id)
        assert standing is not None
        await world.store.burn(replace(standing, boot_id=new.id))
        assert (await world.ask("/boot/config", session=session)).status == 404


async def test_a_session_outlives_a_restart(tmp_path: Path, node: Identity) -> None:
    """Another process over the same store: the identical claim, the session and the configuration go on."""
    async with running(tmp_path) as world:
        boot, session = await claimed(world, node)
        await world.boots.flush()
        async with running(tmp_path / "again", store=world.store) as after:
            after.neighbours[NODE] = MAC
            await after.boots.start()
            path = f"/boot/{after.key(boot)}/claim"
            again = await after.ask(path, method="POST", body=claim_body(node))
            assert (again.status, again.json["session"]) == (200, session)
            config = await after.ask("/boot/config", session=session)
            assert config.status == 200 and members(config.body, node)["netboot/hostname"] == "m1c29\n"


async def test_a_session_is_not_bound_to_the_address(tmp_path: Path, node: Identity) -> None:
    """network.sh may change the address: the session goes with the machine."""
    async with running(tmp_path) as world:
        _, session = await claimed(world, node)
        assert (await world.ask("/boot/config", session=session, source=STRANGER)).status == 200


async def test_a_boot_gets_five_credentials(tmp_path: Path, node: Identity) -> None:
    """The sixth configuration of a boot is withheld for good, with the reason."""
    async with running(tmp_path) as world:
        boot, session = await claimed(world, node)
        answers = [await world.ask("/boot/config", session=session) for _ in range(6)]
        assert [a.status for a in answers] == [200] * 5 + [409] and "five" in answers[-1].text
        assert world.join.made == [boot.id] * 5


async def test_a_claimed_boot_keeps_its_assignment_over_a_reload(tmp_path: Path, node: Identity) -> None:
    """A reload changes boots that are not claimed yet, not this one."""
    async with running(tmp_path, timezone="Europe/Prague") as world:
        _, session = await claimed(world, node)
        changed = replace(world.inventory.nodes[0], settings=Settings(timezone="UTC"))
        world.inventory = replace(world.inventory, nodes=(changed,))
        found = members((await world.ask("/boot/config", session=session)).body, node)
        assert found["netboot/timezone"] == "Europe/Prague\n"


@pytest.mark.parametrize(("retry_after", "status"), [(7.0, 503), (None, 409)])
async def test_a_withheld_credential_says_why(
    tmp_path: Path, node: Identity, retry_after: float | None, status: int
) -> None:
    """For a while: 503 with Retry-After; for good: 409. The reason is in the body and in the boot."""
    async with running(tmp_path) as world:
        boot, session = await claimed(world, node)
        world.join.withheld = JoinWithheld("a Node object of that name is Ready", retry_after)
        answer = await world.ask("/boot/config", session=session)
        assert answer.status == status and "is Ready" in answer.text
        assert (int(answer.headers.get("retry-after", "0")) >= 7) is (status == 503)
        current = world.boots.get(boot.id)
        step = current.step("config") if current else None
        assert step is not None and "is Ready" in step.detail
        assert world.handed_out == []


async def test_a_setting_that_cannot_be_written_takes_the_credential_back(
    tmp_path: Path, node: Identity
) -> None:
    """Nothing is handed out, and the new credential is revoked."""
    async with running(tmp_path, hosts={"not an address": ("x",)}) as world:
        boot, session = await claimed(world, node)
        answer = await world.ask("/boot/config", session=session)
        assert answer.status == 409 and "hosts" in answer.text and world.join.revoked == [boot.id]


async def test_a_boot_that_ends_while_its_credential_is_made_gets_nothing(
    tmp_path: Path, node: Identity
) -> None:
    """A new claim in between: the credential is taken back, and the old boot is told nothing."""
    async with running(tmp_path) as world:
        boot, session = await claimed(world, node)
        world.join.meanwhile = lambda: world.boots.stop(boot.id, "config", "superseded")
        answer = await world.ask("/boot/config", session=session)
        assert answer.status == 404 and world.join.revoked == [boot.id] and world.handed_out == []


# --- bad input


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


@pytest.mark.parametrize(
    ("path", "size"), [("/boot/claim", 16385), ("/boot/report", 4097), ("/boot/log", 65537)]
)
async def test_a_body_that_is_too_large_is_not_read(tmp_path: Path, path: str, size: int) -> None:
    """413 at the head, before the body is there."""
    async with running(tmp_path) as world:
        raw = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
        assert (await world.send(raw)).status == 413


async def test_reports_are_bounded_and_checked(tmp_path: Path, node: Identity) -> None:
    """A step of ours, a wrong type, a negative number: 400; control characters are escaped."""
    async with running(tmp_path) as world:
        boot, session = await claimed(world, node)
        for bad in (
            {"step": "ready"},
            {"step": "config", "bytes": -1},
            {"step": "config", "bytes": True},
            {"step": "config", "failed": "yes"},
            {"step": "config", "detail": 3},
        ):
            answer = await world.ask("/boot/report", method="POST", body=dict(bad), session=session)
            assert answer.status == 400
        good: dict[str, object] = {"step": "squashfs", "bytes": 5, "of": 9, "detail": "a\x1b[31mb\r\nc"}
        assert (await world.ask("/boot/report", method="POST", body=good, session=session)).status == 204
        current = world.boots.get(boot.id)
        step = current.step("squashfs") if current else None
        assert step is not None and step.bytes == 5 and step.detail.isprintable()


async def test_log_lines_are_bounded(tmp_path: Path, node: Identity) -> None:
    """A boot may send so many lines and no more; each is one event without control characters."""
    async with running(tmp_path) as world:
        _, session = await claimed(world, node)
        body = b"".join(b"line %d \x1b[1m\n" % n for n in range(2500))
        for _ in range(12):
            await world.ask("/boot/log", method="POST", body=body, session=session)
        assert world.journal.counters["node_log"] == 2000
        assert all(event.text.isprintable() for event in world.journal.events(limit=100))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/etc/passwd", 404),
        ("GET", f"/boot/{'0' * 31}/seed.cpio", 404),
        ("GET", f"/boot/{'0' * 32}/seed.cpio", 404),
        ("DELETE", "/nothing", 501),
        ("POST", "/boot.ipxe", 405),
        ("HEAD", "/boot/config", 405),
        ("GET", "/boot/claim", 405),
    ],
)
async def test_other_paths_and_methods(tmp_path: Path, method: str, path: str, status: int) -> None:
    """Everything else is answered with its status and a text of ours."""
    async with running(tmp_path) as world:
        assert (await world.ask(path, method=method)).status == status


async def test_a_failure_inside_ends_one_request_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in one answer is a 500 and a log line; the next request is answered."""
    async with running(tmp_path) as world:
        world.store.lease_at = None  # type: ignore[method-assign, assignment]
        assert (await world.script()).status == 500
        assert (await world.ask("/boot.ipxe")).status == 200
        assert any(record.levelno == logging.ERROR for record in caplog.records)


async def test_secrets_are_found_nowhere_but_at_their_node(
    tmp_path: Path, node: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Key, session, token and hash stand in no event, log record, boot or foreign answer."""
    caplog.set_level(logging.DEBUG)
    async with running(tmp_path, root_password_hash=HASH) as world:
        boot, session = await claimed(world, node)
        key = world.key(boot)
        config = await world.ask("/boot/config", session=session)
        assert HASH in "".join(members(config.body, node).values())
        answers = [
            await world.ask(f"/boot/{key}/seed.cpio", source=STRANGER),
            await world.ask(f"/boot/{key}/claim", method="POST", body=claim_body(node), source=STRANGER),
            await world.ask("/boot/report", method="POST", body=b"{}", session=session),
            await world.script(source=STRANGER),
            await world.script(),
        ]
        told = "".join(a.text for a in answers) + config.body.decode("latin-1")
        kept = repr(world.boots.all()) + repr(world.journal.events(limit=1000)) + repr(world.journal.counters)
        logged = "".join(record.getMessage() for record in caplog.records)
        for secret in (key, session, session.rpartition(".")[2], TOKEN, HASH, "a secret of thirty"):
            assert secret not in told and secret not in kept and secret not in logged
        assert f"/boot/{key[:6]}.../claim" in logged


def test_the_session_answer_is_one_line_of_json() -> None:
    """The initrd reads it with sed: no blanks between names and values."""
    from netboot.web.boot import _json

    assert _json({"session": "a", "node": "b"}).body == b'{"session":"a","node":"b"}\n'
    assert json.loads(_json({"a": 'x"y'}).body) == {"a": 'x"y'}
