"""A whole site in one namespace: the Kubernetes API stand-in, the appliance, and machines to power on."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.kube.control import KubeApi
from tests.lab.appliance import Appliance, describe
from tests.lab.machine import Machine
from tests.lab.namespace import ADDRESS, Lab
from tests.lab.uplink import uplink

KUBE = f"{ADDRESS}:6443"
RED = f"{ADDRESS}:6444"
"""Of the cluster that a test starts which moves a machine."""
JOIN_LIMIT = 420.0
"""Seconds from power-on to joined that a test waits at most; an idle machine needs a tenth of it."""

ROLES = (
    "bios",
    "tftp",
    "http",
    "cards",
    "cut",
    "crash",
    "worker",
    "fast",
    "impostor",
    "wrongca",
    "wrongjws",
    "expired",
    "unreachable",
    "standalone",
    "canary",
    "second",
    "secure",
    "pxelinux",
    "certificate",
    "bootstrap",
    "byhand",
    "mover",
)
"""The declared machines of the micro site, each named for what it is there to show."""

WIDE = ("cut", "crash", "worker")
"""Those that get the widened image, so that something can happen half way through the squashfs."""

APART = ("standalone", "certificate", "bootstrap", "byhand")
"""Those whose cluster is joined in another way than kubeadm's."""


def mac_of(role: str, card: int = 0) -> str:
    """The MAC of a declared machine's card."""
    return f"52:54:00:77:{card:02x}:{ROLES.index(role) + 1:02x}"


def address_of(role: str) -> str:
    """The address that a machine is declared with."""
    return f"10.77.0.{ROLES.index(role) + 21}"


class Site:
    """What a test holds: `lab`, `kube`, `appliance`, and `machine(...)`."""

    def __init__(self, lab: Lab, standin: KubeApi | None, appliance: Appliance, directory: Path) -> None:
        self.lab = lab
        self.standin = standin
        self.appliance = appliance
        self.directory = directory
        self.consoles: list[str] = []

    @property
    def kube(self) -> KubeApi:
        """The API stand-in; there is none where a real cluster was given."""
        assert self.standin, "this site joins a real cluster"
        return self.standin

    @contextmanager
    def machine(self, role: str, **options: Any) -> Iterator[Machine]:
        """A machine of that role, powered on; its power is cut at the end."""
        macs = options.pop("macs", None) or [mac_of(role)]
        made = Machine(self.lab, macs, directory=self.directory, name=role, **options)
        with made:
            made.power_on()
            try:
                yield made
            finally:
                made.power_off()
                self.consoles.append(made.console)

    def wait_joined(
        self, machine: Machine, mac: str, *, after: str | None = None, timeout: float = JOIN_LIMIT
    ) -> Any:
        """The machine's boot once it is joined; `after` is the id of an earlier boot that does not count."""
        return self.wait_boot(
            machine, mac, lambda b: b["state"] == "joined", "joined", after=after, timeout=timeout
        )

    def wait_stopped(self, machine: Machine, mac: str, *, timeout: float = JOIN_LIMIT) -> Any:
        """The machine's boot once it is stopped."""
        return self.wait_boot(machine, mac, lambda b: b["state"] == "stopped", "stopped", timeout=timeout)

    def wait_boot(
        self,
        machine: Machine,
        mac: str,
        condition: Callable[[dict[str, Any]], object],
        what: str,
        *,
        after: str | None = None,
        timeout: float = JOIN_LIMIT,
    ) -> Any:
        """The machine's newest boot once `condition` holds; fails early where it ended otherwise."""

        def look() -> object:
            boot = self.appliance.boot(mac)
            if boot is None or boot["id"] == after:
                return None
            if condition(boot):
                return boot
            if boot["state"] == "joined" or boot["ended"]:
                raise AssertionError(
                    f"wanted {what}\n{describe(boot)}\n{machine.serial and machine.serial.tail()}"
                )
            return None

        try:
            return machine.wait_until(f"boot of {mac} {what}", look, timeout)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\n{describe(self.appliance.boot(mac))}\n{self.appliance.log()[-3000:]}"
            ) from None

    def node(self, name: str) -> dict[str, Any] | None:
        """The Node object of that name at the stand-in; of a cluster of the user's we know none."""
        if not self.standin:
            return None
        found = self.kube.control("objects", resource="nodes")
        items = found["items"] if isinstance(found, dict) else found
        return next((n for n in items if n["metadata"]["name"] == name), None)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that other accounts may walk through (the appliance drops root), removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="netboot-lab-", dir="/var/tmp"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        keep = os.environ.get("NETBOOT_KEEP")
        if not keep:
            shutil.rmtree(path, ignore_errors=True)


def server_user() -> str:
    """The account that `serve` runs as by default."""
    try:
        return pwd.getpwnam("netboot").pw_name
    except KeyError:
        return "nobody"


def lend(source: Path, target: Path) -> Path:
    """A copy of a secret file that the appliance's account may read."""
    target.touch(mode=0o600)
    target.write_bytes(source.read_bytes())
    shutil.chown(target, server_user())
    return target


@contextmanager
def running_site(
    directory: Path,
    write_configs: Callable[[Path, Path], Sequence[Path]],
    *,
    kubeconfig: Path | None = None,
) -> Iterator[Site]:
    """Namespace, API stand-in and appliance, up and ready.

    `write_configs(directory, kubeconfig)` writes the operator's files, with images_dir `directory`/images and
    data_dir `directory`/data. With the `kubeconfig` of a real cluster there is no stand-in, and a way out.
    """
    with ExitStack() as stack:
        lab = stack.enter_context(Lab())
        kube = None
        if kubeconfig:
            stack.enter_context(uplink(lab))
        else:
            kube = stack.enter_context(KubeApi.start(directory / "kube", KUBE, prefix=lab.prefix))
            kubeconfig = kube.directory / "appliance.kubeconfig"
        lent = lend(kubeconfig, directory / "appliance.kubeconfig")
        configs = write_configs(directory, lent)
        appliance = stack.enter_context(Appliance(lab, configs, directory, directory / "data"))
        yield Site(lab, kube, appliance, directory)


LOADERS = {
    "shimx64.efi": "/usr/lib/shim/shimx64.efi.signed",
    "grubx64.efi": "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed",
    "lpxelinux.0": "/usr/lib/PXELINUX/lpxelinux.0",
    "ldlinux.c32": "/usr/lib/syslinux/modules/bios/ldlinux.c32",
}
"""The distribution's boot loaders under the names that they are asked for."""


def lay_loaders(folder: Path) -> Path:
    """A files_dir with the boot loaders that are installed."""
    folder.mkdir(exist_ok=True)
    for name, source in LOADERS.items():
        if Path(source).exists():
            shutil.copyfile(source, folder / name)
    return folder


def write_yaml(path: Path, content: Mapping[str, Any]) -> Path:
    """An operator's file."""
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False))
    return path


def micro_config(directory: Path, kubeconfig: Path, secrets: Mapping[str, str]) -> list[Path]:
    """The file of the micro site: every role declared, a catch-all, clusters for images and join methods."""
    join = {"method": "kubeadm", "kubeconfig": str(kubeconfig)}
    cluster = {"endpoint": KUBE, "join": join}
    red = {**join, "kubeconfig": str(directory / "red.kubeconfig")}
    leaving = {"cordon": True, "drain": True, "delete": True}
    unbound = {"endpoint": KUBE, "join": {**join, "bind": "cluster"}}
    content = {
        "server": {
            "data_dir": str(directory / "data"),
            "images_dir": str(directory / "images"),
            "files_dir": str(lay_loaders(directory / "files")),
        },
        "networks": [
            {
                "name": "lab",
                "subnet": "10.77.0.0/24",
                "interface": "br0",
                "address": ADDRESS,
                "range": "10.77.0.100-10.77.0.199",
                "lease": "1h",
            }
        ],
        "clusters": [
            {"name": "blue", "image": "micro", "node_actions": leaving, **cluster},
            {"name": "red", "endpoint": RED, "image": "micro", "node_actions": leaving, "join": red},
            {"name": "wide", "image": "micro-wide", **unbound},
            {"name": "catchall", "image": "micro", **cluster},
            *(
                {"name": n, "endpoint": KUBE, "image": "micro", "join": j}
                for n, j in _joins(directory, kubeconfig)
            ),
        ],
        "pools": [
            _pool("blue", [r for r in ROLES if r not in (*WIDE, *APART)]),
            _pool("wide", WIDE),
            _pool("lonely", ["standalone"]),
            *(_pool(name, [name]) for name in ("certificate", "bootstrap", "byhand")),
            {
                "name": "unknown",
                "cluster": "catchall",
                "network": "lab",
                "catch_all": True,
                "node_name": "node-{mac}",
            },
        ],
        "tags": {
            "all": {
                "root_password_hash": secrets["root_password_hash"],
                "sysctls": {"net.ipv4.ip_forward": 1},
                "modules": ["overlay"],
                "kernel_parameters": ["console=ttyS0,115200n8"],
                "labels": {"lab": "micro"},
                "network_script": 'echo "network.sh on $DEVICE as $HOSTNAME"\n',
                "files": {
                    "/etc/lab-secret": {"content": secrets["file"], "mode": "0600", "secret": True},
                },
            }
        },
    }
    return [write_yaml(directory / "netboot.yaml", content)]


def _joins(directory: Path, kubeconfig: Path) -> list[tuple[str, dict[str, Any]]]:
    """The clusters that are joined without kubeadm; the one built by hand has no API that we may ask."""
    authority = directory / "kube"
    key = lend(authority / "ca.key", directory / "byhand.key")
    lent = lend(authority / "ca.crt", directory / "byhand.crt")
    return [
        ("lonely", {"method": "none"}),
        ("certificate", {"method": "certificate", "kubeconfig": str(kubeconfig)}),
        ("bootstrap", {"method": "tls-bootstrap", "kubeconfig": str(kubeconfig)}),
        ("byhand", {"method": "static", "ca_certificate": str(lent), "ca_key_file": str(key)}),
    ]


def _pool(cluster: str, roles: Sequence[str]) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = [{"name": r, "macs": [mac_of(r)], "address": address_of(r)} for r in roles]
    for node in nodes:
        if node["name"] == "cards":
            node["macs"].append(mac_of("cards", 1))
        if node["name"] == "secure":
            node["boot"] = {"program": "shimx64.efi"}
    return {"name": cluster, "cluster": cluster, "network": "lab", "nodes": nodes}
