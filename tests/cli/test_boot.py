"""`netboot boot list|show`: how far each boot came, and why it stopped."""

from __future__ import annotations

import json

import pytest
import yaml

from netboot.cli.boot import timeline
from tests.cli.conftest import Verb
from tests.web.api.world import Running


def rows(text: str) -> list[list[str]]:
    """The cells of a table's lines."""
    return [line.split() for line in text.splitlines()]


def test_the_list_shows_state_and_step(verb: Verb) -> None:
    """One line per boot, newest first, with the step that it stopped at or stands at."""
    head, newest, stopped = rows(verb("boot", "list"))
    assert head[:6] == ["ID", "NODE", "MAC", "CLUSTER", "STATE", "STEP"]
    assert newest[:6] == ["b2", "node-525400000099", "52:54:00:00:00:99", "catchall", "booting", "squashfs"]
    assert stopped[:6] == ["b1", "n1", "52:54:00:00:00:01", "blue", "stopped", "network_script"]
    assert "network.sh ended with status 3" in verb("boot", "list")


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["n1"], ["b1"]),
        (["52-54-00-00-00-02"], ["b1"]),
        (["--mac", "525400000099"], ["b2"]),
        (["--limit", "1"], ["b2"]),
    ],
)
def test_the_list_can_be_of_one_machine(verb: Verb, words: list[str], ids: list[str]) -> None:
    """By name, by any MAC in any form; or cut."""
    assert [row[0] for row in rows(verb("boot", "list", *words))[1:]] == ids


def test_json_and_yaml_are_the_apis_own_values(verb: Verb) -> None:
    """A boot with the keys of the contract."""
    found = json.loads(verb("boot", "show", "b1", "-o", "json"))
    assert found["stopped_at"] == "network_script" and found["steps"][0]["step"] == "discover"
    assert yaml.safe_load(verb("boot", "show", "b1", "-o", "yaml")) == found
    assert json.loads(verb("boot", "list", "n1", "--output", "json")) == [found]


@pytest.mark.parametrize("words", [["b1"], ["n1"], ["52:54:00:00:00:01"], ["--mac", "52:54:00:00:00:02"]])
def test_a_boot_is_shown_by_id_name_or_card(verb: Verb, words: list[str]) -> None:
    """Its newest one where a machine is named."""
    assert verb("boot", "show", *words).startswith("boot b1 of n1 (52:54:00:00:00:01), cluster blue")


def test_without_a_name_the_newest_boot_is_shown(verb: Verb) -> None:
    """Whatever machine it is of."""
    assert verb("boot", "show").startswith("boot b2 of node-525400000099")


def test_the_timeline_tells_where_and_why_it_stopped(verb: Verb) -> None:
    """Relative times, bytes, the failed step marked, and its cause in the last line."""
    lines = verb("boot", "show", "n1").splitlines()
    found = {line.split()[1]: line.strip() for line in lines if line.startswith("  ")}
    assert "+1.0 s" in found["offer"] and "+5.0 s" in found["claim"]
    assert "100.0 MiB of 100.0 MiB (100 %)" in found["squashfs"]
    assert found["network_script"].startswith("✗") and found["network_script"].endswith("<- stopped here")
    assert found["join"] == "· join" and found["discover"].startswith("✓")
    assert lines[-1] == "stopped at network_script: network.sh ended with status 3: no such device"
    assert "stopped after 5.0 s" in lines[1]


def test_a_boot_under_way_shows_where_it_is(verb: Verb) -> None:
    """With its progress."""
    line = next(x for x in verb("boot", "show", "b2").splitlines() if "squashfs" in x)
    assert "25 %" in line and line.endswith("<- now")


def test_a_terminal_without_unicode_gets_ascii(verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    """A serial console must not choke."""
    monkeypatch.setattr("netboot.cli.boot.fancy", lambda: False)
    shown = verb("boot", "show", "n1")
    assert shown.isascii() and "x network_script" in shown


def test_what_a_server_sends_does_not_move_the_terminal(api: Running) -> None:
    """Escape sequences are shown, not obeyed."""
    step = {"step": "join", "at": 2.0, "bytes": None, "of": None, "detail": "\x1b[2Jgone"}
    boot = {
        "id": "b", "mac": "m", "node": "n\x1b[1m", "cluster": "c", "image": None, "generation": None,
        "state": "stopped", "started": 1.0, "ended": 3.0, "steps": [step], "stopped_at": "join",
        "cause": "\x9b31m", "quirks": ["ipxe (iPXE)", "q\x1b[2J (why)"],
    }  # fmt: skip
    shown = timeline(boot)
    assert "\x1b" not in shown and "\x9b" not in shown and r"\x1b[2Jgone" in shown
    assert "quirks: ipxe (iPXE), q" in shown


def test_an_unknown_boot_is_said(verb: Verb) -> None:
    """Exit status 1, and whose boot was looked for."""
    assert "no boot of nobody is known" in verb("boot", "show", "nobody", status=1)
    assert "no boot of 52:54:00:00:00:77" in verb("boot", "show", "52:54:00:00:00:77", status=1)
