"""Sessions over loopback: configurations, reports, logs, and their end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from netboot.errors import JoinWithheld
from tests.boot.identity import Identity
from tests.web.boot.machine import claim_body, claimed, members
from tests.web.boot_site import MAC, NODE, STRANGER, running


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


async def test_without_an_api_to_ask_the_machines_word_ends_its_boot(tmp_path: Path, node: Identity) -> None:
    """Method static without a kubeconfig: nobody else can tell; a join under way is no end."""
    async with running(tmp_path, method="static") as world:
        boot, session = await claimed(world, node)
        assert (await world.ask("/boot/config", session=session)).status == 200
        for detail, state in (("static, attempt 1", "booting"), ("none", "booting"), ("done", "joined")):
            report = {"step": "join", "at": 0.0, "detail": detail, "failed": False}
            await world.ask("/boot/report", method="POST", body=report, session=session)
            current = world.boots.get(boot.id)
            assert current is not None and current.state == state, detail


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
    """`none` or `done` in a report of a machine that is to join ends nothing: its API tells."""
    async with running(tmp_path) as world:
        boot, session = await claimed(world, node)
        for detail in ("none", "done"):
            report = {"step": "join", "at": 0.0, "bytes": None, "of": None, "detail": detail, "failed": False}
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


async def test_a_new_boot_waits_for_the_silence_of_the_last_ones_session(
    tmp_path: Path, node: Identity
) -> None:
    """A machine that restarted is given its credential once its last boot was silent for a while."""
    async with running(tmp_path) as world:
        _, first = await claimed(world, node)
        world.now += 5
        assert (await world.ask("/boot/config", session=first)).status == 200
        world.now += 5
        _, second = await claimed(world, node)
        waits = await world.ask("/boot/config", session=second)
        assert waits.status == 503 and "was alive 5 s ago" in waits.text
        world.now += 15
        assert (await world.ask("/boot/config", session=second)).status == 200


async def test_a_last_session_that_goes_on_proves_a_second_machine(tmp_path: Path, node: Identity) -> None:
    """Somebody with its MAC address opened a boot of their own: no credential, however long they wait."""
    async with running(tmp_path) as world:
        _, victims = await claimed(world, node)
        world.now += 5
        _, thiefs = await claimed(world, node)
        world.now += 5
        assert (await world.ask("/boot/config", session=victims)).status == 404
        world.now += 600
        for _ in range(3):
            answer = await world.ask("/boot/config", session=thiefs)
            assert answer.status == 409 and "two machines have the MAC address" in answer.text
        (alarm,) = [event for event in world.journal.events() if event.kind == "impostor"]
        assert alarm.mac and str(alarm.mac) in alarm.text, "once for a boot, however often it asks"


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


async def test_a_node_knows_the_other_nodes_of_its_cluster_by_name(tmp_path: Path, node: Identity) -> None:
    """Those with reserved addresses, and not itself: the agent writes its own line."""
    async with running(tmp_path) as world:
        other = replace(world.inventory.nodes[0], name="m2", macs=(), address=STRANGER)
        world.inventory = replace(world.inventory, nodes=(*world.inventory.nodes, other))
        _, session = await claimed(world, node)
        found = members((await world.ask("/boot/config", session=session)).body, node)
        assert found["netboot/hosts"] == "127.0.0.66 m2.lab.example.org m2\n"
