"""Prometheus' text format."""

from __future__ import annotations

import re
from dataclasses import replace

from netboot.model.lease import Usage
from netboot.model.operation import Operation, Order, Side
from netboot.model.placement import Placement
from netboot.proc import ProcessInfo
from netboot.web.api.metrics import render
from tests.store.values import NOW, boot, lease

SAMPLE = re.compile(r'[a-z_]+(?:\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*\})? -?[0-9.e+]+')


SIDE = Side("blue", "compute", "n1")
BEGUN = Operation("o1", "n1", (), Order("red"), SIDE, SIDE, Placement("n1", ()), started=NOW - 40)
OPERATIONS = (
    replace(BEGUN, step="boot", started=NOW - 90),
    BEGUN,
    replace(BEGUN, state="rolling back", step="uncordon"),
    replace(BEGUN, state="done", step="finish", started=NOW - 1000, ended=NOW - 900),
)


def text(**counters: int) -> str:
    """Metrics of two leases, one boot and one process."""
    process = ProcessInfo("bulk", 1, 4242, "up", 7, 2)
    leases = [lease(1), lease(2, seen=NOW - 100)]
    pools = {"compute": Usage(200, 150, 48, 2, None), "small": Usage(3, 3, 0, 0, NOW - 90)}
    return render("0.1.0", counters, [boot(1)], leases, pools, [process], NOW, OPERATIONS)


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
    for name, value in (("size", 200), ("used", 150), ("free", 48), ("resting", 2)):
        assert f'netboot_pool_{name}{{network="compute"}} {value}\n' in shown
    assert 'netboot_pool_exhausted_seconds{network="compute"} 0\n' in shown
    assert 'netboot_pool_exhausted_seconds{network="small"} 90.0\n' in shown
    assert 'netboot_process_restarts_total{kind="bulk",index="1",state="up"} 2' in shown
    assert 'netboot_process_connections{kind="bulk",index="1",state="up"} 7' in shown


def test_operations_are_told_by_state_and_step() -> None:
    """Those that have ended by their state alone; the age is that of the oldest under way."""
    shown = text()
    for labels in (
        'state="running",step="boot"', 'state="running",step="check"', 'state="done",step=""',
        'state="rolling back",step="uncordon"',
    ):  # fmt: skip
        assert f"netboot_operations{{{labels}}} 1\n" in shown
    assert "netboot_operation_oldest_seconds 90.0\n" in shown
    none = render("0.1.0", {}, [], [], {}, [], NOW)
    assert "netboot_operation_oldest_seconds 0.0\n" in none and "netboot_operations{" not in none


def test_label_values_are_escaped() -> None:
    """A quote or a line break in a name forges no line."""
    shown = text(**{'a"b\\c\nnetboot_forged 1': 1})
    assert r'kind="a\"b\\c\nnetboot_forged 1"' in shown
    assert "\nnetboot_forged" not in shown
