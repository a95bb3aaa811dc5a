"""The shell library: what all shell parts of an image share."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.images.appliance import SESSION, Answer, FakeAppliance
from tests.images.shell import REPOSITORY, Machine

SCRIPTS = sorted(
    path
    for path in (REPOSITORY / "images").rglob("*")
    if path.is_file()
    and path.suffix not in (".py", ".pyc")
    and path.read_bytes().startswith((b"#!/bin/sh", b"# shellcheck"))
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_script_passes_shellcheck(script: Path) -> None:
    """shellcheck finds nothing; `local`, and the style points named here, are our own choice."""
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed: apt-get install shellcheck")
    style = "SC3043,SC2015,SC2018,SC2019,SC2034,SC1091,SC2154"
    done = subprocess.run(
        ["shellcheck", "-s", "sh", "-e", style, str(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_script_is_understood_by_busybox(script: Path) -> None:
    """The initrd has no other shell."""
    if not shutil.which("busybox"):
        pytest.skip("busybox is not installed: apt-get install busybox")
    done = subprocess.run(["busybox", "sh", "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_last_of_a_kernel_parameter_counts(machine: Machine) -> None:
    """As in the kernel; a value with shell characters stays a value."""
    machine.cmdline("quiet a=1 netboot.server=http://x a=$(reboot) b=* a=2*")
    done = machine.sh(
        "nb_parameter a; echo; nb_parameter b; echo; nb_parameter missing || echo none; nb_parameter quiet"
    )
    assert done.output.splitlines() == ["2*", "*", "none", "1"]


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            "nb_is_name",
            ["n1", "a-b.c", "9"],
            ["", "-a", "a-", "A", "a_b", "a..b", "a/b", "x" * 64, "n1\nroot"],
        ),
        (
            "nb_is_mac",
            ["52:54:00:12:34:56"],
            ["", "52:54:00:12:34", "52-54-00-12-34-56", "52:54:00:12:34:5G"],
        ),
        ("nb_is_sha256", ["0" * 64, "a" * 64], ["", "0" * 63, "0" * 65, "g" * 64, "A" * 64]),
        ("nb_is_number", ["0", "123"], ["", "-1", "1.5", "1e3", "$((1))", "1" * 16]),
        ("nb_is_ipv4", ["10.0.0.1", "255.255.255.0"], ["", "10.0.0", "10.0.0.256", "10.0.0.1/8", "a.b.c.d"]),
        (
            "nb_is_url",
            ["http://10.0.0.1", "http://10.0.0.1:8080/a/b.c", "http://[fd77::1]:80/x"],
            ["", "ftp://a", "https://a", "http://a b", "http://a/`id`", "http://a/$x", "http://u@a/"],
        ),
    ],
)
def test_values_from_the_network_are_checked(
    machine: Machine, check: str, good: list[str], bad: list[str]
) -> None:
    """Each check accepts what it names and nothing else."""
    script = "".join(f"{check} '{value}' && echo yes || echo no\n" for value in [*good, *bad])
    assert machine.sh(script).output.split() == ["yes"] * len(good) + ["no"] * len(bad)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://10.0.0.1", "10.0.0.1", "80", "/"),
        ("http://10.0.0.1:8080/a/b", "10.0.0.1", "8080", "/a/b"),
        ("http://[fd77::1]/a", "fd77::1", "80", "/a"),
        ("http://[fd77::1]:81", "fd77::1", "81", "/"),
    ],
)
def test_a_url_is_taken_apart(machine: Machine, url: str, host: str, port: str, path: str) -> None:
    """IPv6 addresses stand in brackets."""
    done = machine.sh(f"nb_url_split '{url}'; echo $URL_HOST $URL_PORT $URL_PATH")
    assert done.output.split() == [host, port, path]


@pytest.mark.parametrize(
    "text", ['a "quoted" \\ back\\slash', "two\nlines\n", "tab\there", "bell\a and \x7f", "plain", ""]
)
def test_any_text_becomes_a_json_string(machine: Machine, text: str) -> None:
    """What json.loads reads is the text without control characters."""
    (machine.folder / "text").write_text(text)
    expected = text.rstrip("\n").replace("\a", "").replace("\x7f", "")
    assert json.loads(machine.sh("json_string <text").output).rstrip("\n") == expected


def test_a_report_is_json_with_the_session(machine: Machine) -> None:
    """Step, numbers, detail and failure arrive as the appliance expects them."""
    with FakeAppliance() as appliance:
        machine.put("server", appliance.url)
        machine.put("session", SESSION)
        assert (
            machine.sh("""nb_report squashfs 5 10 'it "works"' && nb_report join '' '' 'no' true""").status
            == 0
        )
        first, second = appliance.reports()
    assert {**first, "at": 0} == {
        "step": "squashfs",
        "at": 0,
        "bytes": 5,
        "of": 10,
        "detail": 'it "works"',
        "failed": False,
    }
    assert second["failed"] is True and second["bytes"] is None
    assert first["at"] > 1_700_000_000


def test_without_a_session_nothing_is_reported(machine: Machine) -> None:
    """Before the claim there is nobody to tell."""
    with FakeAppliance() as appliance:
        machine.put("server", appliance.url)
        assert machine.sh("nb_report squashfs 5 10 x").status != 0
        assert appliance.asked == []


def test_a_cut_answer_is_no_answer(machine: Machine) -> None:
    """Fewer bytes than Content-Length promised count as a failure of the exchange."""
    with FakeAppliance() as appliance:
        appliance.before = lambda asked: Answer(200, b"0123456789", cut=4)
        done = machine.sh(f"http_request GET {appliance.url}/x '' '' out; echo $? $HTTP_ERROR")
    assert done.output.startswith("1 ") and "cut off" in done.output


def test_a_binary_body_arrives_byte_for_byte(machine: Machine) -> None:
    """The configuration is DER: no byte may change or vanish."""
    body = bytes(range(256)) * 300
    with FakeAppliance() as appliance:
        appliance.before = lambda asked: Answer(200, body)
        machine.sh(f"http_request GET {appliance.url}/x '' '' out")
    assert (machine.folder / "out").read_bytes() == body


def test_an_answer_larger_than_the_limit_is_refused(machine: Machine) -> None:
    """The machine's RAM is not the sender's."""
    machine.environment["NB_HTTP_LIMIT"] = "4096"
    with FakeAppliance() as appliance:
        appliance.before = lambda asked: Answer(200, b"x" * 100_000)
        done = machine.sh(f"http_request GET {appliance.url}/x '' '' out || echo refused")
    assert "refused" in done.output


def test_a_dead_server_is_named_with_the_reason(machine: Machine) -> None:
    """The person at the console reads which address did not answer and why."""
    done = machine.sh("http_request GET http://127.0.0.1:9/x '' '' out; echo $? $HTTP_ERROR")
    assert done.output.startswith("1 127.0.0.1:9: ") and "refused" in done.output


def test_a_failure_is_reported_and_restarts_the_machine(machine: Machine) -> None:
    """The reason is on the console and at the appliance; nothing sleeps for ever."""
    machine.cmdline("netboot.reboot_after=0")
    with FakeAppliance() as appliance:
        machine.put("server", appliance.url)
        machine.put("session", SESSION)
        done = machine.sh("nb_fail squashfs 'the disk is on fire'; echo NOT REACHED")
        (report,) = appliance.reports("squashfs")
    assert report["failed"] is True and report["detail"] == "the disk is on fire"
    assert "FAILED at step squashfs: the disk is on fire" in done.output
    assert "RESTART" in done.output and "NOT REACHED" not in done.output
