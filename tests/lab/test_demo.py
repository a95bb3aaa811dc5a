"""`scripts/demo`, the first thing that a newcomer types; with the micro image, which takes the same way."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.lab.namespace import run

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 900.0


def demo(*options: str) -> tuple[int, str]:
    """Exit status and output of a demo without a terminal; none of its namespaces may be left."""
    done = subprocess.run(
        ["scripts/demo", "--micro", *options], cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT,
    )  # fmt: skip
    named = re.search(r"network namespace (\S+):", done.stdout)
    assert named, done.stdout
    assert named[1] not in run("ip", "netns", "list").split()
    return done.returncode, done.stdout


def test_the_demo_shows_a_machine_join_and_come_back() -> None:
    """Each step with its time, twice, under one name and address; it says that its cluster is a stand-in."""
    status, said = demo()
    assert status == 0, said
    for step in (
        "discover",
        "ack",
        "program",
        "script",
        "kernel",
        "initrd",
        "squashfs",
        "network_script",
        "ready",
    ):
        assert len(re.findall(rf"^ +\d+\.\d s  {step} ", said, re.MULTILINE)) >= 2, f"{step}\n{said}"
    assert "STAND-IN" in said
    joined = re.findall(r"^  (\S+) at (\S+) has joined", said, re.MULTILINE)
    assert len(joined) == 2 and joined[0] == joined[1]
    assert "Nothing is left running" in said


def test_the_demo_names_the_step_and_the_cause_of_a_wrong_ca() -> None:
    """Exit status 1; what `netboot boot show` says of the boot names step and reason."""
    status, said = demo("--wrong-ca")
    assert status == 1, said
    assert "stopped at join" in said
    assert "cluster CA found in cluster-info ConfigMap is invalid" in said
