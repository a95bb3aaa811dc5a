"""Fetching what a machine is told to load, from this host's own address: TFTP by tftpy, HTTP."""

from __future__ import annotations

import http.client
import logging
import ssl
import time
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import SplitResult, urlsplit

from netboot.errors import ProbeError
from netboot.probe.offers import File

MOST = 64 << 20
"""Octets loaded of one file; a boot program has less than one of these 64 MiB."""

NO_TFTPY = "tftpy is not installed, so that TFTP is not tried: pip install 'netboot-appliance[lab]'"


class NotTried(ProbeError):
    """A load that this host cannot try; no fault of the server's."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that came."""

    url: str
    data: bytes
    size: int
    """As the server told it, else as it came."""
    took: float


def url_of(file: File) -> str:
    """A boot file as a URL."""
    return file.name if "://" in file.name else f"tftp://{file.server}/{file.name.lstrip('/')}"


def load(url: str, timeout: float, *, name: str | None = None) -> Loaded:
    """A whole file. `name` is a TFTP file's name as it was told. Raises ProbeError."""
    parts = _parts(url)
    began = time.monotonic()
    if parts.scheme == "tftp":
        data = _tftp(parts.hostname or "", name or parts.path.lstrip("/"), timeout)
        return Loaded(url, data, len(data), time.monotonic() - began)
    if parts.scheme not in ("http", "https"):
        raise NotTried(f"{url}: {parts.scheme}:// is not tried here")
    size = head(url, timeout)
    data = _http(url, "GET", timeout)[1]
    if size is not None and size != len(data) and len(data) < MOST:
        raise ProbeError(f"{url}: HEAD told {size} octets, GET brought {len(data)}")
    return Loaded(url, data, len(data) if size is None else size, time.monotonic() - began)


def head(url: str, timeout: float) -> int | None:
    """The size that HEAD tells, None where it tells none. Raises ProbeError."""
    return _http(url, "HEAD", timeout)[0]


def _http(url: str, method: str, timeout: float) -> tuple[int | None, bytes]:
    parts = _parts(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, target, headers={"User-Agent": "netboot-probe", "Connection": "close"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise ProbeError(f"{method} {url}: {answer.status} {answer.reason}")
        told = answer.getheader("Content-Length")
        return int(told) if told and told.isdigit() else None, answer.read(MOST)
    except ssl.SSLError as error:
        raise NotTried(f"{url}: {error.reason}; this host does not trust its certificate") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ProbeError(f"{method} {url}: {_why(error)}") from None
    finally:
        connection.close()


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0:  # a port that is no number raises here
            return parts
    except ValueError:
        pass
    raise ProbeError(f"{url[:200]!r} is no URL that can be loaded")


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


class _Bounded(BytesIO):
    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Refuse what would never end."""
        if self.tell() + len(data) > MOST:
            raise ProbeError(f"more than {MOST >> 20} MiB came by TFTP")
        return super().write(data)


def _tftp(host: str, name: str, timeout: float) -> bytes:
    """A file by tftpy, a foreign client: blksize 1468 as firmware asks for."""
    try:
        import tftpy
    except ImportError:
        raise NotTried(NO_TFTPY) from None
    logging.getLogger("tftpy").setLevel(logging.CRITICAL)
    into = _Bounded()
    wait = max(1, int(timeout / 3))
    try:
        client = tftpy.TftpClient(host, 69, {"blksize": 1468, "tsize": 0}, flock=False)
        client.download(name, into, timeout=wait, retries=2)
    except (tftpy.TftpException, OSError) as error:
        raise ProbeError(f"tftp://{host}/{name}: {_why(error)}") from None
    return into.getvalue()
