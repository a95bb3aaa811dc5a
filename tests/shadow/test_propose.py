"""Undeclared machines become nodes that the file takes."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from uuid import UUID

from netboot.config import examine
from netboot.model.inventory import Node
from netboot.model.machine import Mac
from netboot.observe import Rehearsal, stand_in
from netboot.shadow import propose
from netboot.shadow.assess import assess
from netboot.shadow.exchange import Exchanges
from netboot.shadow.propose import Machines
from tests.dhcp.world import PXE_X64, inventory
from tests.shadow.talk import CATCH_ALL, NODE, STRANGER, config, datagrams, four
from tests.shadow.talk import UUID as ONE

SECOND = Mac("52:54:00:99:00:02")
THIRD = Mac("52:54:00:99:00:03")
FIRMWARE = {**PXE_X64, 97: b"\0" + UUID(ONE).bytes}


async def machines(*talks: list[object], path: Path | None = None) -> tuple[Machines, str]:
    """The machines of some exchanges, and the proposal for the file."""
    stock = stand_in(examine([path]).seen) if path else inventory()
    found, exchanges, server = Machines(), Exchanges(), Rehearsal(stock, 80)
    for number, talk in enumerate(talks):
        for each in datagrams(talk, at=1000.0 + 100 * number):  # type: ignore[arg-type]
            list(exchanges.hear(each))
        for exchange in list(exchanges.end()):
            finding = await assess(exchange, stock, server)
            assert finding is not None
            found.take(finding)
    return found, propose.text(found, stock)


def declared(*paths: Path) -> list[Node]:
    """The nodes of an accepted file."""
    found = examine(list(paths))
    assert not found.problems, found.problems
    return [n for n in found.seen.inventory.nodes if n.name != "m1"]


def pasted(path: Path, text: str) -> Path:
    """The file with the proposal's nodes pasted below the pool's own."""
    nodes = text.partition("    nodes:\n")[2]
    path.with_name("pasted.yaml").write_text(path.read_text() + nodes)
    return path.with_name("pasted.yaml")


async def test_a_proposal_is_accepted_pasted_and_as_a_further_file(tmp_path: Path) -> None:
    """Name, cards, UUID and address come back as they were seen."""
    path = config(tmp_path)
    _, text = await machines(
        four(STRANGER, "10.77.0.31", FIRMWARE, options={12: b"web1.lab.test"}),
        four(SECOND, "10.77.0.32", FIRMWARE),
        four(THIRD, "10.77.0.33", {12: b"Db_2"}),
        path=path,
    )
    extra = tmp_path / "found.yaml"
    extra.write_text(text)
    for nodes in (declared(pasted(path, text)), declared(path, extra)):
        assert [(n.name, n.macs, str(n.address), n.uuid) for n in nodes] == [
            ("web1", (STRANGER, SECOND), "10.77.0.31", ONE),
            ("db-2", (THIRD,), "10.77.0.33", None),
        ]
    assert "PXEClient:Arch:00007" in text and "UEFI x64 PXE" in text


async def test_cards_of_one_uuid_are_one_machine_and_no_card_is_lost() -> None:
    """All of its MACs stand in one list."""
    found, text = await machines(
        four(STRANGER, "10.77.0.31", FIRMWARE),
        four(SECOND, "10.77.0.32", FIRMWARE),
        four(THIRD, "10.77.0.33"),
    )
    assert f"macs: [{STRANGER}, {SECOND}]" in text and f"macs: [{THIRD}]" in text and len(found) == 3
    assert f"# had 10.77.0.32 from 10.77.0.2: {SECOND}; a node has one address" in text


async def test_a_uuid_that_a_whole_rack_shares_joins_nobody(tmp_path: Path) -> None:
    """More cards than a machine has, or different host names: each stands alone, one with the UUID."""
    path = config(tmp_path)
    cards = [Mac.from_bytes(b"\x52\x54\0\x98\0" + bytes([i])) for i in range(propose.MOST_CARDS + 1)]
    _, text = await machines(
        *(four(m, f"10.77.0.{30 + i}", FIRMWARE) for i, m in enumerate(cards)), path=path
    )
    nodes = declared(pasted(path, text))
    assert [n.macs for n in nodes] == [(mac,) for mac in cards]
    assert sum(n.uuid is not None for n in nodes) == 1
    named = [
        four(STRANGER, "10.77.0.31", {**FIRMWARE, 12: b"a"}),
        four(SECOND, "10.77.0.32", {**FIRMWARE, 12: b"b"}),
    ]
    assert len(declared(pasted(path, (await machines(*named, path=path))[1]))) == 2


async def test_addresses_that_the_file_could_not_hold_are_told_in_comments(tmp_path: Path) -> None:
    """Dynamic, the gateway's, another node's, of no network: the node is proposed without."""
    path = config(tmp_path)
    taken = ["10.77.0.150", "10.77.0.254", "10.77.0.20", "10.77.0.44", "10.77.0.44"]
    cards = [Mac.from_bytes(b"\x52\x54\0\x98\0" + bytes([i])) for i in range(len(taken))]
    _, text = await machines(*(four(m, a) for m, a in zip(cards, taken, strict=True)), path=path)
    nodes = declared(pasted(path, text))
    assert [n.address for n in nodes] == [None, None, None, IPv4Address("10.77.0.44"), None]
    for why in ("dynamic in network lab", "the network's own", "another node's"):
        assert f": {why}" in text


async def test_what_machines_say_of_themselves_breaks_no_yaml(tmp_path: Path) -> None:
    """Names and classes with line breaks, quotes and YAML's own words."""
    path = config(tmp_path, CATCH_ALL)
    names = [b"null", b'a"]\nb: {', b"123", b"node-525400990009", b"m1", b"-", b"\xff\xfe", b"x" * 200]
    cards = [Mac.from_bytes(b"\x52\x54\0\x98\0" + bytes([i])) for i in range(len(names))]
    talks = [
        four(mac, f"10.77.0.{30 + i}", {12: name, 60: b"evil\n      - name: injected\x85x\xe2\x80\xa8y"})
        for i, (mac, name) in enumerate(zip(cards, names, strict=True))
    ]
    _, text = await machines(*talks, path=path)
    extra = tmp_path / "found.yaml"
    extra.write_text(text)
    nodes = declared(path, extra)
    assert [n.macs for n in nodes] == [(mac,) for mac in cards]
    assert [n.name for n in nodes][:5] == ["null", "a-b", "123", "node-525400980003", "m1-980004"]
    assert "injected" not in {n.name for n in nodes} and text.isascii()


async def test_a_network_without_a_range_takes_no_node_without_an_address(tmp_path: Path) -> None:
    """Such a node is proposed as a comment, so that the file stays right."""
    path = config(tmp_path)
    path.write_text(path.read_text().replace("range: 10.77.0.100-10.77.0.199, ", ""))
    _, text = await machines(four(STRANGER, "10.77.0.254"), four(SECOND, "10.77.0.32"), path=path)
    assert [n.macs for n in declared(pasted(path, text))] == [(SECOND,)]
    assert f"#  macs: [{STRANGER}]" in text


async def test_only_undeclared_machines_that_somebody_would_serve_are_proposed() -> None:
    """No declared card, and no passing telephone that nobody answers."""
    found, text = await machines(four(NODE, "10.77.0.20"), four(STRANGER, "10.77.0.31")[:1])
    assert not len(found) and "nothing to add" in text
    assert len((await machines(four(STRANGER, "10.77.0.31", FIRMWARE)[:1]))[0]) == 1


async def test_memory_is_bounded(monkeypatch: object) -> None:
    """A flood of invented machines pushes the oldest out."""
    from pytest import MonkeyPatch

    assert isinstance(monkeypatch, MonkeyPatch)
    monkeypatch.setattr(propose, "MOST", 3)
    cards = [Mac.from_bytes(b"\x52\x54\0\x98\0" + bytes([i])) for i in range(5)]
    found, _ = await machines(*(four(m, f"10.77.0.{30 + i}") for i, m in enumerate(cards)))
    assert len(found) == 3
