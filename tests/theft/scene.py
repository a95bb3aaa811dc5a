"""The site that the thefts are tried in: one daemon, the API stand-in, machines on one bridge."""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.boot.identity import Identity, identity
from tests.interop.stranger import Stranger
from tests.kube.control import KubeApi
from tests.kube.pki import b64, new_request
from tests.lab.appliance import ROOT, Appliance
from tests.lab.namespace import ADDRESS, Lab, run
from tests.lab.site import KUBE, lend, write_yaml
from tests.proc.house import make_image
from tests.theft.guards import copied

CARDS = {name: f"52:54:00:77:71:0{name[1]}" for name in ("m1", "m2", "m3", "m5")}
ADDRESSES = {name: f"10.77.0.2{name[1]}" for name in CARDS}
OFF = {
    "name": "m4",
    "macs": ["52:54:00:77:71:04"],
    "address": "10.77.0.24",
    "uuid": "4c4c4544-0042-3510-8054-b4c04f564232",
}
"""A machine that is switched off, declared with its UUID."""
THIEF = "52:54:00:77:7f:01"
OUTSIDE = "nothing of this is offered"
FILES = {"vmlinuz": b"kernel" * 400, "initrd.img": b"initrd" * 400, "root.squashfs": b"squashfs" * 4000}
KEY = re.compile(r"/boot/([0-9a-f]{32})/seed\.cpio")
MASQUERADE = (
    "add table ip containers; add chain ip containers out { type nat hook postrouting priority 100; };"
    'add rule ip containers out oifname "eth0" masquerade'
)
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


Run = Callable[..., subprocess.CompletedProcess[bytes]]
"""Runs a program somewhere, to its end."""


class Switched(Appliance):
    """`netboot serve` of a scratch copy, whose guards can be switched off."""

    copy: Path

    @property
    def command(self) -> list[str]:
        """The copy's own daemon."""
        return ["env", "-C", str(self.copy), *super().command]

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "PYTHONPATH": str(self.copy)}


@dataclass
class Scene:
    """What a row holds. `victim` is m1, other rows have other declared machines; `thief` is nobody."""

    lab: Lab
    kube: KubeApi
    appliance: Appliance
    directory: Path
    identity: Identity
    machines: dict[str, Stranger] = field(default_factory=dict)
    _number: int = 0

    @property
    def victim(self) -> Stranger:
        """The machine that is stolen from."""
        return self.machines["m1"]

    @property
    def thief(self) -> Stranger:
        """A machine that nobody declared, with an address of the catch-all pool."""
        return self.machines["thief"]

    # What machines do

    def opens(self, machine: Stranger) -> str:
        """A boot of its own up to the script; its key, empty where it is given none."""
        for _ in range(3):  # two machines with one MAC address take each other's frames
            if machine.boots() and (key := self.key(machine)):
                return key
        return ""

    def key(self, machine: Stranger, mac: str = "") -> str:
        """The key in the script that it is given, empty without one."""
        found = KEY.search(machine.script(mac)[1])
        return found[1] if found else ""

    def seed(self, machine: Stranger, key: str) -> bool:
        """Whether it is given the seed of that key."""
        return machine.curl(f"/boot/{key}/seed.cpio")[0] == 200

    def claim(self, machine: Stranger, key: str, mac: str = "") -> str:
        """Claim; the session, empty for a refusal. Each time with another body, as another machine would."""
        path = self.directory / "claim.json"
        path.write_text(self._claim(mac or machine.mac))
        where = f"/boot/{key}/claim" if key else "/boot/claim"
        status, _, body = machine.curl(where, "--data-binary", f"@{path}")
        return str(json.loads(body)["session"]) if status == 200 else ""

    def claim_request(self, machine: Stranger, key: str) -> bytes:
        """The same as it goes over the wire."""
        body = self._claim(machine.mac)
        head = f"POST /boot/{key}/claim HTTP/1.1\r\nHost: {ADDRESS}\r\nContent-Length: {len(body)}\r\n\r\n"
        return (head + body).encode()

    def _claim(self, mac: str) -> str:
        self._number += 1
        uuid = f"4c4c4544-0000-4000-8000-{self._number:012x}"
        return json.dumps({"mac": mac, "uuid": uuid, "certificate": self.identity.pem, "csr": ""})

    def token(self, machine: Stranger, session: str, tries: int = 8, *, opens: bool = True) -> str:
        """The join token of the session's configuration; empty where it is withheld, or nobody `opens` it."""
        for _ in range(tries):
            bearer = ("-H", f"Authorization: Bearer {session}") if session else ()
            status, _, body = machine.curl("/boot/config", *bearer)
            if status == 200:
                found = re.search(rb"[a-z0-9]{6}\.[a-z0-9]{16}", self.identity.open(body) if opens else body)
                return found[0].decode() if found else ""
            if status != 503:
                break
            machine.run("sleep", "0.3")
        return ""

    def settings(self, machine: Stranger, session: str) -> bool:
        """Whether it is given the session's configuration."""
        return machine.curl("/boot/config", "-H", f"Authorization: Bearer {session}")[0] == 200

    def joins(self, machine: Stranger) -> str:
        """A boot of its own up to its token."""
        session = self.claim(machine, self.opens(machine))
        assert session, f"{machine.mac} could not boot: {self.appliance.log()[-2000:]}"
        token = self.token(machine, session)
        assert token, f"{machine.mac} was given no token: {self.appliance.log()[-2000:]}"
        return token

    @contextmanager
    def ghost(self, mac: str = CARDS["m1"]) -> Iterator[Stranger]:
        """A further machine on the bridge with the victim's MAC address, or another one's."""
        self._number += 1
        with Stranger(self.lab, f"ghost{self._number}", mac, self.directory) as made:
            yield made

    @contextmanager
    def container(self, machine: Stranger) -> Iterator[Run]:
        """A network of its own on this machine, as a container has it; runs programs there."""
        self._number += 1
        name = f"{machine.name}-c{self._number}"
        inside = ("ip", "netns", "exec", name)
        run("ip", "netns", "add", name)
        try:
            pair = ["type", "veth", "peer", "name", "eth0", "netns"]
            run("ip", "-n", machine.name, "link", "add", "c0", *pair, name)
            for where, device, address in (
                (machine.name, "c0", "10.88.0.1/24"),
                (name, "eth0", "10.88.0.2/24"),
            ):
                run("ip", "-n", where, "addr", "add", address, "dev", device)
                run("ip", "-n", where, "link", "set", device, "up")
            run("ip", "-n", name, "route", "add", "default", "via", "10.88.0.1")
            run(*inside, "sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=0")
            machine.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
            machine.run("nft", MASQUERADE)
            yield lambda *command: subprocess.run([*inside, *command], capture_output=True, timeout=30)
        finally:
            machine.run("nft", "delete table ip containers")
            run("ip", "netns", "del", name, check=False)

    # What the cluster and the operator's port are asked

    def leaves(self, node: str) -> None:
        """A node that lived under this name is switched off, and its objects are deleted."""
        self.kube.control("dead_node", name=node)
        for resource, namespace in (("nodes", ""), ("leases", "kube-node-lease")):
            self.kube.control("delete", resource=resource, name=node, namespace=namespace)

    def certificate(self, token: str, node: str, name: str) -> bool:
        """Whether this token gets a certificate for that node, by a request of this name."""
        request = pem_of(node)
        spec = {
            "request": b64(request),
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
        }
        body = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": spec,
        }
        status, _ = self.ask_cluster("POST", CSRS, token, body)
        assert status == 201, status
        for _ in range(60):
            _, found = self.ask_cluster("GET", f"{CSRS}/{name}", token)
            state = found.get("status") or {}
            if state.get("certificate"):
                return base64.b64decode(state["certificate"]).startswith(b"-----BEGIN CERTIFICATE")
            if any(c["type"] == "Denied" for c in state.get("conditions") or ()):
                return False
            self.thief.run("sleep", "0.1")
        return False

    def ask_cluster(self, method: str, path: str, token: str, body: Any = None) -> tuple[int, Any]:
        """One request to the API stand-in with a bootstrap token."""
        context = ssl.create_default_context(cadata=(self.kube.directory / "ca.crt").read_text())
        connection = http.client.HTTPSConnection(ADDRESS, 6443, timeout=10)
        plain = self.lab.connect(ADDRESS, 6443)
        connection.sock = context.wrap_socket(plain, server_hostname=ADDRESS)
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


def pem_of(node: str) -> bytes:
    """A request for that node's client certificate."""
    return new_request(f"system:node:{node}", "system:nodes")


def config(directory: Path, kubeconfig: Path) -> dict[str, Any]:
    """The operator's file: three declared nodes bound to their tokens, and a pool for everybody else."""
    join = {"method": "kubeadm", "kubeconfig": str(kubeconfig)}
    lab = {"name": "lab", "subnet": "10.77.0.0/24", "interface": "br0", "range": "10.77.0.100-10.77.0.160"}
    nodes: list[dict[str, Any]] = [{"name": n, "macs": [CARDS[n]], "address": ADDRESSES[n]} for n in CARDS]
    nodes.append(OFF)
    return {
        "server": {
            "data_dir": str(directory / "data"),
            "images_dir": str(directory / "images"),
            "files_dir": str(directory / "files"),
            "workers": 1,
        },
        "networks": [lab],
        "clusters": [
            {"name": "blue", "endpoint": KUBE, "image": "micro", "join": join},
            {"name": "alone", "endpoint": KUBE, "image": "micro", "join": {"method": "none"}},
        ],
        "pools": [
            {"name": "own", "cluster": "blue", "network": "lab", "nodes": nodes},
            {"name": "unknown", "cluster": "alone", "network": "lab", "catch_all": True},
        ],
    }


@contextmanager
def playing(directory: Path, *, switch: Path | None) -> Iterator[Scene]:
    """The site, up; with `switch` its guards can be switched off through that file."""
    directory.mkdir(mode=0o711)
    with ExitStack() as stack:
        lab = stack.enter_context(Lab())
        kube = stack.enter_context(KubeApi.start(directory / "kube", KUBE, prefix=lab.prefix))
        lent = lend(kube.directory / "appliance.kubeconfig", directory / "appliance.kubeconfig")
        (directory / "files").mkdir()
        (directory / "outside").write_text(OUTSIDE)
        make_image(directory / "images", FILES, "micro")
        (directory / "identity").mkdir()
        configs = [write_yaml(directory / "netboot.yaml", config(directory, lent))]
        appliance = (Appliance if switch is None else Switched)(lab, configs, directory, directory / "data")
        if isinstance(appliance, Switched):
            assert switch is not None
            appliance.copy = directory / "copy"
            copied(ROOT / "netboot", appliance.copy, switch, ADDRESSES["m1"])
        stack.enter_context(appliance)
        scene = Scene(lab, kube, appliance, directory, identity(directory / "identity"))
        for name, mac in {**CARDS, "thief": THIEF}.items():
            scene.machines[name] = stack.enter_context(Stranger(lab, name, mac, directory))
        assert scene.thief.lease()
        yield scene
