"""The verb `probe`: where it may send, and what it prints."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

import pytest

from netboot.cli import main, probe
from netboot.model.machine import Mac
from netboot.probe.clients import Machine
from netboot.probe.course import Course, Step, Wishes

MAC = Mac("52:54:00:77:00:00")


class Silent:
    """A mouth that is only opened and closed."""

    def close(self) -> None:
        """Nothing to do."""


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Machine]:
    """The machines that would have spoken; BIOS does not boot."""
    machines: list[Machine] = []

    def run(machine: Machine, mouth: object, wishes: Wishes) -> Course:
        machines.append(machine)
        details = ("boot file  a.efi from 10.77.0.1", "3 router  10.77.0.254")
        offer = Step("offer", True, 0.003, "10.77.0.1 gives 10.77.0.20 for 1 h", details)
        boots = machine.guise.name != "bios"
        return Course(
            machine, [offer, Step("program", boots, None, "x")], boots, "it starts a.efi" if boots else "no"
        )

    monkeypatch.setattr(probe, "run", run)
    monkeypatch.setattr(probe, "_mouth", lambda machine, args: Silent())
    return machines


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ([], "Name --interface IF"),
        (["--relay", "10.0.0.1"], "Name both"),
        (["--interface", "lo", "--server", "10.0.0.1"], "Name both"),
        (["--interface", "lo", "--as", "relayed"], "Add --relay"),
    ],
)
def test_it_sends_nowhere_unless_it_is_told_where(
    words: list[str], remedy: str, tried: list[Machine], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, with what to add."""
    assert main(["probe", *words]) == 2
    assert remedy in capsys.readouterr().err and not tried


@pytest.mark.parametrize(
    "words", [["--mac", "x"], ["--relay", "::1"], ["--timeout", "0"], ["--as", "toaster"]]
)
def test_arguments_that_are_none_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """By argparse, with status 2."""
    with pytest.raises(SystemExit) as ended:
        main(["probe", "--interface", "lo", *words])
    assert ended.value.code == 2


def test_all_clients_are_tried_and_the_status_says_whether_all_would_boot(
    tried: list[Machine], capsys: pytest.CaptureFixture[str]
) -> None:
    """With one random MAC of nobody's for all of them; a table ends it."""
    assert main(["probe", "--interface", "lo"]) == 1
    said = capsys.readouterr().out
    assert [m.guise.name for m in tried] == ["bios", "uefi", "uefi-http", "ipxe", "system"]
    assert len({m.mac for m in tried}) == 1 and tried[0].mac.packed()[0] & 3 == 2
    assert f"as {tried[0].mac} (random" in said and "does not boot: no" in said
    assert "3 router   10.77.0.254" in said and "boot file  a.efi from 10.77.0.1" in said
    assert said.splitlines()[-1].split()[:4] == ["✓", "system", "would", "boot"]
    assert max(map(len, said.splitlines())) <= 100


def test_one_client_with_the_mac_of_a_node(tried: list[Machine], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0, no table."""
    assert main(["probe", "--interface", "lo", "--as", "uefi", "--mac", MAC]) == 0
    assert tried[0].mac == MAC and "random" not in capsys.readouterr().out


def test_behind_a_relay_agent(tried: list[Machine], capsys: pytest.CaptureFixture[str]) -> None:
    """With an interface only the relayed client is, under a MAC of its own; without one all are."""
    relay = ["--relay", "10.0.0.2", "--server", "10.0.0.1"]
    main(["probe", "--interface", "lo", "--mac", MAC, *relay])
    assert [m.guise.name for m in tried if m.giaddr] == ["relayed"] and len(tried) == 6
    assert [m.guise.name for m in tried if m.mac != MAC] == ["relayed"]
    tried.clear()
    main(["probe", "--mac", MAC, *relay])
    assert {m.mac for m in tried} == {MAC}
    assert {m.giaddr for m in tried} == {IPv4Address("10.0.0.2")}


def test_json_is_one_document(tried: list[Machine], capsys: pytest.CaptureFixture[str]) -> None:
    """Verdicts and steps of each client."""
    assert main(["probe", "--interface", "lo", "--mac", MAC, "-o", "json"]) == 1
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (said["mac"], said["boots"], len(said["clients"])) == (MAC, False, 5)
    assert said["clients"][1]["steps"][0]["text"] == "10.77.0.1 gives 10.77.0.20 for 1 h"
