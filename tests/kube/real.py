"""A cluster of real binaries on loopback: etcd, kube-apiserver, kube-controller-manager.

NETBOOT_KUBERNETES_BIN names a folder with kube-apiserver, kube-controller-manager, kubeadm, kubelet and
kubectl; etcd lies there or in PATH (Debian: etcd-server). One cluster of each name serves all tests of a
process, from the first one on that asks for it: each test finds it clean. Its objects are read and written by
the administrator's certificate, synchronously.
"""

from __future__ import annotations

import atexit
import functools
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.kube import pki
from tests.kube.kubeadm_init import documents
from tests.kube.status import Json

VARIABLE = "NETBOOT_KUBERNETES_BIN"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kubeadm", "kubelet", "kubectl")
MANIFESTS = Path(__file__).resolve().parents[2] / "config" / "kubernetes"
LOOPBACK = "127.0.0.1"
PATIENCE = 90.0
"""Seconds that each program has until it answers."""
TRIES = 3
"""How often a cluster is started before it is given up."""


class MissingPrograms(RuntimeError):
    """The folder is not what NETBOOT_KUBERNETES_BIN has to name."""


def programs(folder: Path) -> dict[str, Path]:
    """The programs of a folder, and etcd; raises MissingPrograms with everything that is not there."""
    found = {name: folder / name for name in PROGRAMS}
    missing = [name for name, path in found.items() if not (path.is_file() and os.access(path, os.X_OK))]
    etcd = shutil.which("etcd", path=os.pathsep.join([str(folder), os.environ.get("PATH", os.defpath)]))
    what = [f"{folder} lacks {', '.join(missing)}"] if missing else []
    if not etcd:
        what.append("etcd is neither there nor in PATH (apt-get install etcd-server)")
    if what or not etcd:
        raise MissingPrograms(f"{VARIABLE}={folder} cannot be used: {'; '.join(what)}")
    return found | {"etcd": Path(etcd)}


@functools.cache
def shared(folder: Path, name: str) -> RealCluster | Exception:
    """The cluster of that name, or why there is none: started at the first call, ended with this process.

    A free port may be somebody else's by the time a program listens there: hence a few tries, but not one for
    each of a thousand tests.
    """
    failure: Exception | None = None
    for _ in range(TRIES):
        try:
            cluster = RealCluster(programs(folder), Path(tempfile.mkdtemp(prefix=f"netboot-{name}-")))
        except MissingPrograms as error:
            return error
        atexit.register(cluster.stop)
        try:
            cluster.start()
        except Exception as error:
            cluster.stop()
            failure = error
        else:
            return cluster
    assert failure is not None
    return failure


@dataclass
class RealCluster:
    """The processes of one cluster, and its administrator."""

    programs: dict[str, Path]
    directory: Path
    port: int = 0
    minor: int = 0
    host: str = LOOPBACK
    """The address that the API server listens at; etcd stays on loopback."""
    prefix: tuple[str, ...] = ()
    """The words before a command that make it run elsewhere: `ip netns exec NAME`."""
    connect: Callable[[tuple[str, int], float], socket.socket] = socket.create_connection
    """Opens connections there."""
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _context: ssl.SSLContext | None = None

    @property
    def server(self) -> str:
        """https://HOST:PORT."""
        return f"https://{self.host}:{self.port}"

    # Start and stop

    def start(self) -> None:
        """Everything, until it answers and what an operator applies is applied."""
        client, peer, self.port = free_ports(3)
        self._write_keys()
        self._run("etcd", etcd_flags(self.directory, client, peer))
        self._run("kube-apiserver", apiserver_flags(self.directory, client, self.port, self.host))
        self._until("kube-apiserver", lambda: self.ask("GET", "/readyz")[0] == 200)
        version = self.need("GET", "/version")
        self.minor = minor_of(version)
        self._run("kube-controller-manager", controller_manager_flags(self.directory, self.minor))
        self._until("kube-controller-manager", self._has_accounts)
        self._apply(str(version["gitVersion"]))
        self._lend_account()

    def stop(self) -> None:
        """End every process, the last one first, and leave nothing."""
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self._running.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, name: str, flags: list[str]) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self._running.append(
                subprocess.Popen(
                    [*self.prefix, str(self.programs[name]), *flags],
                    cwd=self.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _until(self, name: str, check: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            for process in self._running:
                if process.poll() is not None:
                    program = Path(str(process.args[len(self.prefix)]))  # type: ignore[index]
                    self._fail(program.name, f"ended with {process.returncode}")
            try:
                if check():
                    return
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > end:
                self._fail(name, f"did not answer within {PATIENCE:g} s")
            time.sleep(0.1)

    def _fail(self, name: str, why: str) -> NoReturn:
        log = self.directory / f"{name}.log"
        raise RuntimeError(f"{name} {why}; the end of its log:\n{log.read_text(errors='replace')[-3000:]}")

    def _write_keys(self) -> None:
        """Authority, serving certificate, the key of service accounts, kubeconfig files."""
        authority = pki.authority_in(self.directory)
        certificate, key = authority.server([self.host])
        self._secret("apiserver.crt", certificate)
        self._secret("apiserver.key", key)
        signing = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = serialization.Encoding.PEM
        plain = serialization.NoEncryption()
        self._secret("sa.key", signing.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        public = signing.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        self._secret("sa.pub", public)
        self._kubeconfig("admin", *authority.client("kubernetes-admin", ["system:masters"]))
        self._kubeconfig("controller-manager", *authority.client("system:kube-controller-manager"))
        self._context = ssl.create_default_context(cadata=authority.certificate.decode())
        certificate, key = authority.client("kubernetes-admin", ["system:masters"])
        self._secret("admin.pem", certificate + key)
        self._context.load_cert_chain(self.directory / "admin.pem")

    def _secret(self, name: str, content: bytes) -> None:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_bytes(content)

    def _kubeconfig(self, name: str, certificate: bytes, key: bytes) -> None:
        user = {"client-certificate-data": pki.b64(certificate), "client-key-data": pki.b64(key)}
        self._secret(f"{name}.kubeconfig", self.kubeconfig_of(user).encode())

    def kubeconfig_of(self, user: dict[str, str]) -> str:
        """A kubeconfig of this cluster."""
        return pki.kubeconfig(self.server, (self.directory / "ca.crt").read_bytes(), user)

    def _has_accounts(self) -> bool:
        return self.ask("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] == 200

    def _apply(self, version: str) -> None:
        """What `kubeadm init` leaves behind for joins, and what an operator applies for the appliance."""
        authority = (self.directory / "ca.crt").read_bytes()
        made = documents(self.server, authority, version, self.minor)
        for number, document in enumerate(made):
            (self.directory / f"init-{number}.json").write_text(json.dumps(document))
        files = [*sorted(self.directory.glob("init-*.json")), *manifests(self.minor)]
        for file in files:
            command = [
                *self.prefix,
                str(self.programs["kubectl"]),
                f"--kubeconfig={self.directory / 'admin.kubeconfig'}",
                "apply",
                f"--filename={file}",
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=self.directory)
            if done.returncode:
                raise RuntimeError(f"kubectl apply of {file.name} failed: {done.stderr}{done.stdout}")

    def _lend_account(self) -> None:
        path = "/api/v1/namespaces/netboot/serviceaccounts/appliance/token"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 86400},
        }
        token = str(self.need("POST", path, request)["status"]["token"])
        self._secret("appliance.token", token.encode())
        self._secret("appliance.kubeconfig", self.kubeconfig_of({"token": token}).encode())

    # Ask

    def ask(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> tuple[int, Json]:
        """One request by the administrator; an answer that is no JSON is empty."""
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=15)
        try:
            assert self._context
            plain = self.connect((self.host, self.port), 15)
            connection.sock = self._context.wrap_socket(plain, server_hostname=self.host)
            data = json.dumps(body) if body is not None else None
            connection.request(method, path, data, {"Content-Type": kind, "Accept": "application/json"})
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = {}
        return response.status, answer if isinstance(answer, dict) else {}

    def need(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Json:
        """One request that has to be granted."""
        status, answer = self.ask(method, path, body, kind)
        if status >= 300:
            raise RuntimeError(f"{method} {path} was answered {status}: {answer.get('message')}")
        return answer


def manifests(minor: int) -> list[Path]:
    """What an operator applies to a cluster of that minor version; admission policies came with 1.30."""
    return [path for path in sorted(MANIFESTS.glob("*.yaml")) if minor >= 30 or path.name != "policy.yaml"]


def minor_of(version: Json) -> int:
    """The minor version; providers write it like `31+`."""
    return int(re.sub(r"\D", "", str(version["minor"])))


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def etcd_flags(directory: Path, client: int, peer: int) -> list[str]:
    """The command line of etcd 3.4 and newer: one member, on loopback."""
    return [
        f"--data-dir={directory / 'etcd'}",
        "--name=default",
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
    ]


def apiserver_flags(directory: Path, etcd: int, port: int, host: str = LOOPBACK) -> list[str]:
    """The command line of kube-apiserver 1.20 to 1.36, with what `kubeadm init` sets for joins.

    The endpoints of the Service `kubernetes` are left alone: a loopback address may not be one.
    """
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--bind-address={host}",
        f"--advertise-address={host}",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--tls-cert-file={directory / 'apiserver.crt'}",
        f"--tls-private-key-file={directory / 'apiserver.key'}",
        f"--client-ca-file={directory / 'ca.crt'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--enable-bootstrap-token-auth=true",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={directory / 'sa.pub'}",
        f"--service-account-signing-key-file={directory / 'sa.key'}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged=true",
    ]


def controller_manager_flags(directory: Path, minor: int) -> list[str]:
    """The command line of kube-controller-manager: signs tokens and certificates, serves nobody.

    Before 1.24 it has an insecure port, too, one and the same for all that run on a machine.
    """
    closed = ["--port=0"] if minor < 24 else []
    return [
        f"--kubeconfig={directory / 'controller-manager.kubeconfig'}",
        "--controllers=*,bootstrapsigner,tokencleaner",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={directory / 'sa.key'}",
        f"--root-ca-file={directory / 'ca.crt'}",
        f"--cluster-signing-cert-file={directory / 'ca.crt'}",
        f"--cluster-signing-key-file={directory / 'ca.key'}",
        "--leader-elect=false",
        "--secure-port=0",
        *closed,
    ]
