"""Prometheus' text format."""

from __future__ import annotations

import re

from netboot.proc import ProcessInfo
from netboot.web.api.metrics import render
from tests.store.values import NOW, boot, lease

SAMPLE = re.compile(r'[a-z_]+\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*\} -?[0-9.e+]+')


def text(**counters: int) -> str:
    """Metrics of two leases, one boot and one process."""
    process = ProcessInfo("bulk", 1, 4242, "up", 7, 2)
    return render("0.1.0", counters, [boot(1)], [lease(1), lease(2, seen=NOW - 100)], [process], NOW)


def test_every_line_is_in_the_format() -> None:
    """Help, type or sample; the last one ends with a line break."""
    lines = text(dhcp_malformed=3).split("\n")
    assert lines.pop() == ""
    for line in lines:
        assert line.startswith(("# HELP netboot_", "# TYPE netboot_")) or SAMPLE.fullmatch(line), line


def test_counters_boots_leases_and_processes_are_told() -> None:
    """By kind, by state, by network, by process."""
    shown = text(dhcp_malformed=3)
    assert 'netboot_events_total{kind="dhcp_malformed"} 3' in shown
    assert 'netboot_boots{state="stopped"} 1' in shown and 'netboot_boots{state="joined"} 0' in shown
    assert 'netboot_leases{network="compute",state="live"} 1' in shown
    assert 'netboot_leases{network="compute",state="expired"} 1' in shown
    assert 'netboot_process_restarts_total{kind="bulk",index="1",state="up"} 2' in shown
    assert 'netboot_process_connections{kind="bulk",index="1",state="up"} 7' in shown


def test_label_values_are_escaped() -> None:
    """A quote or a line break in a name forges no line."""
    shown = text(**{'a"b\\c\nnetboot_forged 1': 1})
    assert r'kind="a\"b\\c\nnetboot_forged 1"' in shown
    assert "\nnetboot_forged" not in shown
