"""Disks that fail under the running daemon, and power cuts: nothing acknowledged is lost, and it heals."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.disk import FAULTS, Disk
from tests.chaos.leases import Daemon, chaos
from tests.interop.stranger import Stranger
from tests.lab.appliance import ROOT, environment
from tests.lab.namespace import Lab, wait_until
from tests.lab.site import scratch, write_yaml

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("gcc"), reason="not installed: gcc"),
]

KNOWN, UNKNOWN = "52:54:00:77:0b:01", "52:54:00:77:66:0b"


class Site:
    """The daemon on a disk that can fail, a declared machine and another one."""

    def __init__(self, daemon: Daemon, disk: Disk, known: Stranger, unknown: Stranger) -> None:
        self.daemon, self.disk, self.known, self.unknown = daemon, disk, known, unknown

    def counted(self, kind: str) -> int:
        """How often something was told since the daemon's start."""
        found = re.search(rf'{{kind="{kind}"}} (\d+)', self.daemon.request("GET", "/metrics")[1])
        return int(found[1]) if found else 0


def config(directory: Path) -> dict[str, Any]:
    """One declared machine, and everybody else."""
    node = {"name": "known", "macs": [KNOWN], "address": "10.77.0.41"}
    folders = {"data_dir": str(directory / "data"), "images_dir": str(directory / "images")}
    return {
        "server": {**folders, "workers": 1},
        "networks": [
            {"name": "lab", "subnet": "10.77.0.0/24", "interface": "br0", "range": "10.77.0.100-10.77.0.199"}
        ],
        "clusters": [{"name": "alone", "endpoint": "10.77.0.1:6443", "join": {"method": "none"}}],
        "pools": [
            {"name": "own", "cluster": "alone", "network": "lab", "nodes": [node]},
            {"name": "unknown", "cluster": "alone", "network": "lab", "catch_all": True},
        ],
    }


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One daemon for all faults: it has to heal from each of them."""
    with ExitStack() as stack:
        directory = stack.enter_context(scratch())
        lab = stack.enter_context(Lab())
        (directory / "images").mkdir()
        disk = Disk(directory / "disk")
        path = write_yaml(directory / "netboot.yaml", config(directory))
        daemon = Daemon("netboot", disk, lab, [path], directory, directory / "data")
        stack.enter_context(daemon)
        machines = [
            stack.enter_context(Stranger(lab, name, mac, directory))
            for name, mac in (("known", KNOWN), ("unknown", UNKNOWN))
        ]
        yield Site(daemon, disk, *machines)


def test_the_sync_comes_before_the_ack(site: Site) -> None:
    """The store's log is synced between a REQUEST's OFFER and its ACK, for declared and other machines."""
    for machine in (site.known, site.unknown):
        before = len(site.disk.order())
        assert machine.lease()
        assert re.search(r"R2 (S )+R5", site.disk.order()[before:]), site.disk.order()[before:]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_harms_only_who_needs_it_and_heals(site: Site, fault: str) -> None:
    """Declared machines are served, others are refused with a reason; without a restart all is well again."""
    pid, refused = site.daemon.pid, site.counted("dhcp_store_failed")
    with site.disk.failing(fault):
        assert site.known.lease() == "10.77.0.41"
        assert site.unknown.lease(tries=2) == ""
        assert site.counted("dhcp_store_failed") > refused and site.counted("dhcp_lease_unwritten")
        status, text = site.daemon.request("DELETE", "/api/v1/leases/10.77.0.41?force=true")
        assert status == 503 and "netboot.db" in json.loads(text)["reason"]
    wait_until("the machine that nobody declared gets an address", lambda: site.unknown.lease(tries=2), 20)
    assert site.daemon.pid == pid and "Traceback" not in site.daemon.log()
    shown = {row["mac"] for row in site.daemon.items("/api/v1/leases")}
    assert {KNOWN, UNKNOWN} <= shown


def test_what_was_written_after_the_faults_is_there_after_a_power_cut(site: Site) -> None:
    """The file that was healed is whole."""
    before = {row["mac"]: row["address"] for row in site.daemon.items("/api/v1/leases")}
    site.daemon.die(site.daemon.family())
    site.daemon.start()
    assert {row["mac"]: row["address"] for row in site.daemon.items("/api/v1/leases")} == before


def refused_start(site: Site, path: Path) -> str:
    """What a second daemon says that cannot start, in a namespace where all ports are free."""
    command = [sys.executable, "-m", "netboot", "serve", "--config", str(path)]
    with Lab() as other:
        done = subprocess.run(
            [*other.prefix, *command], cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2, done.stdout
    return done.stdout


def test_a_second_daemon_on_one_data_dir_is_refused(site: Site) -> None:
    """With the reason and what to do; the first one serves on."""
    said = refused_start(site, site.daemon.configs[0])
    assert "in use by another netboot: stop that one first" in said
    assert site.known.lease() == "10.77.0.41"


@pytest.mark.parametrize("damage", [b"", b"this is no database" * 500])
def test_a_damaged_store_is_never_an_empty_one(site: Site, damage: bytes) -> None:
    """The daemon does not start on it; the remedy says that declared nodes need no backup."""
    copy = site.daemon.data_dir.with_name(f"damaged-{len(damage)}")
    shutil.copytree(site.daemon.data_dir, copy)
    for each in copy.glob("netboot.db-*"):
        each.unlink()
    (copy / "netboot.db").write_bytes(damage)
    text = site.daemon.configs[0].read_text().replace(str(site.daemon.data_dir), str(copy))
    path = copy.with_suffix(".yaml")
    path.write_text(text)
    said = refused_start(site, path)
    assert "netboot.db is damaged" in said and "Put a backup in its place, or move it away" in said
    assert "declared nodes keep their addresses" in said
    assert (copy / "netboot.db").read_bytes() == damage


def test_power_cuts_lose_no_acknowledged_lease() -> None:
    """Under load, and of the files only that is left which was synced."""
    result = chaos(4, 7, power=True, stop=True)
    assert result.clean, (result.lost[:5], result.twice[:5])
    assert result.acks > 40
