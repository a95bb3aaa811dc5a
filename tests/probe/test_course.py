"""The course of a simulated boot against servers that a test plays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest

from netboot.dhcp.wire import Kind, Packet
from netboot.errors import ProbeError
from netboot.probe import course, loads
from netboot.probe.course import LEASED_ONLY, Course, Wishes, run
from netboot.probe.loads import Loaded, NotTried
from netboot.probe.offers import Offer
from tests.probe.test_clients import machine
from tests.shadow.talk import answer

SERVER = IPv4Address("10.77.0.1")
Play = Callable[[Packet], list[Packet]]


class Played:
    """A mouth whose words reach a function instead of a network."""

    def __init__(self, play: Play, boot: Play = lambda _: []) -> None:
        self._play, self._boot = play, boot
        self._waiting: list[Packet] = []
        self.said: list[Kind | None] = []

    def say(self, packet: Packet) -> None:
        """To the servers."""
        self.said.append(packet.kind)
        self._waiting += self._play(packet)

    def ask(self, packet: Packet, server: IPv4Address) -> None:
        """To port 4011."""
        self._waiting += self._boot(packet)

    def hear(self, packet: Packet, until: float) -> Iterator[Offer]:
        """What they answered; never waits."""
        while self._waiting:
            found = self._waiting.pop(0)
            yield Offer(IPv4Address(found.options[54]), SERVER, found, 0.01)

    def close(self) -> None:
        """Nothing to do."""


def server(**said: object) -> Play:
    """A server that offers and acknowledges one address."""

    def play(packet: Packet) -> list[Packet]:
        kind = {Kind.DISCOVER: Kind.OFFER, Kind.REQUEST: Kind.ACK}.get(packet.kind or Kind.NAK)
        return [answer(packet, kind, "10.77.0.20", server=str(SERVER), **said)] if kind else []

    return play


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes | ProbeError]:
    """What can be loaded, by URL."""
    there: dict[str, bytes | ProbeError] = {}

    def load(url: str, timeout: float, *, name: str | None = None) -> Loaded:
        data = there.get(url, ProbeError(f"{url}: not found"))
        if isinstance(data, ProbeError):
            raise data
        return Loaded(url, data, len(data), 0.1)

    monkeypatch.setattr(loads, "load", load)
    monkeypatch.setattr(loads, "head", lambda url, timeout: load(url, timeout).size)
    return there


def ran(guise: str, mouth: Played, *, request: bool = False) -> Course:
    """A whole course."""
    return run(machine(guise), mouth, Wishes(0.05, request, lambda: 7))


def steps(found: Course) -> list[str]:
    """The names of its steps."""
    return [step.name for step in found.steps]


def test_it_stops_after_the_offer_and_loads_the_program(files: dict[str, bytes | ProbeError]) -> None:
    """No REQUEST, so that no lease is taken."""
    files["tftp://10.77.0.1/a.efi"] = b"MZ program"
    mouth = Played(server(file=b"a.efi"))
    found = ran("uefi", mouth)
    assert found.boots and found.verdict == "it starts a.efi" and steps(found) == ["offer", "program"]
    assert mouth.said == [Kind.DISCOVER]


def test_with_request_the_address_is_taken_and_given_back(files: dict[str, bytes | ProbeError]) -> None:
    """RELEASE also where the boot fails afterwards."""
    mouth = Played(server(file=b"missing.efi"))
    found = ran("uefi", mouth, request=True)
    assert not found.boots and steps(found) == ["offer", "ack", "program", "release"]
    assert mouth.said == [Kind.DISCOVER, Kind.REQUEST, Kind.RELEASE]


def test_a_refused_address_is_told_with_the_servers_reason() -> None:
    """NAK, and what option 56 says."""

    def play(packet: Packet) -> list[Packet]:
        if packet.kind is Kind.DISCOVER:
            return server()(packet)
        return [answer(packet, Kind.NAK, "0.0.0.0", server=str(SERVER), options={56: b"not yours"})]

    found = ran("system", Played(play), request=True)
    assert not found.boots and "not yours" in found.verdict and "release" not in steps(found)


def test_silence_and_half_words_do_not_boot() -> None:
    """Nobody, no address, an OFFER without its ACK."""
    assert "no server offers" in ran("system", Played(lambda _: [])).verdict
    mute = Played(lambda p: server()(p) if p.kind is Kind.DISCOVER else [])
    assert "does not acknowledge" in ran("system", mute, request=True).verdict
    assert ran("system", Played(server())).boots


def test_every_server_that_offers_is_shown() -> None:
    """The second one, too, which an operator may not know of."""

    def play(packet: Packet) -> list[Packet]:
        return [*server()(packet), answer(packet, Kind.OFFER, "10.77.0.66", server="10.77.0.66")]

    found = ran("system", Played(play))
    assert [s.text.split()[0] for s in found.steps] == ["10.77.0.1", "10.77.0.66"]


def test_a_boot_server_is_asked_as_firmware_asks_it(files: dict[str, bytes | ProbeError]) -> None:
    """Its file is loaded; its silence is what an operator sees as PXE-E16."""
    files["tftp://10.77.0.1/b.efi"] = b"MZ"
    said = server(options={60: b"PXEClient"})
    boot = lambda packet: [answer(packet, Kind.ACK, "0.0.0.0", server=str(SERVER), file=b"b.efi")]  # noqa: E731
    found = ran("uefi", Played(said, boot))
    assert found.boots and steps(found) == ["offer", "boot server", "program"]
    silent = ran("uefi", Played(said))
    assert not silent.boots and "on port 4011, which names no file" in silent.verdict


def test_a_program_must_be_one_that_the_firmware_starts(files: dict[str, bytes | ProbeError]) -> None:
    """UEFI wants MZ, nobody wants nothing; a host without tftpy can only tell what would be loaded."""
    files["tftp://10.77.0.1/x"] = b"\x7fELF"
    assert "does not begin with MZ" in ran("uefi", Played(server(file=b"x"))).verdict
    assert ran("bios", Played(server(file=b"x"))).boots
    files["tftp://10.77.0.1/x"] = b""
    assert "is empty" in ran("bios", Played(server(file=b"x"))).verdict
    files["tftp://10.77.0.1/x"] = NotTried("no tftpy")
    found = ran("bios", Played(server(file=b"x")))
    assert found.boots and "was not tried" in found.verdict and found.steps[-1].good is None


def ipxe(files: dict[str, bytes | ProbeError], first: str, **others: str) -> Course:
    """iPXE with a script, and further ones by name."""
    files["http://h/boot.ipxe"] = b"#!ipxe\n" + first.encode()
    files.update({f"http://h/{name}": text.encode() for name, text in others.items()})
    return ran("ipxe", Played(server(file=b"http://h/boot.ipxe")))


def test_scripts_are_followed_to_the_kernel(files: dict[str, bytes | ProbeError]) -> None:
    """And everything that the last one loads has to be there."""
    second = "#!ipxe\nkernel k\ninitrd i\nboot\n"
    found = ipxe(files, "chain two\n", two=second, k="kernel", i="initrd")
    assert found.boots and found.verdict == "it starts http://h/k"
    assert steps(found) == ["offer", "program", "script", "chain", "script", "file", "file"]
    del files["http://h/i"]
    assert "http://h/i, which cannot be had" in ipxe(files, "chain two\n", two=second, k="kernel").verdict


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no image for you\nsleep 9\nchain http://h/boot.ipxe\n", "no image for you"),
        ("echo nothing here\nexit 0\n", "goes on to the local boot"),
        ("chain gone\n", "cannot load http://h/gone"),
        ("", "starts no kernel"),
    ],
)
def test_a_script_that_starts_nothing_does_not_boot(
    files: dict[str, bytes | ProbeError], script: str, reason: str
) -> None:
    """A wait, an exit, a dead end."""
    found = ipxe(files, script)
    assert not found.boots and reason in found.verdict


def test_scripts_that_lead_on_for_ever_are_left(files: dict[str, bytes | ProbeError]) -> None:
    """After a few."""
    hops = {f"s{i}": f"#!ipxe\nchain s{i + 1}\n" for i in range(course.HOPS + 2)}
    found = ipxe(files, "chain s0\n", **hops)
    assert not found.boots and "on and on" in found.verdict


def test_our_own_answer_to_another_address_counts_as_reached(files: dict[str, bytes | ProbeError]) -> None:
    """The machine's script goes to the leased address alone."""
    found = ipxe(files, f"echo netboot: 10.0.0.9 {LEASED_ONLY} 52:54:00:00:00:01\nchain boot.ipxe\n")
    assert found.boots and "only the leased address" in found.verdict
