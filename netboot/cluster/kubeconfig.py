"""Read a kubeconfig: which server, which authority, which credential. No network.

Relative paths count from the kubeconfig's folder, `*-data` wins over a file, and what would weaken the
connection is refused: `insecure-skip-tls-verify`, plain http, no authority, no credential.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from netboot.errors import ClusterError

IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds the service account that it runs under."""

SIZE_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A program that prints a credential (client.authentication.k8s.io/v1)."""

    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_version: str = "client.authentication.k8s.io/v1"
    provide_cluster_info: bool = False


@dataclass(frozen=True, slots=True)
class Credential:
    """How we prove who we are: a certificate with key, a token, a file with a token, or a program."""

    token: str = field(default="", repr=False)
    token_file: Path | None = None
    """Read again at each use: bound service-account tokens are renewed in place."""
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    plugin: ExecPlugin | None = None


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """One context of a kubeconfig, ready for use."""

    server: str
    ca: bytes
    credential: Credential
    tls_server_name: str | None = None
    proxy: str | None = None
    files: tuple[Path, ...] = ()
    """Every file that was read; when one changes, load again."""


def load(path: Path) -> Kubeconfig:
    """The current context of a kubeconfig. Raises ClusterError that names the file and what to do."""
    return _Loader(path).load()


def load_in_cluster(environ: Mapping[str, str], folder: Path = IN_CLUSTER) -> Kubeconfig:
    """The service account of the pod that we run in. Raises ClusterError outside of one."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (folder / "token").exists():
        raise ClusterError(
            "no kubeconfig is named and we run in no pod: set `kubeconfig` in the cluster's `join`"
        )
    bracketed = f"[{host}]" if ":" in host else host
    ca = folder / "ca.crt"
    return Kubeconfig(
        server=f"https://{bracketed}:{port}",
        ca=_read(ca, f"{folder}"),
        credential=Credential(token_file=folder / "token"),
        files=(ca,),
    )


def _read(path: Path, named_in: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise ClusterError(f"{named_in}: cannot read {path}: {error.strerror}") from None
    if len(content) > SIZE_LIMIT:
        raise ClusterError(
            f"{named_in}: {path} is larger than 1 MiB, that is no kubeconfig and no certificate"
        )
    return content


class _Loader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._files = [path]

    def load(self) -> Kubeconfig:
        document = self._document()
        context = self._context(document)
        cluster = self._named(document, "clusters", "cluster", context.get("cluster"))
        user = self._named(document, "users", "user", context.get("user"))
        server, ca = self._server(cluster), self._authority(cluster)
        return Kubeconfig(
            server=server,
            ca=ca,
            credential=self._credential(user),
            tls_server_name=cluster.get("tls-server-name") or None,
            proxy=cluster.get("proxy-url") or None,
            files=tuple(self._files),
        )

    def _wrong(self, text: str) -> ClusterError:
        return ClusterError(f"{self._path}: {text}")

    def _document(self) -> dict[str, Any]:
        try:
            document = yaml.safe_load(_read(self._path, "kubeconfig"))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
            # the error's own text quotes the file, and with it its secrets
            mark = getattr(error, "problem_mark", None)
            where = f" (line {mark.line + 1})" if mark else ""
            raise self._wrong(f"is no YAML{where}") from None
        if not isinstance(document, dict) or document.get("kind", "Config") != "Config":
            raise self._wrong("is no kubeconfig: `kind: Config` is missing")
        return document

    def _context(self, document: dict[str, Any]) -> dict[str, Any]:
        name = document.get("current-context")
        if not name:
            raise self._wrong("names no current-context: `kubectl config use-context NAME` sets it")
        return self._named(document, "contexts", "context", name)

    def _named(self, document: dict[str, Any], plural: str, singular: str, name: object) -> dict[str, Any]:
        entries = document.get(plural)
        for entry in entries if isinstance(entries, list) else ():
            if (
                isinstance(entry, dict)
                and entry.get("name") == name
                and isinstance(entry.get(singular), dict)
            ):
                found: dict[str, Any] = entry[singular]
                return found
        raise self._wrong(f"has no {singular} named {name!r} in its {plural}")

    def _server(self, cluster: dict[str, Any]) -> str:
        server = cluster.get("server")
        if not isinstance(server, str) or not server.startswith("https://"):
            raise self._wrong(
                f"server {server!r} is no https:// address, so the credential would go in clear"
            )
        if cluster.get("insecure-skip-tls-verify"):
            raise self._wrong("has insecure-skip-tls-verify: remove it, and name certificate-authority-data")
        return server.rstrip("/")

    def _authority(self, cluster: dict[str, Any]) -> bytes:
        ca = self._data_or_file(cluster, "certificate-authority")
        if b"-----BEGIN CERTIFICATE-----" not in ca:
            raise self._wrong("names no certificate-authority in PEM: nodes get its hash, it must be known")
        return ca

    def _credential(self, user: dict[str, Any]) -> Credential:
        for unsafe in ("username", "password", "auth-provider", "as", "as-groups"):
            if user.get(unsafe):
                raise self._wrong(
                    f"has a user with `{unsafe}`, which is not supported: use a token, a tokenFile, "
                    "a client certificate or exec"
                )
        plugin = user.get("exec")
        credential = Credential(
            token=self._text(user, "token"),
            token_file=self._file(user.get("tokenFile")) if user.get("tokenFile") else None,
            certificate=self._data_or_file(user, "client-certificate"),
            key=self._data_or_file(user, "client-key"),
            plugin=self._plugin(plugin) if isinstance(plugin, dict) else None,
        )
        if bool(credential.certificate) != bool(credential.key):
            raise self._wrong("has a client certificate without its key, or a key without its certificate")
        if not (credential.token or credential.token_file or credential.certificate or credential.plugin):
            raise self._wrong("has a user without a credential: we would go on as anonymous")
        return credential

    def _plugin(self, plugin: dict[str, Any]) -> ExecPlugin:
        version, command = plugin.get("apiVersion"), plugin.get("command")
        if version not in ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"):
            raise self._wrong(
                f"exec with apiVersion {version!r}: client.authentication.k8s.io/v1 is supported"
            )
        if not isinstance(command, str) or not command:
            raise self._wrong("exec without a command")
        if "/" in command:  # a bare name is looked up in PATH, as by kubectl
            command = str(self._file(command))
        arguments = [str(a) for a in plugin.get("args") or ()]
        env = {str(e["name"]): str(e["value"]) for e in plugin.get("env") or ()}
        return ExecPlugin((command, *arguments), env, version, bool(plugin.get("provideClusterInfo")))

    def _text(self, entry: dict[str, Any], name: str) -> str:
        value = entry.get(name) or ""
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise self._wrong(f"`{name}` is no line of ASCII text")
        return value

    def _file(self, name: object) -> Path:
        if not isinstance(name, str):
            raise self._wrong(f"{name!r} is no path")
        return self._path.parent / name

    def _data_or_file(self, entry: dict[str, Any], name: str) -> bytes:
        if data := entry.get(f"{name}-data"):
            try:
                return base64.b64decode(str(data), validate=True)
            except (binascii.Error, ValueError):
                raise self._wrong(f"`{name}-data` is no base64") from None
        if not entry.get(name):
            return b""
        path = self._file(entry[name])
        self._files.append(path)
        return _read(path, str(self._path))
