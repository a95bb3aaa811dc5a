"""Files by HTTP and TFTP, and what goes wrong with them."""

from __future__ import annotations

import builtins
import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from netboot.errors import ProbeError
from netboot.probe import loads
from netboot.probe.loads import NO_TFTPY, NotTried, load, url_of
from netboot.probe.offers import File

BODY = b"MZ" + bytes(998)


class Site(http.server.BaseHTTPRequestHandler):
    """A small HTTP server with faults."""

    def do_HEAD(self) -> None:
        """Size only."""
        self._answer(b"")

    def do_GET(self) -> None:
        """The file."""
        self._answer(BODY)

    def _answer(self, body: bytes) -> None:
        self.send_response(404 if self.path == "/missing" else 200)
        if self.path != "/silent":
            self.send_header("Content-Length", "5" if self.path == "/lies" and not body else str(len(BODY)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def site() -> Iterator[str]:
    """Its base URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_comes_by_http_with_its_size(site: str) -> None:
    """HEAD, then GET, as UEFI does."""
    loaded = load(f"{site}/a.efi", 5)
    assert (loaded.data, loaded.size) == (BODY, 1000)
    assert load(f"{site}/silent", 5).size == 1000


def test_refusals_and_contradictions_are_errors_in_words(site: str) -> None:
    """A status that is not 200, sizes that do not agree, nobody there, no URL at all."""
    for path, words in (("missing", "404"), ("lies", "HEAD told 5 octets, GET brought 1000")):
        with pytest.raises(ProbeError, match=words):
            load(f"{site}/{path}", 5)
    for url in ("http://127.0.0.1:1/x", "http://127.0.0.1:notaport/", "http://[::bad/", "http:///"):
        with pytest.raises(ProbeError):
            load(url, 1)


def test_what_this_host_cannot_try_is_no_fault_of_the_server() -> None:
    """Other schemes are not tried."""
    with pytest.raises(NotTried, match="nfs://"):
        load("nfs://10.0.0.1/x", 1)


def test_without_tftpy_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that has it."""
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "tftpy":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NotTried, match=r"netboot-appliance\[lab\]") as told:
        load("tftp://127.0.0.1/x", 1)
    assert str(told.value) == NO_TFTPY


def test_a_boot_file_is_a_url_or_a_path_by_tftp() -> None:
    """From its own server."""
    assert url_of(File("http://h/x", "10.0.0.1")) == "http://h/x"
    assert url_of(File("/a/b.0", "10.0.0.1")) == "tftp://10.0.0.1/a/b.0"


def test_what_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TFTP server cannot fill our memory."""
    monkeypatch.setattr(loads, "MOST", 10)
    into = loads._Bounded()
    into.write(bytes(10))
    with pytest.raises(ProbeError, match="came by TFTP"):
        into.write(b"x")
