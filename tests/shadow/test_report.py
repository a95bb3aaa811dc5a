"""Findings as an operator and a machine read them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

from netboot.model.machine import Mac
from netboot.shadow import report
from netboot.shadow.assess import Finding
from netboot.shadow.compare import Verdict
from netboot.shadow.report import Line, Summary
from tests.dhcp.world import PXE_X64, discover, inventory
from tests.shadow.talk import FOREIGN, NODE, STRANGER, four
from tests.shadow.test_assess import find


def text(lines: list[Line]) -> list[str]:
    """Without styles."""
    return ["".join(part for part, _ in line).rstrip() for line in lines]


async def test_a_difference_is_a_table_of_both_sides_within_a_terminal() -> None:
    """Who, the verdict, each answer, and one row for each thing that differs: at most 100 columns."""
    found = await find(*four(NODE, "10.77.0.33", PXE_X64, file=b"pxelinux.0", siaddr=FOREIGN))
    said = text(list(report.lines(found)))
    assert "✗ 52:54:00:77:00:00  m1, UEFI x64 PXE  differs: address" in said[0]
    assert said[1].strip().startswith(f"DISCOVER → OFFER 10.77.0.33 by {FOREIGN}   netboot: OFFER 10.77.0.20")
    rows = {line.split("  ")[5]: line.split() for line in said if line.startswith(" " * 10 + "boot file")}
    assert rows["boot file"][2:] == ["pxelinux.0", "snponly.efi"]
    assert max(map(len, said)) <= 100


async def test_a_long_value_stands_below_the_other() -> None:
    """A URL that a column cannot hold is cut into lines, not off."""
    url = b"http://10.77.0.2:8080/" + b"long/" * 20 + b"boot.efi"
    found = await find(*four(NODE, "10.77.0.20", PXE_X64, options={67: url}))
    said = text(list(report.lines(found, fancy=False)))
    joined = "".join(
        line.strip().removeprefix("boot file").strip().removeprefix("theirs").strip() for line in said
    )
    assert url.decode() in joined and "ours   snponly.efi" in "\n".join(said)
    assert max(map(len, said)) <= 100 and "->" in said[1]


async def test_other_verdicts_are_said_in_a_line() -> None:
    """Agreement, a machine nobody declared with the reason, and a client that nobody answers."""
    agrees = replace(await find(*four(NODE, "10.77.0.20")), verdict=Verdict.AGREES)
    unknown = await find(*four(STRANGER, "10.77.0.33"), stock=inventory(catch_all=False))
    alone = await find(discover(NODE))
    assert text(list(report.lines(agrees)))[0].endswith("agrees")
    said = text(list(report.lines(unknown)))
    assert "unknown: we would leave it alone" in said[0] and "no catch-all pool" in said[-1]
    assert not any("would say" in line for line in said), "what differs is no matter there"
    assert text(list(report.lines(alone)))[0].endswith("nobody answers; netboot would")


async def test_the_summary_counts_machines_by_the_worst_that_was_found() -> None:
    """Seen, agreeing, differing, unknown; what differed how often; what was left out; what is expected."""
    summary = Summary()
    good = replace(await find(*four(NODE, "10.77.0.20")), verdict=Verdict.AGREES, turns=())
    bad = await find(*four(NODE, "10.77.0.33"))
    other = replace(good, client=replace(good.client, mac=Mac("52:54:00:77:00:09")))
    for finding in (good, bad, good, other):
        summary.take(finding)
    assert summary.machines == {Verdict.DIFFERS: 1, Verdict.AGREES: 1}
    said = "\n".join(text(list(summary.lines(Counter({"broken UDP": 3}), 2))))
    assert "2 seen, 1 agree, 1 differ" in said and "4 seen, 3 agree, 1 differ" in said
    assert "3 broken UDP" in said and "2, proposed as nodes" in said and "address (1)" in said
    assert "server identifier (54)" in said
    assert summary.data({})["machines"] == {"agrees": 1, "unanswered": 0, "unknown": 0, "differs": 1}


async def test_a_finding_is_one_json_object() -> None:
    """Both sides of each turn, and each difference with its code."""
    found = await find(*four(NODE, "10.77.0.33"))
    said = json.loads(json.dumps(report.data(found)))
    assert (said["mac"], said["verdict"], said["network"], said["name"]) == (NODE, "differs", "lab", "m1")
    assert (
        said["turns"][0]["theirs"]["address"] == "10.77.0.33" and said["turns"][0]["ours"]["kind"] == "OFFER"
    )
    assert {
        "what": "address",
        "code": None,
        "how": "different",
        "theirs": "10.77.0.33",
        "ours": "10.77.0.20",
    } in said["differences"]


async def test_a_capture_may_claim_any_time() -> None:
    """Years that no calendar has."""
    found: Finding = await find(*four(NODE, "10.77.0.20"))
    for at in (0.0, -1e30, 1e300):
        assert "--:--:--" in text(list(report.lines(replace(found, at=at))))[0]
