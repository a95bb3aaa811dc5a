"""A micro node's boot beside dnsmasq and nginx with the same files: CPU seconds from power-on to its root.

A virtual machine (emulated where KVM boots no firmware) starts iPXE, kernel, initrd and squashfs; counted is
the CPU time of QEMU until the root in RAM is mounted and checked. Nobody else gives a node its credential, so
the peers' nodes go no further: nginx answers their claim with a text. Ours is seeded, claims, and is watched.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.frame import report
from tests.bench.frame.report import Column, Verdict, median, ratio
from tests.bench.frame.turns import Figures, progress
from tests.lab import images
from tests.lab.appliance import Appliance
from tests.lab.machine import Machine
from tests.lab.namespace import ADDRESS, BRIDGE, Lab, wait_until
from tests.lab.site import write_yaml

OURS, PEERS = "netboot", "dnsmasq + nginx"
MAC, NODE = "52:54:00:77:0b:01", "10.77.0.61"
ROOT_MOUNTED = "step root: mounted"
LIMIT = 240.0
COLUMNS = (Column("CPU s", "cpu", 2), Column("seconds", "wall", 1))


def arguments(parser: argparse.ArgumentParser) -> None:
    """Our options."""
    # QEMU above everything else would starve the servers that it boots from
    parser.set_defaults(ordinary=True)


def run(options: argparse.Namespace) -> Sequence[Verdict]:
    """Boot in turn, print the table, return the verdict."""
    found: dict[str, list[Figures]] = {OURS: [], PEERS: []}
    with tempfile.TemporaryDirectory(prefix="netbench-", dir="/var/tmp") as name, Lab() as lab:
        folder = Path(name)
        folder.chmod(0o755)
        generation = images.build(folder / "images", micro=True)
        with progress(2 * options.rounds) as step:
            for turn in range(options.rounds):
                for who, served in ((OURS, _netboot), (PEERS, _peers)):
                    step(f"{who}, turn {turn + 1} of {options.rounds}")
                    with served(lab, folder, generation):
                        found[who].append(_boot(lab, folder))
    print(report.servers(found, COLUMNS), "\n")
    times = ratio(median(found[OURS], "cpu"), median(found[PEERS], "cpu"))
    verdicts = [Verdict("CPU to the mounted root beside dnsmasq and nginx", times, 1.05, False)]
    print(report.floors(verdicts))
    return verdicts


def _boot(lab: Lab, folder: Path) -> Figures:
    with Machine(lab, [MAC], directory=folder, name="node") as machine:
        machine.power_on()
        machine.wait_for_text(ROOT_MOUNTED, LIMIT)
        assert machine.serial is not None
        at = next(line.at for line in machine.serial.lines if ROOT_MOUNTED in line.text)
        return {"cpu": machine.cpu_seconds, "wall": at}


@contextmanager
def _netboot(lab: Lab, folder: Path, generation: Path) -> Iterator[None]:
    with tempfile.TemporaryDirectory(dir=folder) as data:
        Path(data).chmod(0o755)
        config = write_yaml(
            Path(data) / "netboot.yaml",
            {
                "server": {"data_dir": f"{data}/data", "images_dir": str(folder / "images")},
                "networks": [{"name": "lab", "subnet": "10.77.0.0/24", "interface": BRIDGE}],
                "clusters": [
                    {"name": "c", "endpoint": f"{ADDRESS}:6443", "image": "micro", "join": {"method": "none"}}
                ],
                "pools": [
                    {
                        "name": "p",
                        "cluster": "c",
                        "network": "lab",
                        "nodes": [{"name": "n0", "macs": [MAC], "address": NODE}],
                    }
                ],
                "tags": {"all": {"kernel_parameters": ["console=ttyS0,115200n8"]}},
            },
        )
        with Appliance(lab, [config], Path(data), Path(data) / "data"):
            yield


@contextmanager
def _peers(lab: Lab, folder: Path, generation: Path) -> Iterator[None]:
    """dnsmasq for the address, nginx for all files, and for the few words that the initrd waits for."""
    with tempfile.TemporaryDirectory(dir=folder) as name, ExitStack() as stack:
        home = Path(name)
        home.chmod(0o755)
        (home / "boot.ipxe").write_text(_script(generation))
        places = "".join(
            f"{kind}_temp_path {home}/{kind};"
            for kind in ("proxy", "fastcgi", "uwsgi", "scgi", "client_body")
        )
        claimed = json.dumps({"session": "0123456789abcdef0123456789abcdef", "node": "n0"})
        (home / "nginx.conf").write_text(
            f"daemon off; user root; worker_processes 2; pid {home}/pid; events {{}}"
            f"http {{ access_log off; sendfile on; tcp_nopush on; default_type text/plain; {places}"
            f"server {{ listen {ADDRESS}:80; root {home};"
            f"location /images/ {{ root {folder}; }}"
            f"location = /boot/claim {{ return 200 '{claimed}'; }}"
            f"location /boot/ {{ return 204; }} }} }}"
        )
        dnsmasq = [
            "dnsmasq", "-k", "--conf-file=/dev/null", "--port=0", "--user=root", f"--interface={BRIDGE}",
            "--bind-interfaces", "--dhcp-authoritative", "--no-ping", f"--dhcp-host={MAC},{NODE}",
            "--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0", f"--dhcp-leasefile={home}/leases",
            f"--pid-file={home}/dnsmasq.pid", "--log-facility=-",
            f"--dhcp-boot=http://{ADDRESS}/boot.ipxe", "--dhcp-option-force=encap:175,176,1b",
        ]  # fmt: skip
        nginx = ["nginx", "-c", str(home / "nginx.conf"), "-e", str(home / "errors")]
        for command in (dnsmasq, nginx):
            stack.callback(_ended(lab.start(command)))
        wait_until("nginx serves", lambda: _serves(lab), 10)
        yield


def _script(generation: Path) -> str:
    """The same words for the kernel as ours, without a seed."""
    manifest = json.loads((generation / "manifest.json").read_text())
    base = f"http://{ADDRESS}"
    files = f"{base}/images/{generation.parent.name}/{generation.name}"
    root = manifest["files"]["root.squashfs"]
    words = [
        "initrd=initrd.img", f"BOOTIF=01-{MAC.replace(':', '-')}", f"ip={NODE}:::255.255.255.0:n0::off",
        f"netboot.server={base}", f"netboot.squashfs={files}/root.squashfs",
        f"netboot.squashfs_sha256={root['sha256']}", f"netboot.squashfs_size={root['size']}",
        *manifest["kernel_parameters"], "console=ttyS0,115200n8",
    ]  # fmt: skip
    lines = [
        "#!ipxe",
        f"kernel {files}/vmlinuz {' '.join(words)}",
        f"initrd --name initrd.img {files}/initrd.img",
    ]
    return "\n".join([*lines, "boot", ""])


def _serves(lab: Lab) -> bool:
    words = [*lab.prefix, "curl", "-sf", "-m", "1", "-o", "/dev/null", f"http://{ADDRESS}/boot.ipxe"]
    return subprocess.run(words, check=False).returncode == 0


def _ended(process: subprocess.Popen[bytes]) -> Callable[[], None]:
    def end() -> None:
        process.terminate()
        process.wait(10)

    return end
