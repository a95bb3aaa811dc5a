"""The last stage of the Dockerfile: the appliance as a container, not root, with the boot image inside."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import images
from tests.lab.appliance import Appliance
from tests.lab.machine import Machine, work_directory
from tests.lab.namespace import Lab
from tests.lab.site import scratch, write_yaml

pytestmark = pytest.mark.lab

TAG = "localhost/netboot-appliance:lab"
MAC = "52:54:00:77:00:c1"
BOOT_LIMIT = 420.0


HOME = work_directory() / "buildah"
BUILDAH = ("buildah", "--root", f"{HOME}/root", "--runroot", f"{HOME}/runroot", "--storage-driver", "overlay")
DATA = "/srv/data"
"""Where data_dir is mounted: buildah 1.28 lays a volume of its own over what the image declares as one."""


def buildah(*words: str) -> str:
    """One command on the storage that scripts/build-image builds in; its last line."""
    done = subprocess.run([*BUILDAH, *words], capture_output=True, text=True, timeout=300, check=True)
    return done.stdout.strip().rpartition("\n")[2]


class Container(Appliance):
    """The daemon inside the container: its own user, its own Python, the image that the build put in."""

    def __init__(self, lab: Lab, config: Path, directory: Path, name: str) -> None:
        super().__init__(lab, [config], directory, directory / "data")
        self.name = name

    @property
    def command(self) -> list[str]:
        """`buildah run` as a runtime would start it: the entry point, with the right to send frames."""
        volumes = (f"{self.configs[0].parent}:/etc/netboot:ro", f"{self.data_dir}:{DATA}")
        return [
            *BUILDAH, "run", "--isolation", "chroot", "--network", "host", "--cap-add", "CAP_NET_RAW",
            *(word for volume in volumes for word in ("--volume", volume)), self.name, "--",
            "/opt/netboot/bin/netboot", "serve", "--config", "/etc/netboot/netboot.yaml",
        ]  # fmt: skip


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    """A container of the last stage; removed at the end."""
    with scratch() as directory:
        images.build(directory, micro=False, arguments=[*images.kube_arguments(), "--appliance", TAG])
    name = buildah("from", "--pull-never", TAG)
    yield name
    buildah("rm", name)


def content() -> dict[str, object]:
    """A file that names what the container brings along by leaving it at its default."""
    node = {"name": "contained", "macs": [MAC], "address": "10.77.0.61"}
    return {
        "server": {"data_dir": DATA},
        "networks": [{"name": "lab", "subnet": "10.77.0.0/24", "interface": "br0"}],
        "clusters": [
            {"name": "alone", "endpoint": "10.77.0.1:6443", "image": "debian-12", "join": {"method": "none"}}
        ],
        "pools": [{"name": "alone", "cluster": "alone", "network": "lab", "nodes": [node]}],
        "tags": {"all": {"kernel_parameters": ["console=ttyS0,115200n8"]}},
    }


def test_the_container_boots_a_machine_from_the_image_inside_it(container: str) -> None:
    """Not root, with two file capabilities: DHCP to the checked squashfs, out of the container alone."""
    uid = int(buildah("run", "--isolation", "chroot", container, "--", "id", "-u"))
    with scratch() as directory, Lab() as lab:
        (directory / "etc").mkdir()
        (directory / "data").mkdir(mode=0o700)
        subprocess.run(["chown", f"{uid}:{uid}", str(directory / "data")], check=True)
        config = write_yaml(directory / "etc" / "netboot.yaml", content())
        with (
            Container(lab, config, directory, container) as appliance,
            Machine(lab, [MAC], memory=1024, directory=directory, name="contained") as machine,
        ):
            assert uid != 0
            serving = [pid for pid in lab.pids() if b"/opt/netboot/bin" in cmdline(pid) and owner(pid) == uid]
            assert len(serving) >= 4, "control, forker, TFTP and bulk workers run as the container's user"
            machine.power_on()

            def mounted() -> bool:
                boot = appliance.boot(MAC)
                steps = {step["step"]: step for step in boot["steps"]} if boot else {}
                squashfs = steps.get("squashfs")
                return bool(squashfs and squashfs["of"] and squashfs["bytes"] == squashfs["of"])

            machine.wait_until("the squashfs is in the machine's memory", mounted, BOOT_LIMIT)
            machine.wait_for_text("netboot: step squashfs: done", BOOT_LIMIT)


def cmdline(pid: int) -> bytes:
    """What a process was started with; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def owner(pid: int) -> int:
    """A process's real uid; -1 where it has ended."""
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return -1
    return next(int(row.split()[1]) for row in rows if row.startswith("Uid:"))
