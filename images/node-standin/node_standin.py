"""What the stand-ins of kubeadm and kubelet share: files of the machine, an HTTPS client, kubeconfigs.

Only the standard library, and little of it: under emulation every import costs. No shortcut is taken
with the protocol: discovery, signatures, certificates and errors are those of the real programs.
"""

# pathlib would double the start-up time under emulation
# ruff: noqa: PTH103, PTH105, PTH108, PTH110, PTH120, PTH123

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import sys
import time

ROOT = os.environ.get("NODE_STANDIN_ROOT", "")
"""Prefix of every path, so that tests can run several machines without being root."""

ADMIN_TIMEOUT = 10.0
"""Seconds that one request may take, as kubeadm's and kubelet's clients allow."""


class Failed(Exception):
    """The program ends with this text and status 1."""


class Unreachable(Exception):
    """No answer from the API server; the text is what Go's client would have said."""


class Answered(Exception):
    """An answer that is a refusal: `code`, and the message of its Status body."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def path(name):
    """A path of this machine."""
    return ROOT + name


def read(name, default=None):
    """The text of a file, `default` where it cannot be read."""
    try:
        with open(path(name), encoding="utf-8") as file:
            return file.read()
    except OSError:
        if default is None:
            raise
        return default


def write(name, text, mode=0o600):
    """Write a file in one step, with its folders."""
    target = path(name)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    temporary = f"{target}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, target)


def exists(name):
    """Whether a file is there."""
    return os.path.exists(path(name))


def remove(name):
    """Remove a file; no error where there is none."""
    try:
        os.unlink(path(name))
    except FileNotFoundError:
        pass


def say(text):
    """A line on stdout, at once."""
    print(text, flush=True)


def log(text):
    """A line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)


def utc(seconds, fraction=False):
    """RFC 3339 in UTC; with microseconds where `fraction`."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{int(seconds % 1 * 1e6):06d}Z" if fraction else f"{text}Z"


def split_endpoint(endpoint):
    """Host and port of `host:port`, `[v6]:port` or an https URL."""
    rest = endpoint.removeprefix("https://").partition("/")[0]
    host, _, port = rest.rpartition(":")
    if not host:
        host, port = rest, "443"
    return host.strip("[]"), int(port)


def trusting(ca_pem=None, certificate=None, key=None):
    """A TLS context: with an authority it verifies, without one it does not (kubeadm's first look)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_pem is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=ca_pem)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


class Api:
    """One API server, seen by one client. Each request is a connection of its own."""

    def __init__(self, server, context, bearer=""):
        self.server = server if server.startswith("https://") else f"https://{server}"
        self.host, self.port = split_endpoint(server)
        self._context = context
        self._bearer = bearer

    def get(self, where):
        """The object at that path."""
        return self.call("GET", where)

    def call(self, method, where, body=None, content_type="application/json"):
        """The answer's JSON. Raises Answered for a refusal, Unreachable for none."""
        payload = json.dumps(body).encode() if body is not None else b""
        lines = [
            f"{method} {where} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            "Accept: application/json",
            "Connection: close",
            "User-Agent: node-standin",
            f"Content-Length: {len(payload)}",
        ]
        if self._bearer:
            lines.append(f"Authorization: Bearer {self._bearer}")
        if payload:
            lines.append(f"Content-Type: {content_type}")
        head = "\r\n".join(lines) + "\r\n\r\n"
        try:
            raw = self._exchange(head.encode() + payload)
            code, answer = _parse(raw)
        except (OSError, ValueError) as error:
            raise Unreachable(self._as_go_says(method, where, error)) from None
        if code >= 400:
            message = answer.get("message", f"HTTP {code}") if isinstance(answer, dict) else f"HTTP {code}"
            raise Answered(code, message)
        return answer

    def _exchange(self, request):
        with (
            socket.create_connection((self.host, self.port), ADMIN_TIMEOUT) as plain,
            self._context.wrap_socket(plain, server_hostname=self.host) as tls,
        ):
            tls.sendall(request)
            parts = []
            while part := tls.recv(65536):
                parts.append(part)
        return b"".join(parts)

    def _as_go_says(self, method, where, error):
        if isinstance(error, ssl.SSLCertVerificationError):
            why = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
            if "mismatch" in error.verify_message:
                why = f"tls: failed to verify certificate: x509: {error.verify_message}"
        elif isinstance(error, TimeoutError):
            why = f"dial tcp {self.host}:{self.port}: i/o timeout"
        elif isinstance(error, OSError) and error.errno:
            why = f"dial tcp {self.host}:{self.port}: connect: {os.strerror(error.errno).lower()}"
        else:
            why = str(error) or "EOF"
        return f'{method.title()} "{self.server}{where}": {why}'


def _parse(raw):
    head, separator, body = raw.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError("EOF")
    code = int(head.split(None, 2)[1])
    if b"transfer-encoding: chunked" in head.lower():
        body = _dechunk(body)
    try:
        return code, json.loads(body) if body else None
    except ValueError:
        return code, {"message": body[:200].decode(errors="replace")}


def _dechunk(body):
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if not length:
            break
        parts.append(body[:length])
        body = body[length + 2 :]
    return b"".join(parts)


def kubeconfig(server, ca_pem, user):
    """A kubeconfig with one user; JSON is YAML."""
    ca = base64.b64encode(ca_pem.encode()).decode()
    return (
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {"name": "kubernetes", "cluster": {"certificate-authority-data": ca, "server": server}}
                ],
                "users": [{"name": "user", "user": user}],
                "contexts": [
                    {"name": "user@kubernetes", "context": {"cluster": "kubernetes", "user": "user"}}
                ],
                "current-context": "user@kubernetes",
            },
            indent=2,
        )
        + "\n"
    )


def client_of(name):
    """The client that a kubeconfig describes, with the server's URL and its authority in PEM."""
    config = json.loads(read(name))
    cluster = config["clusters"][0]["cluster"]
    user = config["users"][0]["user"] if config.get("users") else {}
    if "certificate-authority-data" in cluster:
        ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
    else:
        ca = read(cluster["certificate-authority"])
    certificate, key = _part(name, user, "client-certificate"), _part(name, user, "client-key")
    context = trusting(ca, certificate, key)
    return Api(cluster["server"], context, user.get("token", "")), cluster["server"], ca


def _part(kubeconfig_file, user, what):
    """The file of a certificate or key that a kubeconfig names or carries."""
    if what + "-data" not in user:
        return path(user[what]) if user.get(what) else None
    file = f"/run/node-standin/{kubeconfig_file.strip('/').replace('/', '-')}-{what}.pem"
    write(file, base64.b64decode(user[what + "-data"]).decode())
    return path(file)
