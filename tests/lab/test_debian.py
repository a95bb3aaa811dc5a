"""The full Debian image on the operator's example file: what was declared is what is found on the machine."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from netboot import config
from netboot.model.settings import Settings
from tests.lab import images
from tests.lab.machine import Machine
from tests.lab.operator import MAC, NODE, NODE_ADDRESS, operator_config
from tests.lab.real import full_site
from tests.lab.site import Site, scratch

pytestmark = pytest.mark.lab

BOOT_LIMIT = 900.0
SEPARATOR = "@@@@"
DEFAULTS = ("/etc/sysctl.d/60-kubernetes.conf", "/etc/modules-load.d/kubernetes.conf")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing declared, the command that looks for it on the machine, and what that must print."""

    setting: str
    declared: str
    command: str


@pytest.fixture(scope="module")
def debian(key: Path) -> Iterator[Site]:
    """A site of its own on config/netboot.yaml, with the full image."""
    with scratch() as directory:
        images.build(directory / "images", micro=False)
        with full_site(directory, operator_config(keys=[public_half(key)])) as site:
            yield site


def public_half(key: Path) -> str:
    """What authorized_keys holds."""
    return key.with_suffix(".pub").read_text().strip()


def ssh(site: Site, key: Path, script: str, timeout: float = 120.0) -> str:
    """Run a script on the node, as root, by the declared key."""
    return site.lab.run(
        "ssh", "-q", "-i", str(key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=60", f"root@{NODE_ADDRESS}",
        "sh", "-s", stdin=script, timeout=timeout,
    )  # fmt: skip


def rows(settings: Settings, public: str) -> list[Row]:
    """What to look for, from the merged settings of the node."""
    found = [
        Row("host name", NODE, "hostname"),
        Row("time zone", f"/usr/share/zoneinfo/{settings.timezone}", "readlink -f /etc/localtime"),
        Row("root file system", "overlay", "findmnt -no FSTYPE /"),
        Row("disks", "0", "lsblk -dno TYPE | grep -c disk"),
        Row("authorized key", "1", f"grep -cxF {shlex.quote(public)} /root/.ssh/authorized_keys"),
        Row("authorized_keys mode", "600 root:root", "stat -c '%a %U:%G' /root/.ssh/authorized_keys"),
        Row("network.sh", f"{NODE} {MAC} {NODE_ADDRESS}", "cut -d' ' -f1-3 /run/network-script"),
        Row("network.sh DEVICE", MAC, "cat /sys/class/net/$(cut -d' ' -f4 /run/network-script)/address"),
        Row(
            "address kept", f"{NODE_ADDRESS}/24", "ip -4 -o addr show scope global | awk 'NR==1 { print $4 }'"
        ),
        Row("containerd", "active", "systemctl is-active containerd"),
        Row("kubelet", "active", "systemctl is-active kubelet"),
        Row("cgroup driver", "true", "containerd config dump | awk '/SystemdCgroup/ { print $3; exit }'"),
        # kubeadm's preflight reads the first, and refuses a machine without what the others turn on
        Row("kernel configuration", "yes", "test -s /boot/config-$(uname -r) && echo yes"),
        Row("sysctl of the image", "net.ipv4.ip_forward = 1", f"grep ip_forward {DEFAULTS[0]}"),
        Row("module of the image", "br_netfilter", f"grep br_netfilter {DEFAULTS[1]}"),
        Row("failed units", "", "systemctl --failed --no-legend --plain | cut -d' ' -f1"),
        Row("private key removed", "no", "test -e /run/netboot/key.pem && echo yes || echo no"),
        Row(
            "JoinConfiguration removed",
            "",
            "grep -rl --exclude-dir=lower bootstrapToken /run /etc/kubernetes",
        ),
        Row("/run/netboot", "700", "stat -c %a /run/netboot"),
    ]
    found += [Row(f"sysctl {k}", str(v), f"sysctl -n {k}") for k, v in settings.sysctls.items()]
    found += [Row(f"module {m}", m, f"lsmod | awk '$1 == \"{m}\" {{ print $1 }}'") for m in settings.modules]
    found += [
        Row(f"kernel parameter {p}", p, f"tr ' ' '\\n' </proc/cmdline | grep -xF -- {shlex.quote(p)}")
        for p in settings.kernel_parameters
    ]
    found += [
        Row(f"mount {m.where}", f"{m.what} {m.type}", f"findmnt -rno SOURCE,FSTYPE {m.where} | head -n 1")
        for m in settings.mounts
    ]
    for path, file in settings.files.items():
        content = base64.b64encode(file.content.encode()).decode()
        found.append(Row(f"file {path}", content, f"base64 -w0 {shlex.quote(path)}"))
        found.append(
            Row(f"mode {path}", f"{file.mode:o} root:root", f"stat -c '%a %U:%G' {shlex.quote(path)}")
        )
    for name, unit in settings.units.items():
        content = base64.b64encode(unit.content.encode()).decode()
        found.append(Row(f"unit {name}", content, f"base64 -w0 /etc/systemd/system/{name}"))
        if unit.enable:
            found.append(Row(f"unit {name} enabled", "enabled", f"systemctl is-enabled {name}"))
            found.append(Row(f"unit {name} started", "active", f"systemctl is-active {name}"))
    for address, names in settings.hosts.items():
        found.append(
            Row(f"host {address}", " ".join(names), f"getent hosts {address} | tr -s ' ' | cut -d' ' -f2-")
        )
    arguments = "tr '\\0' '\\n' </proc/$(systemctl show -p MainPID --value kubelet)/cmdline | grep -x -- "
    for name, value in settings.kubelet_args.items():
        found.append(Row(f"kubelet --{name}", f"--{name}={value}", arguments + f"--{name}=.*"))
    return found


def look(site: Site, key: Path, wanted: list[Row]) -> list[str]:
    """What each row's command prints on the machine."""
    script = "".join(f"{{ {row.command}; }} 2>&1; echo; echo {SEPARATOR}\n" for row in wanted)
    return [part.strip() for part in ssh(site, key, script).split(SEPARATOR)[:-1]]


def node_rows(site: Site, settings: Settings) -> list[tuple[str, str, str]]:
    """What shows on the Node object: labels and taints."""
    node = site.node(NODE) or {"metadata": {"labels": {}}, "spec": {}}
    labels = node["metadata"]["labels"]
    taints = {f"{t['key']}={t.get('value', '')}:{t['effect']}" for t in node["spec"].get("taints", ())}
    found = [(f"label {k}", v, labels.get(k, "")) for k, v in settings.labels.items()]
    return found + [(f"taint {t}", str(t), str(t) if str(t) in taints else "") for t in settings.taints]


def test_what_was_declared_is_found_on_the_machine(debian: Site, key: Path) -> None:
    """Every setting of the operator's file is in force on the booted Debian: a table shows each beside it."""
    inventory = config.load(debian.appliance.configs).inventory
    settings = inventory.assign(inventory.by_name[NODE]).settings
    with Machine(debian.lab, [MAC], memory=2048, directory=debian.directory, name=NODE) as machine:
        machine.power_on()
        boot = debian.wait_joined(machine, MAC, timeout=BOOT_LIMIT)
        assert boot["node"] == NODE
        wanted = rows(settings, public_half(key))
        on_machine = look(debian, key, wanted)
        table = [(r.setting, r.declared, f) for r, f in zip(wanted, on_machine, strict=True)]
        table += node_rows(debian, settings)
        print_table(table)
        print(f"{machine.cpu_seconds:.0f} CPU s from power-on to this table")
        wrong = [line for line in table if line[1] != line[2]]
        assert not wrong, "\n".join(f"{s}: declared {d!r}, found {f!r}" for s, d, f in wrong)


def print_table(table: list[tuple[str, str, str]]) -> None:
    """Setting, declared, found."""
    short = [tuple(cell if len(cell) <= 44 else cell[:41] + "..." for cell in line) for line in table]
    widths = [max(len(line[column]) for line in short) for column in range(3)]
    for line in [("setting", "declared", "found"), *short]:
        mark = "  <-- DIFFERS" if line[1] != line[2] and line[0] != "setting" else ""
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + mark)
