"""A small appliance for the shell parts: claims, a squashfs with faults on demand, a sealed configuration."""

from __future__ import annotations

import io
import json
import ssl
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SESSION = "s3ss10n-of_this~boot.0123456789"


@dataclass
class Answer:
    """What one request gets; `cut` ends the connection after that many bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class FakeAppliance:
    """Listens on loopback; `asked` is all that came in, `before` may answer instead of the default."""

    def __init__(
        self,
        squashfs: bytes = b"",
        config: Mapping[str, bytes | tuple[bytes, int]] | None = None,
        node: str = "n1",
        certificate: Path | None = None,
    ) -> None:
        """`certificate`: PEM of chain and key, to listen with TLS."""
        self.squashfs = squashfs
        self.config = dict(config or {})
        self.node = node
        self.asked: list[Asked] = []
        self.before: Callable[[Asked], Answer | None] = lambda asked: None
        self.certificate = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeAppliance:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def to(self, path: str) -> list[Asked]:
        """The requests for one path, in order."""
        return [asked for asked in self.asked if asked.path == path]

    def reports(self, step: str | None = None) -> list[dict[str, Any]]:
        """The reports, all or of one step."""
        found = [json.loads(asked.body) for asked in self.to("/boot/report")]
        return [report for report in found if step in (None, report["step"])]

    def answer(self, asked: Asked) -> Answer:
        """What a well-behaved appliance says."""
        if asked.path.endswith("/claim"):
            self.certificate = json.loads(asked.body)["certificate"]
            return Answer(200, json.dumps({"session": SESSION, "node": self.node}).encode())
        if asked.path.startswith("/images/"):
            return self._range(asked)
        if asked.path in ("/boot/report", "/boot/log"):
            good = asked.headers.get("Authorization") == f"Bearer {SESSION}"
            return Answer(204 if good else 404)
        if asked.path == "/boot/config":
            return Answer(
                200, seal(tar_of(self.config), self.certificate), {"Content-Type": "application/cms"}
            )
        return Answer(404, b"no such thing\n")

    def _range(self, asked: Asked) -> Answer:
        begin = int(asked.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        rest = self.squashfs[begin:]
        if not begin:
            return Answer(200, rest)
        last = len(self.squashfs) - 1
        return Answer(206, rest, {"Content-Range": f"bytes {begin}-{last}/{last + 1}"})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        appliance = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                return

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                asked = Asked(self.command, self.path, dict(self.headers.items()), body)
                answer = appliance.before(asked)
                appliance.asked.append(asked)
                self._send(answer if answer is not None else appliance.answer(asked))

            def _send(self, answer: Answer) -> None:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.status != 204:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.send_header("Connection", "close")
                self.end_headers()
                try:
                    self.wfile.write(answer.body if answer.cut is None else answer.body[: answer.cut])
                except OSError:
                    pass
                self.close_connection = True

            do_GET = do_POST = do_HEAD = _serve

        return Handler


def tar_of(members: Mapping[str, bytes | tuple[bytes, int]]) -> bytes:
    """An uncompressed ustar of these members; a member is its content, or content and mode."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, member in members.items():
            content, mode = member if isinstance(member, tuple) else (member, 0o644)
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            tar.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def seal(content: bytes, certificate: str) -> bytes:
    """DER EnvelopedData for this certificate, by openssl itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.pem"
        path.write_text(certificate)
        return subprocess.run(
            ["openssl", "cms", "-encrypt", "-binary", "-outform", "DER", "-aes256", str(path)],
            input=content, capture_output=True, check=True,
        ).stdout  # fmt: skip
