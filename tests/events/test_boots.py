"""The timeline of boots: opened, followed, ended, superseded, written in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from ipaddress import IPv4Address

import pytest

from netboot.boot.stall import BOOT_LIFE
from netboot.errors import StoreError
from netboot.events import Boots, Journal, boot_id
from netboot.model.boot import REOPEN_AFTER, STEPS, Boot, Claim, Step
from netboot.model.machine import Mac
from netboot.store.memory import MemoryStore

ONE, TWO, OTHER = (Mac(f"52:54:00:00:00:0{n}") for n in (1, 2, 3))


class Disk(MemoryStore):
    """A store that can be full, and that counts its commits."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self.commits: list[list[str]] = []
        self.written = asyncio.Event()

    async def save_boots(self, boots: Sequence[Boot]) -> None:
        """As the door says."""
        if self.full:
            raise StoreError("database or disk is full")
        self.commits.append([boot.id for boot in boots])
        self.written.set()
        await super().save_boots(boots)


class World:
    """Boots over a store, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.numbers = 0
        self.disk = Disk()
        self.journal = Journal(self.clock)
        self.boots = Boots(self.disk, self.journal, self.clock, self.new_id)
        self.ended: list[Boot] = []
        self.boots.on_end.append(self.ended.append)

    def clock(self) -> float:
        """Now."""
        return self.now

    def new_id(self) -> str:
        """b1, b2, ..."""
        self.numbers += 1
        return f"b{self.numbers}"

    def discover(self, mac: Mac = ONE, node: str = "n1") -> Boot:
        """A DISCOVER of firmware."""
        return self.boots.discovered(mac, node=node, cluster="blue", now=self.now)

    def boot(self, boot_id: str) -> Boot:
        """A boot that is known."""
        found = self.boots.get(boot_id)
        assert found is not None
        return found


@pytest.fixture
def world() -> World:
    """A fresh one."""
    return World()


def test_a_discover_of_firmware_opens_a_boot(world: World) -> None:
    """With its first step, found by id, card and node name."""
    boot = world.discover()
    assert (boot.id, boot.node, boot.cluster, boot.state, boot.started) == (
        "b1",
        "n1",
        "blue",
        "booting",
        1000,
    )
    assert boot.steps == (Step("discover", 1000.0),)
    assert world.boots.current(ONE) == world.boots.of_node("n1") == world.boots.get("b1") == boot


def test_a_further_discover_is_one_more_stage(world: World) -> None:
    """ROM, chain-loaded iPXE and a retry belong to the boot that is under way; the first time stays."""
    world.discover()
    world.now += 30
    assert world.discover().id == "b1"
    assert world.boot("b1").steps == (Step("discover", 1000.0),)


def test_after_ten_minutes_a_discover_opens_a_new_boot(world: World) -> None:
    """Though the old one was never claimed."""
    world.discover()
    world.now += REOPEN_AFTER + 1
    assert world.discover().id == "b2"


def test_a_claimed_boot_is_not_continued_by_a_discover(world: World) -> None:
    """The machine starts again: a new boot."""
    world.boots.claimed(world.discover().id)
    assert world.discover().id == "b2"


def test_a_discover_ends_nobodys_boot(world: World) -> None:
    """Forged DISCOVERs open boots but the session of the claimed one goes on."""
    world.boots.claimed(world.discover().id)
    world.discover()
    world.boots.step("b1", "squashfs", bytes=5, of=10)
    assert world.boot("b1").state == "booting" and world.ended == []


def test_the_next_boots_claim_supersedes_the_old_boot(world: World) -> None:
    """It ends as stopped where it stood, and its end is announced."""
    world.boots.claimed(world.discover().id)
    world.boots.step("b1", "squashfs", bytes=5, of=10)
    world.boots.claimed(world.discover().id)
    old = world.boot("b1")
    assert (old.state, old.stopped_at, old.ended) == ("stopped", "squashfs", 1000.0)
    assert old.cause is not None and "superseded" in old.cause and "b2" in old.cause
    assert [boot.id for boot in world.ended] == ["b1"]
    assert world.boot("b2").state == "booting" and world.boot("b2").claimed


def test_a_claim_does_not_touch_newer_boots_or_other_machines(world: World) -> None:
    """A boot that opened later is not superseded by an older one's late claim."""
    world.discover(OTHER, "n3")
    world.discover()
    world.now += REOPEN_AFTER + 1
    world.discover()
    world.boots.claimed("b2")
    assert world.boot("b3").state == "booting" and world.boot("b1").state == "booting"


def test_two_cards_are_one_machine(world: World) -> None:
    """A declared node's boot goes on whichever card asks, and is found by both."""
    world.discover(ONE)
    assert world.discover(TWO).id == "b1"
    assert world.boots.current(ONE) == world.boots.current(TWO)
    assert world.boot("b1").mac == TWO


def test_steps_stand_in_their_order_and_keep_their_first_time(world: World) -> None:
    """Whatever order they were reported in."""
    world.discover()
    for step in ("script", "offer", "ack"):
        world.now += 1
        world.boots.step("b1", step)
    world.now += 5
    world.boots.step("b1", "offer", detail="again")
    steps = world.boot("b1").steps
    assert [s.step for s in steps] == ["discover", "offer", "ack", "script"]
    assert steps[1] == Step("offer", 1002.0, detail="again")


def test_progress_never_goes_back(world: World) -> None:
    """Reports of the node and of the server overtake each other; details are not lost."""
    world.discover()
    world.boots.step("b1", "squashfs", bytes=80, of=100, detail="mirror 1")
    world.boots.step("b1", "squashfs", bytes=50, of=100)
    assert world.boot("b1").step("squashfs") == Step("squashfs", 1000.0, 80, 100, "mirror 1")
    world.boots.step("b1", "squashfs", bytes=10, of=200)
    assert world.boot("b1").step("squashfs") == Step("squashfs", 1000.0, 10, 200, "mirror 1")


@pytest.mark.parametrize(("at", "taken"), [(1005.0, 1005.0), (0.0, 1010.0), (99999.0, 1010.0)])
def test_a_nodes_wrong_clock_is_not_believed(world: World, at: float, taken: float) -> None:
    """A time before the boot or after now is replaced by ours."""
    world.discover()
    world.now += 10
    world.boots.step("b1", "config", at=at)
    step = world.boot("b1").step("config")
    assert step is not None and step.at == taken


def test_what_a_node_says_is_redacted_escaped_and_cut(world: World) -> None:
    """In details and causes."""
    world.discover()
    said = "\x1b[2J abcdef.0123456789abcdef " + "x" * 5000
    world.boots.step("b1", "join", detail=said)
    world.boots.stop("b1", "join", said)
    boot = world.boot("b1")
    step = boot.step("join")
    assert step is not None and boot.cause is not None
    for text in (step.detail, boot.cause):
        assert "0123456789abcdef" not in text and "\x1b" not in text and len(text) <= 2000


def test_unknown_boots_and_steps_are_counted_and_harmless(world: World) -> None:
    """Nothing to raise at a machine's word."""
    world.discover()
    world.boots.step("nope", "offer")
    world.boots.step("b1", "invented")
    world.boots.stop("nope", "join", "x")
    world.boots.joined("nope")
    world.boots.claimed("nope")
    world.boots.annotate("nope", image="x")
    assert world.journal.counters["boot_steps_ignored"] == 2
    assert world.boot("b1").steps == (Step("discover", 1000.0),)


def test_a_stopped_boot_stays_as_it_is(world: World) -> None:
    """The first cause is the cause, and late steps do not bring it back."""
    world.discover()
    world.boots.stop("b1", "network_script", "exit status 3")
    world.boots.stop("b1", "join", "later")
    world.boots.step("b1", "join")
    boot = world.boot("b1")
    assert (boot.state, boot.stopped_at, boot.cause) == ("stopped", "network_script", "exit status 3")
    assert len(world.ended) == 1 and boot.step("join") is None
    assert world.discover().id == "b2"


def test_a_joined_boot_is_ready(world: World) -> None:
    """It ends with its last step, and is announced once."""
    world.discover()
    world.now += 60
    world.boots.joined("b1")
    world.boots.joined("b1")
    boot = world.boot("b1")
    assert (boot.state, boot.ended) == ("joined", 1060.0)
    assert boot.step("ready") == Step("ready", 1060.0)
    assert [b.state for b in world.ended] == ["joined"]


def test_a_machine_that_joins_nothing_is_not_called_ready(world: World) -> None:
    """Join method none: joined in state, without the step of a Node object."""
    world.discover()
    world.boots.step("b1", "join", detail="none")
    world.boots.joined("b1")
    assert world.boot("b1").state == "joined" and world.boot("b1").step("ready") is None


def test_facts_are_added_as_they_become_known(world: World) -> None:
    """Image and generation; a new name files the boot under it."""
    world.discover()
    world.boots.annotate("b1", image="debian-12", generation="ab" * 32)
    assert world.boot("b1").image == "debian-12"
    world.boots.annotate("b1", node="renamed")
    assert world.boots.of_node("n1") is None
    assert world.boots.of_node("renamed") == world.boots.current(ONE) == world.boot("b1")


def test_quirks_are_kept_once_each_and_no_more_than_some(world: World) -> None:
    """Firmware, then iPXE: both are told of one boot; a boot that is over changes no more."""
    world.discover()
    world.boots.followed("b1", ("bios-pxe (class PXEClient)",))
    world.boots.followed("b1", ("bios-pxe (class PXEClient)", "ipxe (iPXE)"))
    assert world.boot("b1").quirks == ("bios-pxe (class PXEClient)", "ipxe (iPXE)")
    world.boots.followed("b1", tuple(f"q{i}" for i in range(99)))
    assert len(world.boot("b1").quirks) == Boots.QUIRKS
    world.boots.followed("nope", ("x",))
    world.boots.stop("b1", "claim", "gone")
    world.boots.followed("b1", ("late",))
    assert "late" not in world.boot("b1").quirks


def test_a_listener_that_fails_harms_nobody(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The boot ends, the other listeners hear of it, the failure is logged."""

    def fails(_: Boot) -> None:
        raise RuntimeError("listener")

    world.boots.on_end.insert(0, fails)
    world.discover()
    world.boots.stop("b1", "join", "x")
    assert [b.id for b in world.ended] == ["b1"]
    assert "what follows the end of boot b1 failed" in caplog.text


# Silence


def test_a_silent_boot_is_reported_and_goes_on_when_it_speaks(world: World) -> None:
    """Stopped with step and cause, but not over: the next sign of life revives it."""
    world.discover()
    world.boots.step("b1", "offer")
    world.now += 61
    world.boots.watch()
    silent = world.boot("b1")
    assert (silent.state, silent.stopped_at, silent.ended) == ("stopped", "ack", None)
    assert silent.cause is not None and "another DHCP server" in silent.cause
    assert world.journal.counters["boot_stalled"] == 1 and world.ended == []
    assert world.discover().id == "b1"
    world.boots.step("b1", "ack")
    assert (world.boot("b1").state, world.boot("b1").cause) == ("booting", None)


def test_progress_is_a_sign_of_life_and_repetition_is_none(world: World) -> None:
    """One more byte keeps a download alive; the same DISCOVER again and again does not."""
    world.discover()
    for step in ("claim", "squashfs"):
        world.boots.step("b1", step, bytes=0, of=1000)
    for sent in range(1, 9):
        world.now += 100
        world.boots.step("b1", "squashfs", bytes=sent, of=1000)
        world.boots.watch()
    assert world.boot("b1").state == "booting"
    for _ in range(5):
        world.now += 30
        world.boots.step("b1", "squashfs", bytes=8, of=1000)
        world.boots.watch()
    assert world.boot("b1").stopped_at == "squashfs"


def test_a_boot_is_over_after_its_hour(world: World) -> None:
    """Ended for good, so that its session and its token go."""
    world.boots.claimed(world.discover().id)
    world.now += BOOT_LIFE
    world.boots.watch()
    boot = world.boot("b1")
    assert boot.ended == world.now and boot.cause is not None and "one hour" in boot.cause
    assert [b.id for b in world.ended] == ["b1"]


def test_our_own_downtime_is_nobodys_silence(world: World) -> None:
    """After a restart the watch starts anew, for boots that are not over."""

    async def restart() -> Boots:
        world.discover()
        world.boots.step("b1", "kernel")
        await world.boots.flush()
        world.now += 1000
        again = Boots(world.disk, world.journal, world.clock, world.new_id)
        await again.start()
        return again

    again = asyncio.run(restart())
    again.watch()
    found = again.current(ONE)
    assert found is not None and found.state == "booting"
    again.step("b1", "initrd")
    assert [s.step for s in found.steps] == ["discover", "kernel"] and again.get("b1") != found


# The store


async def test_a_key_that_was_burnt_right_before_a_kill_is_known_again(world: World) -> None:
    """The claim is on disk, the boot's last second is not: the next DISCOVER must open a new boot."""
    world.discover()
    await world.boots.flush()
    await world.disk.burn(Claim("b1", IPv4Address("10.0.0.5"), "aa", "CERTIFICATE", "bb", 1000.0))
    world.boots = Boots(world.disk, world.journal, world.clock, world.new_id)
    await world.boots.start()
    assert world.boot("b1").claimed and world.boot("b1").step("claim")
    assert world.discover().id == "b2"


async def test_changes_are_written_in_batches(world: World) -> None:
    """One commit for all that changed, none where nothing did."""
    world.discover()
    world.boots.step("b1", "offer")
    world.discover(OTHER, "n3")
    await world.boots.flush()
    await world.boots.flush()
    assert world.disk.commits == [["b1", "b2"]]
    assert [s.step for s in (await world.disk.boots())[1].steps] == ["discover", "offer"]


async def test_a_full_disk_is_survived_and_reported_once(world: World) -> None:
    """What changed stays queued and is written when there is room again."""
    world.disk.full = True
    world.discover()
    await world.boots.flush()
    world.boots.step("b1", "offer")
    await world.boots.flush()
    assert world.journal.counters["store_failed"] == 1
    world.disk.full = False
    await world.boots.flush()
    assert world.journal.counters["store_healed"] == 1
    assert [s.step for s in (await world.disk.boots())[0].steps] == ["discover", "offer"]


async def test_run_writes_by_itself(world: World) -> None:
    """Until it is cancelled."""
    world.discover()
    running = asyncio.ensure_future(world.boots.run())
    await asyncio.wait_for(world.disk.written.wait(), 20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


# Bounds


def test_a_machine_keeps_its_last_boots(world: World) -> None:
    """The oldest is forgotten."""
    for _ in range(Boots.PER_MACHINE + 3):
        world.boots.stop(world.discover().id, "join", "x")
    found = world.boots.all(ONE)
    assert len(found) == Boots.PER_MACHINE
    assert found[0].id == f"b{Boots.PER_MACHINE + 3}"
    assert world.boots.get("b1") is None


def test_invented_machines_push_out_each_other_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of forged DISCOVERs is bounded, and a machine that took its address stays."""
    monkeypatch.setattr(Boots, "LIMIT", 50)
    world.boots.step(world.discover().id, "ack")
    for number in range(500):
        world.discover(Mac.from_bytes((number + 1000).to_bytes(6, "big")), f"forged-{number}")
    assert len(world.boots._boots) == 50
    assert len(world.boots._heard) == len(world.boots._dirty) == 50
    assert len(world.boots._macs) == len(world.boots._machines) == 50
    assert world.boots.current(ONE) is not None


async def test_a_flood_of_visitors_is_written_nowhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undeclared machines that took no address cost little memory, no line and no write."""
    monkeypatch.setattr(Boots, "VISITORS", 50)
    for number in range(500):
        mac, name = Mac.from_bytes((number + 1000).to_bytes(6, "big")), f"forged-{number}"
        boot = world.boots.discovered(mac, node=name, cluster="blue", now=world.now, declared=False)
        world.boots.step(boot.id, "offer")
    assert len(world.boots._boots) == len(world.boots._visitors) == 50
    assert len(world.boots._heard) == len(world.boots._macs) == len(world.boots._machines) == 50
    await world.boots.flush()
    assert not world.disk.commits and not world.journal.events()
    world.now += 90
    world.boots.watch()
    assert world.boots.all()[0].state == "stopped" and not world.journal.events()


async def test_a_visitor_that_takes_its_address_is_a_machine_like_others(world: World) -> None:
    """From the ACK on its whole boot is written and told."""
    boot = world.boots.discovered(ONE, node="node-1", cluster="blue", now=world.now, declared=False)
    world.boots.step(boot.id, "offer")
    await world.boots.flush()
    assert not world.disk.commits
    world.boots.step(boot.id, "ack")
    await world.boots.flush()
    assert [s.step for s in (await world.disk.boots())[0].steps] == ["discover", "offer", "ack"]
    assert [e.kind for e in world.journal.events()] == ["boot_step"]


def test_boots_are_listed_newest_first(world: World) -> None:
    """Of all machines, or of one; limited."""
    for number in range(5):
        world.now += 1
        world.discover(Mac.from_bytes((number + 10).to_bytes(6, "big")), f"m{number}")
    assert [b.id for b in world.boots.all(limit=3)] == ["b5", "b4", "b3"]
    assert world.boots.all(OTHER) == []


def test_ids_sort_by_time() -> None:
    """Short, hex, and never the same for the same second by chance alone."""
    ids = [boot_id(now, b"\xff\x00\xff\x00") for now in (1.0, 15.0, 16.0, 1_700_000_000.0)]
    assert ids == sorted(ids) and {len(i) for i in ids} == {16}


def test_the_stream_gets_every_change(world: World) -> None:
    """Subscribers see the boot as it is after each step."""
    queue = world.journal.subscribe()
    world.discover()
    seen = [queue.get_nowait() for _ in range(queue.qsize())]
    boots = [value for topic, value in seen if topic == "boot"]
    assert boots[-1] == world.boot("b1")
    assert set(STEPS) >= {s.step for b in boots if isinstance(b, Boot) for s in b.steps}
