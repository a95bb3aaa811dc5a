"""A full disk and a missing image, on the whole running daemon: one machine's trouble is not the others'."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from netboot.boot.stall import DISK
from tests.boot.identity import Identity, identity
from tests.interop.stranger import IPXE, Stranger
from tests.lab.appliance import Appliance, step
from tests.lab.namespace import Lab, run, wait_until
from tests.lab.site import scratch, write_yaml
from tests.proc.house import make_image

pytestmark = pytest.mark.root

RUNNING, CLAIMING, DECLARED, BARE = (f"52:54:00:77:0a:{n:02x}" for n in range(1, 5))
DYNAMIC = "52:54:00:77:66:0a"
MACS = {"running": RUNNING, "claiming": CLAIMING, "declared": DECLARED, "bare": BARE}
FILES = {"vmlinuz": b"kernel" * 400, "initrd.img": b"initrd" * 400, "root.squashfs": b"squashfs" * 40_000}
SIZE = "8m"


def address(name: str) -> str:
    """The address that a machine is declared with."""
    return f"10.77.0.{list(MACS).index(name) + 31}"


class SmallDisk:
    """A tmpfs that `fill` keeps full until `free`; unmounted at the end whatever happens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.path.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0755", "netboot-full-disk", str(self.path))
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.free()
        run("umount", "--lazy", str(self.path), check=False)

    def fill(self) -> None:
        """Take every block that is free, and every one that becomes free."""
        self._take()
        self._end.clear()
        self._thread = threading.Thread(target=self._keep_full, daemon=True)
        self._thread.start()

    def _keep_full(self) -> None:
        while not self._end.wait(0.02):
            self._take()

    def _take(self) -> None:
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        """Give it all back."""
        self._end.set()
        if self._thread:
            self._thread.join(10)
            self._thread = None
        self._ballast.unlink(missing_ok=True)


@dataclass
class Site:
    """The daemon on its small disk, and machines."""

    appliance: Appliance
    disk: SmallDisk
    directory: Path
    identity: Identity
    machines: dict[str, Stranger]
    session: str = ""
    seen: dict[str, Any] = field(default_factory=dict)

    def key(self, name: str) -> str:
        """The boot key in a machine's script; empty where the script holds none."""
        found = re.search(r"/boot/([0-9a-f]{32})/seed\.cpio", self.machines[name].script()[1])
        return found[1] if found else ""

    def claim(self, name: str, key: str) -> tuple[int, dict[str, str], str]:
        """A claim from a machine's own address, as its initrd does it."""
        body = {"mac": self.machines[name].mac, "uuid": "", "certificate": self.identity.pem, "csr": ""}
        path = self.directory / f"claim-{name}.json"
        path.write_text(json.dumps(body))
        status, fields, answer = self.machines[name].curl(f"/boot/{key}/claim", "--data-binary", f"@{path}")
        return status, fields, answer.decode()

    def report(self, name: str, session: str, **report: Any) -> int:
        """A report of a machine; the status."""
        bearer = ("-H", f"Authorization: Bearer {session}")
        return self.machines[name].curl("/boot/report", *bearer, "--data-binary", json.dumps(report))[0]

    def configuration(self, name: str, session: str) -> tuple[int, bytes]:
        """The configuration of a claimed boot: status and what is sealed."""
        status, _, body = self.machines[name].curl("/boot/config", "-H", f"Authorization: Bearer {session}")
        return status, body

    def kinds(self) -> set[str]:
        """The kinds of the newest events."""
        answer = self.appliance.request(
            "GET", "/api/v1/events?limit=1000", headers={"Accept": "application/json"}
        )
        return {event["kind"] for event in json.loads(answer[1])["items"]}


def config(directory: Path) -> dict[str, Any]:
    """Declared machines with a good image, one with an image that is not there, a catch-all."""
    nodes = [{"name": name, "macs": [mac], "address": address(name)} for name, mac in MACS.items()]
    nodes[-1]["image"] = "lost"
    cluster = {"name": "alone", "endpoint": "10.77.0.1:6443", "image": "micro", "join": {"method": "none"}}
    lab = {"name": "lab", "subnet": "10.77.0.0/24", "interface": "br0", "range": "10.77.0.100-10.77.0.120"}
    return {
        "server": {"data_dir": str(directory / "data"), "images_dir": str(directory / "images")},
        "networks": [lab],
        "clusters": [cluster],
        "pools": [
            {"name": "own", "cluster": "alone", "network": "lab", "nodes": nodes},
            {"name": "unknown", "cluster": "alone", "network": "lab", "catch_all": True},
        ],
    }


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """The daemon, its disk that can be filled, and five machines without an address."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(scratch())
        disk = stack.enter_context(SmallDisk(directory / "data"))
        lab = stack.enter_context(Lab())
        make_image(directory / "images", FILES, "micro")
        (directory / "identity").mkdir()
        configs = [write_yaml(directory / "netboot.yaml", config(directory))]
        appliance = stack.enter_context(Appliance(lab, configs, directory, directory / "data"))
        machines = {
            name: stack.enter_context(Stranger(lab, name, mac, directory))
            for name, mac in {**MACS, "dynamic": DYNAMIC}.items()
        }
        yield Site(appliance, disk, directory, identity(directory / "identity"), machines)


def test_a_missing_image_is_one_machines_trouble(site: Site) -> None:
    """Its script is a 200 with the reason, its boot shows the cause; its neighbour boots a good image."""
    bare, running = site.machines["bare"], site.machines["running"]
    assert bare.boots() == address("bare") and running.boots() == address("running")
    status, script = bare.script()
    assert status == 200 and script.startswith("#!ipxe") and "image lost" in script
    assert "kernel http" not in script and "seed.cpio" not in script
    boot = site.appliance.boot(BARE)
    assert boot and boot["state"] == "stopped" and boot["stopped_at"] == "script"
    assert "image lost" in boot["cause"]
    shown = site.appliance.netboot("boot", "show", boot["id"])
    assert "image lost" in shown and "script" in shown and "stopped" in shown
    assert site.key("running")


def test_a_full_disk_harms_only_who_needs_it_and_heals(site: Site) -> None:
    """What needs no disk goes on, what does is refused with a reason; space alone heals it."""
    claimed_and_waiting(site)
    pid = site.appliance.pid
    site.disk.fill()
    declared_node_is_acknowledged(site)
    dynamic_machine_is_refused(site)
    claim_is_refused_for_now(site)
    others_go_on(site)
    nothing_is_silent(site)
    site.disk.free()
    everything_heals(site)
    assert site.appliance.pid == pid and not site.appliance.log().count("Traceback")


def claimed_and_waiting(site: Site) -> None:
    """One machine has claimed its boot; another holds a key that it has not spent."""
    assert site.machines["running"].boots() == address("running")
    status, _, answer = site.claim("running", site.key("running"))
    assert status == 200, answer
    site.session = json.loads(answer)["session"]
    assert site.machines["claiming"].boots() == address("claiming")
    site.seen["key"] = site.key("claiming")
    assert site.seen["key"]


def declared_node_is_acknowledged(site: Site) -> None:
    """Its address stands in the operator's file: the ACK leaves, and it is reported."""
    assert site.machines["declared"].boots() == address("declared")
    boot = site.appliance.boot(DECLARED)
    ack = step(boot, "ack")
    assert boot and ack and DISK in ack["detail"]
    assert DISK in site.appliance.netboot("boot", "show", boot["id"])
    assert "dhcp_lease_unwritten" in site.kinds()
    status, script = site.machines["declared"].script()
    assert status == 200 and DISK in script and "seed.cpio" not in script


def dynamic_machine_is_refused(site: Site) -> None:
    """An address that no file knows is not promised without a record."""
    assert site.machines["dynamic"].lease(*IPXE, tries=2) == ""
    offer = step(site.appliance.boot(DYNAMIC), "offer")
    assert offer and DISK in offer["detail"], "its boot shows what it waits for"
    assert "dhcp_store_failed" in site.kinds()
    assert "undeclared machines get no address" in site.appliance.log()


def claim_is_refused_for_now(site: Site) -> None:
    """503 with Retry-After, and the key is not burnt by it."""
    status, fields, text = site.claim("claiming", site.seen["key"])
    assert status == 503 and 1 <= int(fields["retry-after"]) <= 60, text
    assert "disk" in text
    script = step(site.appliance.boot(CLAIMING), "script")
    assert script and DISK in script["detail"]


def others_go_on(site: Site) -> None:
    """A claimed boot fetches its squashfs and its configuration, and reports."""
    running = site.machines["running"]
    (generation,) = [p.name for p in (site.directory / "images" / "micro").iterdir() if not p.is_symlink()]
    assert running.curl(f"/images/micro/{generation}/root.squashfs")[2] == FILES["root.squashfs"]
    status, sealed = site.configuration("running", site.session)
    assert status == 200 and site.identity.open(sealed)
    assert site.report("running", site.session, step="network_script", detail="running") == 204
    boot = site.appliance.boot(RUNNING)
    assert boot and step(boot, "squashfs") and step(boot, "config") and step(boot, "network_script")


def nothing_is_silent(site: Site) -> None:
    """The operator is told, once: the daemon serves on, and says what fails."""
    assert site.appliance.request("GET", "/readyz", token=False)[0] == 200
    wait_until("the failing store is reported", lambda: "store_failed" in site.kinds(), 10)
    log = site.appliance.log()
    for kind in ("store_failed", "dhcp_store_failed", "dhcp_lease_unwritten", "boot_store_failed"):
        assert 1 <= len(re.findall(rf" {kind}: ", log)) <= 5, kind


def everything_heals(site: Site) -> None:
    """Without a restart: the claim is taken, the dynamic machine gets an address, the history is on disk."""
    wait_until("boots are written again", lambda: "store_healed" in site.kinds(), 15)
    status, _, answer = site.claim("claiming", site.seen["key"])
    assert status == 200, answer
    assert site.machines["dynamic"].lease(*IPXE, tries=3)
    assert site.report("running", site.session, step="join", detail="none") == 204
    assert (site.appliance.boot(RUNNING) or {})["state"] == "joined"
    assert site.machines["declared"].boots() == address("declared")
    assert site.key("declared"), "its lease is written now, so that its script holds a seed"


def test_what_happened_on_the_full_disk_is_remembered(site: Site) -> None:
    """The history that could not be written then was written afterwards: a new process tells the same."""
    names = ("running", "claiming", "declared", "bare")
    before = {name: site.appliance.boot(MACS[name]) for name in names}
    assert all(before.values()) and (before["running"] or {})["state"] == "joined"
    site.appliance.stop()
    site.appliance.start()
    assert {name: site.appliance.boot(MACS[name]) for name in names} == before
