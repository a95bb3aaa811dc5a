"""The boot flow of the initrd: seed, claim, squashfs."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from netboot.join.csr import checked
from tests.images.appliance import SESSION, Answer, Asked, FakeAppliance
from tests.images.shell import Machine
from tests.support.certificates import authority

KEY = "0123456789abcdef" * 2
SQUASHFS = os.urandom(300_000)


def seed(machine: Machine, url: str, **changes: str) -> None:
    """Put a seed where the initrd finds it."""
    values = {"key": KEY, "node": "n1", "join": "kubeadm", "server": url, "ca": "", **changes}
    (machine.folder / "seed.json").write_text(json.dumps(values, separators=(",", ":")))


def claim(machine: Machine, *, timeout: float = 60) -> str:
    """Seed and claim; the console's text."""
    return machine.sh("MAC=52:54:00:12:34:56\nnb_seed\nnb_claim\necho CLAIMED", timeout=timeout).output


def once(*answers: Answer | None) -> Callable[[Asked], Answer | None]:
    """Answer the first requests so, the others as usual."""
    rest = list(answers)
    return lambda asked: rest.pop(0) if rest and not asked.path.endswith("/report") else None


def download(
    machine: Machine, appliance: FakeAppliance, *, mirrors: str = "", sha256: str = "", size: int = -1
) -> str:
    """Fetch the squashfs without mounting; the console's text."""
    machine.put("server", appliance.url)
    machine.put("session", SESSION)
    machine.cmdline(
        f"netboot.squashfs={appliance.url}/images/x/{'a' * 64}/root.squashfs {mirrors} netboot.reboot_after=0"
    )
    wanted = sha256 or hashlib.sha256(SQUASHFS).hexdigest()
    length = size if size >= 0 else len(SQUASHFS)
    return machine.sh(f"nb_download {machine.folder}/root.squashfs {length} {wanted} && echo FETCHED").output


def test_a_claim_spends_the_key_for_a_session(machine: Machine) -> None:
    """MAC, UUID and a certificate go up; session and name come back; nothing is readable by others."""
    uuid = machine.sys / "class/dmi/id"
    uuid.mkdir(parents=True)
    (uuid / "product_uuid").write_text("4C4C4544-0042-3510-8054-B4C04F564232\n")
    with FakeAppliance(node="n7") as appliance:
        seed(machine, appliance.url)
        assert "CLAIMED" in claim(machine)
        (asked,) = appliance.to(f"/boot/{KEY}/claim")
    body = json.loads(asked.body)
    assert asked.method == "POST" and asked.headers["Content-Type"] == "application/json"
    assert body["mac"] == "52:54:00:12:34:56" and body["uuid"] == "4c4c4544-0042-3510-8054-b4c04f564232"
    assert body["csr"] == ""
    assert (machine.get("session"), machine.get("node")) == (SESSION, "n7")
    assert stat.S_IMODE((machine.run / "key.pem").stat().st_mode) == 0o600
    assert not (machine.folder / "seed.json").exists()


def test_a_claim_goes_over_tls_where_the_seed_says_so(machine: Machine, tmp_path: Path) -> None:
    """The CA of the seed is trusted, an expired certificate too: a machine's clock may be anything."""
    ca, pem = authority(), tmp_path / "server.pem"
    pem.write_bytes(b"".join(ca.sign("127.0.0.1", days=-1)))
    with FakeAppliance(node="n7", certificate=pem) as appliance:
        seed(machine, appliance.url, ca=ca.pem.decode())
        assert "CLAIMED" in claim(machine)
        machine.put("server", appliance.url)
        assert "TOLD" in machine.sh("nb_report seed '' '' done && echo TOLD").output
        assert appliance.reports("seed")
    assert machine.get("session") == SESSION


@pytest.mark.parametrize("flaw", ["another CA", "another address", "built into the image"])
def test_a_server_that_is_not_trusted_gets_no_claim(machine: Machine, tmp_path: Path, flaw: str) -> None:
    """Nothing is sent, the console says why; a CA in the image counts instead of the seed's."""
    ca, pem, built = authority(), tmp_path / "server.pem", tmp_path / "built.pem"
    pem.write_bytes(b"".join(ca.sign("127.0.0.2" if flaw == "another address" else "127.0.0.1")))
    built.write_bytes(authority().pem)
    machine.environment |= {"NB_CLAIM_LIMIT": "0"}
    if flaw == "built into the image":
        machine.environment["NB_CA_FILE"] = str(built)
    with FakeAppliance(certificate=pem) as appliance:
        trusted = authority() if flaw == "another CA" else ca
        seed(machine, appliance.url, ca=trusted.pem.decode())
        output = claim(machine)
        assert appliance.asked == []
    assert "CLAIMED" not in output and "is not trusted" in output


def test_the_certificate_is_short_lived_and_began_yesterday(machine: Machine) -> None:
    """RSA 2048, CN of the node, valid one day back and two ahead: a machine's clock is often a little off."""
    with FakeAppliance() as appliance:
        seed(machine, appliance.url)
        claim(machine)
    text = subprocess.run(
        ["openssl", "x509", "-in", str(machine.run / "certificate.pem"), "-noout", "-text"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "CN = n1" in text and "2048 bit" in text
    begin = text.split("Not Before: ")[1].split("\n")[0]
    began = datetime.strptime(begin, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
    assert timedelta(hours=23) < datetime.now(UTC) - began < timedelta(hours=25)
    certificate = str(machine.run / "certificate.pem")
    assert (
        subprocess.run(
            ["openssl", "x509", "-in", certificate, "-checkend", "172000"], capture_output=True
        ).returncode
        == 0
    )
    assert (
        subprocess.run(
            ["openssl", "x509", "-in", certificate, "-checkend", "180000"], capture_output=True
        ).returncode
        == 1
    )


def test_a_claim_is_repeated_with_the_identical_body(machine: Machine) -> None:
    """The appliance answers a repeated claim only where it is byte for byte the same."""
    with FakeAppliance() as appliance:
        appliance.before = once(Answer(500, b"oops"), Answer(200, b'{"session":"x"}', cut=3))
        seed(machine, appliance.url)
        assert "CLAIMED" in claim(machine)
        bodies = [asked.body for asked in appliance.to(f"/boot/{KEY}/claim")]
    assert len(bodies) == 3 and len(set(bodies)) == 1


def test_a_claim_waits_when_asked_to(machine: Machine) -> None:
    """503 with Retry-After is an order to wait, and its body is shown."""
    with FakeAppliance() as appliance:
        appliance.before = once(Answer(503, b"the disk refuses\n", {"Retry-After": "1"}))
        seed(machine, appliance.url)
        output = claim(machine)
    assert "CLAIMED" in output and "the disk refuses" in output


@pytest.mark.parametrize("status", [400, 403, 404, 409])
def test_a_refused_claim_says_why_and_restarts(machine: Machine, status: int) -> None:
    """The body of a refusal is for the person at the console; it is not asked again."""
    machine.cmdline("netboot.reboot_after=0")
    with FakeAppliance() as appliance:
        appliance.before = lambda asked: Answer(status, b"this key is another machine's\n")
        seed(machine, appliance.url)
        output = claim(machine)
        assert len(appliance.asked) == 1
    assert "this key is another machine's" in output and "RESTART" in output and "CLAIMED" not in output


def test_without_a_seed_the_machine_claims_by_its_address(machine: Machine) -> None:
    """The script came by TFTP: there is no key, the server's address is on the command line."""
    with FakeAppliance() as appliance:
        machine.cmdline(f"netboot.server={appliance.url}")
        assert "CLAIMED" in claim(machine)
        assert len(appliance.to("/boot/claim")) == 1


def sent_request(appliance: FakeAppliance, path: str) -> str:
    """The certificate request in the one claim that came in."""
    (asked,) = appliance.to(path)
    return str(json.loads(asked.body)["csr"])


def test_for_join_method_certificate_the_node_makes_a_key_and_sends_a_request(machine: Machine) -> None:
    """What the appliance takes: the key stays, readable by root alone; other methods get no request."""
    with FakeAppliance(node="n7.example.org") as appliance:
        seed(machine, appliance.url, join="certificate", node="n7.example.org")
        assert "CLAIMED" in claim(machine)
        made = sent_request(appliance, f"/boot/{KEY}/claim")
    key = machine.run / "kubelet.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and "PRIVATE KEY" not in made
    public = subprocess.run(
        ["openssl", "pkey", "-in", key, "-pubout"], check=True, capture_output=True
    ).stdout
    loaded = x509.load_pem_x509_csr(checked(made, "n7.example.org").pem)
    assert loaded.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) == public
    with FakeAppliance() as appliance:
        seed(machine, appliance.url)
        assert "CLAIMED" in claim(machine)
        assert sent_request(appliance, f"/boot/{KEY}/claim") == ""


def test_without_a_seed_a_request_is_sent_in_the_name_of_the_command_line(machine: Machine) -> None:
    """Nobody has named the join method yet; a machine without a name sends none."""
    for words, wanted in (("ip=10.0.0.5::10.0.0.1:255.255.255.0:n1::off", True), ("ip=dhcp", False)):
        with FakeAppliance() as appliance:
            machine.cmdline(f"netboot.server={appliance.url} {words}")
            assert "CLAIMED" in claim(machine)
            made = sent_request(appliance, "/boot/claim")
        assert bool(made) == wanted
        assert not wanted or checked(made, "n1")


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "xyz"},
        {"key": KEY + "/../../config"},
        {"node": "a b"},
        {"node": "-rf"},
        {"join": "; reboot"},
        {"server": "file:///etc"},
    ],
)
def test_a_bad_seed_is_refused(machine: Machine, changes: dict[str, str]) -> None:
    """Nothing of it is used, nobody is asked."""
    machine.cmdline("netboot.reboot_after=0")
    with FakeAppliance() as appliance:
        seed(machine, appliance.url, **changes)
        output = claim(machine)
        assert appliance.asked == []
    assert "FAILED at step seed" in output and "CLAIMED" not in output


def test_an_answer_without_a_session_is_refused(machine: Machine) -> None:
    """A session or a name that could break a header or a file is no session."""
    machine.cmdline("netboot.reboot_after=0")
    with FakeAppliance() as appliance:
        appliance.before = lambda asked: Answer(200, b'{"session": "short x", "node": "n1"}')
        seed(machine, appliance.url)
        output = claim(machine)
    assert "holds no session" in output and not (machine.run / "session").exists()


def test_a_clock_that_is_far_off_is_set_from_the_appliance(machine: Machine) -> None:
    """kubeadm's TLS needs the time, and the appliance tells it in its Date header."""
    done = machine.sh("NB_SET_CLOCK='echo set'; nb_clock 'Fri, 01 Jan 2100 00:00:00 GMT'; nb_clock nonsense")
    assert done.output.count("the clock was") == 1


def test_the_squashfs_is_fetched_and_checked(machine: Machine) -> None:
    """All bytes, the right checksum."""
    with FakeAppliance(SQUASHFS) as appliance:
        assert "FETCHED" in download(machine, appliance)
    assert (machine.folder / "root.squashfs").read_bytes() == SQUASHFS


def test_a_cut_download_goes_on_where_it_stopped(machine: Machine) -> None:
    """The second request asks for the rest by Range; nothing is fetched twice."""
    with FakeAppliance(SQUASHFS) as appliance:
        appliance.before = once(Answer(200, SQUASHFS, cut=100_000))
        output = download(machine, appliance)
        ranges = [
            asked.headers.get("Range") for asked in appliance.asked if asked.path.startswith("/images/")
        ]
    assert "FETCHED" in output
    assert ranges == [None, "bytes=100000-"]
    assert (machine.folder / "root.squashfs").read_bytes() == SQUASHFS


def test_a_wrong_checksum_is_never_accepted(machine: Machine) -> None:
    """The file is thrown away and fetched anew; after four times the boot ends with the reason."""
    with FakeAppliance(SQUASHFS) as appliance:
        output = download(machine, appliance, sha256="0" * 64)
        failed = [report for report in appliance.reports("squashfs") if report["failed"]]
    assert "FETCHED" not in output and "RESTART" in output
    assert "checksum" in failed[-1]["detail"]
    assert not (machine.folder / "root.squashfs").exists()


def test_one_damaged_download_is_healed_by_the_next(machine: Machine) -> None:
    """A flipped byte on the way costs one more download."""
    damaged = b"\0" + SQUASHFS[1:] if SQUASHFS[0] else b"\1" + SQUASHFS[1:]
    with FakeAppliance(SQUASHFS) as appliance:
        appliance.before = once(Answer(200, damaged))
        assert "FETCHED" in download(machine, appliance)
    assert (machine.folder / "root.squashfs").read_bytes() == SQUASHFS


def test_a_source_that_sends_too_much_is_refused(machine: Machine) -> None:
    """More bytes than the command line says are not the image."""
    with FakeAppliance(SQUASHFS + b"more") as appliance:
        output = download(machine, appliance)
    assert "FETCHED" not in output and "more than" in output


def test_mirrors_spare_the_appliance(machine: Machine) -> None:
    """Mirrors are asked first, in order, and the appliance not at all where one of them has the image."""
    with FakeAppliance() as appliance, FakeAppliance(SQUASHFS) as mirror:
        output = download(
            machine, appliance, mirrors=f"netboot.mirrors=http://127.0.0.1:9/images,{mirror.url}/images"
        )
        assert [asked.path for asked in mirror.asked] == [f"/images/x/{'a' * 64}/root.squashfs"]
        assert not [asked for asked in appliance.asked if asked.path.startswith("/images/")]
    assert "FETCHED" in output


def test_a_mirror_that_sends_something_else_is_found_out(machine: Machine) -> None:
    """The checksum guards what mirrors send; the appliance has the last word."""
    with FakeAppliance(SQUASHFS) as appliance, FakeAppliance(b"x" * len(SQUASHFS)) as mirror:
        output = download(machine, appliance, mirrors=f"netboot.mirrors={mirror.url}/images")
        assert [asked for asked in mirror.asked if asked.path.startswith("/images/")]
    assert "checksum of what" in output and "FETCHED" in output


def test_the_download_waits_when_the_appliance_is_full(machine: Machine) -> None:
    """503 with Retry-After is admission, not failure."""
    machine.environment["NB_STALL_LIMIT"] = "0"
    with FakeAppliance(SQUASHFS) as appliance:
        appliance.before = once(Answer(503, b"", {"Retry-After": "1"}))
        machine.environment["NB_STALL_LIMIT"] = "5"
        assert "FETCHED" in download(machine, appliance)


def test_a_silent_appliance_ends_the_boot(machine: Machine) -> None:
    """When nothing arrives for the limit the machine says so and restarts."""
    machine.environment["NB_STALL_LIMIT"] = "1"
    with FakeAppliance(SQUASHFS) as appliance:
        appliance.before = lambda asked: Answer(500, b"") if asked.path.startswith("/images/") else None
        output = download(machine, appliance)
        assert any(report["failed"] for report in appliance.reports("squashfs"))
    assert "nothing arrived" in output and "RESTART" in output


@pytest.mark.parametrize(
    ("words", "available", "reason"),
    [
        ("netboot.min_ram=8192", 3_500_000, "needs 8192 MiB"),
        ("netboot.min_ram=1024", 200_000, "do not fit"),
    ],
)
def test_too_little_ram_is_said_before_the_download(
    machine: Machine, words: str, available: int, reason: str
) -> None:
    """With numbers, and with what to do."""
    machine.cmdline(f"{words} netboot.reboot_after=0")
    (machine.proc / "meminfo").write_text(f"MemTotal: 4000000 kB\nMemAvailable: {available} kB\n")
    output = machine.sh("nb_check_ram 180; echo ENOUGH").output
    assert reason in output and "add RAM" in output and "ENOUGH" not in output


@pytest.mark.parametrize(
    "words",
    [
        "netboot.squashfs_size=12 netboot.squashfs_sha256=" + "0" * 64,
        "netboot.squashfs=http://x/a/b/c netboot.squashfs_size=0 netboot.squashfs_sha256=" + "0" * 64,
        "netboot.squashfs=http://x/a/b/c netboot.squashfs_size=9x netboot.squashfs_sha256=" + "0" * 64,
        "netboot.squashfs=http://x/a/b/c netboot.squashfs_size=9 netboot.squashfs_sha256=zz",
    ],
)
def test_a_bad_command_line_is_refused(machine: Machine, words: str) -> None:
    """Size, checksum and URL are checked before anything is fetched."""
    machine.cmdline(f"{words} netboot.reboot_after=0")
    assert "FAILED at step squashfs" in machine.sh("nb_squashfs").output


@pytest.mark.parametrize(
    ("mask", "prefix"),
    [("255.255.255.0", "24"), ("255.255.252.0", "22"), ("0.0.0.0", "0"), ("255.255.255.255", "32")],
)
def test_a_netmask_becomes_a_prefix_length(machine: Machine, mask: str, prefix: str) -> None:
    """And back again."""
    assert machine.sh(f"nb_prefix {mask}; nb_netmask {prefix}").output.split() == [prefix, mask]


def test_a_netmask_with_a_gap_is_none(machine: Machine) -> None:
    """255.0.255.0 is refused, not guessed at."""
    assert machine.sh("nb_prefix 255.0.255.0 || echo refused").output.split()[-1] == "refused"


def test_the_card_is_found_by_its_address(machine: Machine) -> None:
    """BOOTIF names the card that booted; a VLAN or bond with the same address is not it."""
    for name in ("bond0", "ens4"):
        (machine.sys / "class/net" / name).mkdir()
        (machine.sys / "class/net" / name / "address").write_text("52:54:00:aa:bb:cc\n")
    (machine.sys / "class/net/ens4/device").mkdir()
    machine.cmdline("BOOTIF=01-52-54-00-AA-BB-CC")
    assert machine.sh("nb_find_device; echo $DEVICE $MAC").output.split() == ["ens4", "52:54:00:aa:bb:cc"]


def test_a_missing_card_is_said_with_those_that_are_there(machine: Machine) -> None:
    """The person at the machine sees what Linux found."""
    machine.environment["NB_DEVICE_WAIT"] = "0"
    (machine.sys / "class/net/eth0/device").mkdir()
    machine.cmdline("BOOTIF=01-52-54-00-aa-bb-cc netboot.reboot_after=0")
    output = machine.sh("nb_find_device").output
    assert "52:54:00:aa:bb:cc" in output and "eth0=52:54:00:12:34:56" in output and "RESTART" in output


def test_the_machine_id_comes_from_the_mac(machine: Machine, tmp_path: Path) -> None:
    """The same at each boot, 32 hex digits."""
    machine.sh('hostname() { :; }; MAC=52:54:00:12:34:56 NODE=n1; nb_identity "$ROOT"')
    assert (machine.root / "etc/machine-id").read_text() == "52540012345600000000000000000000\n"
    assert (machine.root / "etc/hostname").read_text() == "n1\n"
