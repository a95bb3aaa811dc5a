"""A small inventory that the tests of this room share."""

from __future__ import annotations

import hashlib
import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from netboot.model.image import FILES, Generation, parse_manifest
from netboot.model.inventory import (
    AddressRange,
    Cluster,
    Inventory,
    JoinSettings,
    Network,
    Node,
    Pool,
    Tag,
)
from netboot.model.machine import Mac
from netboot.model.settings import File, Mount, Settings, Taint, Unit

MAC = Mac("52:54:00:12:34:56")
OTHER = Mac("52:54:00:00:00:99")
ADDRESS = IPv4Address("10.77.0.20")
BASE = "http://10.77.0.1"


def manifest(name: str = "debian-12", **changes: object) -> bytes:
    """The manifest of an image whose files hold their own names."""
    files = {f: {"size": len(f), "sha256": hashlib.sha256(f.encode()).hexdigest()} for f in FILES}
    facts = {"version": 1, "name": name, "kernel_parameters": ["quiet"], "min_ram_mib": 512, "files": files}
    return json.dumps({**facts, **changes}).encode()


def publish(images_dir: Path, name: str = "debian-12", **changes: object) -> Generation:
    """Put an image into the layout of the store, as its latest generation."""
    raw = manifest(name, **changes)
    generation = parse_manifest(raw, name=name)
    folder = images_dir / name / generation.id
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(raw)
    for file in FILES:
        (folder / file).write_text(file)
    link = images_dir / name / "latest"
    link.unlink(missing_ok=True)
    link.symlink_to(generation.id)
    return generation


def inventory(*, method: str = "none", image: str | None = "debian-12", **settings: object) -> Inventory:
    """One network, one cluster, one declared node, and no catch-all."""
    network = Network(
        name="lab",
        subnet=IPv4Network("10.77.0.0/24"),
        interface="br0",
        address=IPv4Address("10.77.0.1"),
        ranges=(AddressRange(IPv4Address("10.77.0.100"), IPv4Address("10.77.0.200")),),
        gateway=IPv4Address("10.77.0.1"),
        dns=(IPv4Address("10.77.0.1"),),
        domain="lab.example.org",
    )
    cluster = Cluster("blue", "10.77.0.1:6443", image=image, join=JoinSettings(method=method, bind="cluster"))
    node = Node("m1c29", "compute", (MAC,), address=ADDRESS, settings=Settings(**settings))  # type: ignore[arg-type]
    tags = {"all": Tag("all", settings=Settings(kernel_parameters=("console=ttyS0,115200n8",)))}
    return Inventory(
        networks={"lab": network},
        clusters={"blue": cluster},
        pools={"compute": Pool("compute", "blue", "lab")},
        nodes=(node,),
        tags=tags,
    )


EVERYTHING = {
    "timezone": "Europe/Prague",
    "root_password_hash": "$6$canary$hash",
    "network_script": "echo 'it runs'\n",
    "ssh_authorized_keys": ("ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two"),
    "modules": ("overlay", "br_netfilter"),
    "sysctls": {"net.ipv4.ip_forward": "1", "kernel.printk": "3 4 1 3"},
    "mounts": (Mount("tmpfs", "/var/lib/kubelet", "tmpfs"), Mount("/dev/a b", "/mnt/a b#c", "ext4", "ro")),
    "labels": {"b": "2", "a": "1"},
    "taints": (Taint("foo", "bar", "NoSchedule"), Taint("only", "", "NoExecute")),
    "kubelet_args": {"cgroup-driver": "systemd", "eviction-hard": "memory.available<100Mi"},
    "files": {"/etc/motd": File("hello\n"), "/root/.docker/config.json": File("{}", 0o600, secret=True)},
    "units": {"hello.service": Unit("[Service]\n", enable=True), "quiet.timer": Unit("[Timer]\n")},
    "hosts": {"10.77.0.9": ("registry.example.org", "registry")},
}
"""Settings of every kind."""


@pytest.fixture
def images_dir(tmp_path: Path) -> Path:
    """An images_dir with one sound image."""
    publish(tmp_path)
    return tmp_path
