"""HTTP to one Kubernetes API: its kubeconfig, its connections, calls with a time limit, and watches.

Why no Kubernetes library: docs/kubernetes.md. Nothing here logs a request's body or a credential.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlencode

import aiohttp
from aiohttp import AddrInfoType

from netboot.cluster.credentials import RENEW_BEFORE, Issued, bearer_of, run_plugin, tls_context
from netboot.cluster.kubeconfig import Kubeconfig, load, load_in_cluster
from netboot.errors import ClusterRefused, ClusterUnavailable

log = logging.getLogger("netboot.cluster")

TIMEOUT = 5.0
"""Seconds that one call may take."""

AGAIN = 0.1
"""Seconds until a read that failed on the server's side is repeated, once: etcd may elect a leader."""

ANSWER_LIMIT = 16 << 20
"""Octets of one answer: a Node object with its list of images is about 50 kB."""

EVENT_LIMIT = 2 << 20
"""Octets of one event of a watch."""

PAGE = 25
"""Objects of one page of a list: reading one page of Node objects keeps DHCP waiting for some 10 ms."""

PAGES = 4000
"""Pages that are read at most: no cluster has a hundred thousand nodes."""

WATCH = 240
"""Seconds after which a watch is asked to end; the API server would end it by itself some time."""

KEEPALIVE = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""After 15 s of silence a server is asked every 5 s, three times, whether it is there."""

SKEW_LIMIT = 30.0
"""Seconds of clock difference above which tokens may be born expired, or live too long (R2)."""

PHRASES = {status.value: status.phrase.lower() for status in HTTPStatus}
"""What a status means, where a proxy answers with a page of its own."""

Json = dict[str, Any]
T = TypeVar("T")


class Connection:
    """One cluster's API, known only by its kubeconfig; `path` None is the pod's own service account.

    The kubeconfig is read at the first call, and again when a file of it changes.
    """

    def __init__(
        self,
        name: str,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        environ: Mapping[str, str] = os.environ,
        timeout: float = TIMEOUT,
    ) -> None:
        self.name = name
        self._path = path
        self._clock = clock
        self._environ = environ
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._skew: float | None = None
        self._skew_reported = False
        self._config: Kubeconfig | None = None
        self._stamps: tuple[tuple[int, int], ...] = ()
        self._issued: Issued | None = None
        self._context: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None
        self._watches: set[aiohttp.ClientResponse] = set()
        self._lock = asyncio.Lock()

    @property
    def skew(self) -> float | None:
        """Seconds by which the API server's clock is ahead of ours; None before its first answer."""
        return self._skew

    async def close(self) -> None:
        """Close the connections; watches break off, which they would not notice by themselves."""
        for response in list(self._watches):
            response.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def authority(self) -> bytes:
        """The authority that the kubeconfig trusts, in PEM."""
        config, _ = await self._ready()
        return config.ca

    async def get_or_none(self, path: str) -> Json | None:
        """GET one object; None where there is none."""
        try:
            return await self.call("GET", path)
        except ClusterRefused as error:
            if error.status == 404:
                return None
            raise

    async def call(
        self, method: str, path: str, body: Json | None = None, kind: str = "application/json"
    ) -> Json:
        """One call; a 401 makes a plugin's credential be asked for once more, a 5xx makes a read be repeated.

        Raises ClusterUnavailable, ClusterRefused, ClusterError.
        """
        status, answer, headers = await self._once(method, path, body, kind)
        if status == 401 and self._issued is not None:
            self._issued = None
            status, answer, headers = await self._once(method, path, body, kind)
        if status >= 500 and method == "GET" and "Retry-After" not in headers:
            await asyncio.sleep(AGAIN)
            status, answer, headers = await self._once(method, path, body, kind)
        if status >= 300:
            self._raise(status, answer, headers)
        return answer

    async def every(self, path: str, made: Callable[[Json], T], **selectors: str) -> tuple[list[T], str]:
        """Every object of a list, page by page, and the resourceVersion that a watch goes on from.

        `made` takes what we look at out of each: the bodies of a large cluster's Node objects are some
        hundred megabytes. A list that has grown too old between two pages (410) is begun again, once.
        """
        try:
            return await self._pages(path, made, selectors)
        except ClusterRefused as error:
            if error.status != 410:
                raise
            return await self._pages(path, made, selectors)

    async def _pages(
        self, path: str, made: Callable[[Json], T], selectors: Mapping[str, str]
    ) -> tuple[list[T], str]:
        found: list[T] = []
        following = ""
        for _ in range(PAGES):
            query = {**selectors, "limit": str(PAGE), **({"continue": following} if following else {})}
            body = await self.call("GET", f"{path}?{urlencode(query)}")
            items, metadata = body.get("items"), body.get("metadata")
            if not isinstance(metadata, dict):
                raise self.nonsense(path)
            found += [made(item) for item in items or () if isinstance(item, dict)]
            following = str(metadata.get("continue") or "")
            if not following:
                return found, str(metadata.get("resourceVersion", ""))
        raise self.nonsense(path)

    async def watch(
        self, path: str, version: str, **selectors: str
    ) -> AsyncGenerator[tuple[str, Json], None]:
        """The events of a watch from `version` on: ADDED, MODIFIED, DELETED or BOOKMARK, and the object.

        The first is a bookmark of our own: it says that the watch stands.

        It ends by itself after some minutes; go on with the last object's resourceVersion. Raises
        ClusterRefused 410 where `version` is too old (list again), ClusterUnavailable where it breaks off.
        """
        query = {
            **selectors,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH),
        }
        limit = aiohttp.ClientTimeout(total=None, connect=TIMEOUT, sock_read=WATCH + TIMEOUT)
        config, session = await self._ready()
        try:
            async with session.get(
                f"{config.server}{path}?{urlencode(query)}",
                headers=self._headers(config),
                proxy=config.proxy,
                server_hostname=config.tls_server_name,
                allow_redirects=False,
                timeout=limit,
            ) as response:
                self._measure(response.headers.get("Date"))
                if response.status != 200:
                    raw = await response.content.read(ANSWER_LIMIT)
                    self._raise(response.status, self._parse(raw, path, response.status), response.headers)
                self._watches.add(response)
                try:
                    yield "BOOKMARK", {"metadata": {"resourceVersion": version}}
                    async for line in self._lines(response):
                        yield self._event(line, path)
                finally:
                    self._watches.discard(response)
        except TimeoutError:
            raise self._unreachable(config, "the watch was silent for too long") from None
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise self._unreachable(config, _reason(error)) from None

    async def _lines(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Lines of any length up to the limit; aiohttp's own reader has a shorter one."""
        rest = bytearray()
        async for piece in response.content.iter_any():
            rest += piece
            while (end := rest.find(b"\n")) >= 0:
                line = bytes(rest[:end])
                del rest[: end + 1]
                if line.strip():
                    yield line
            if len(rest) > EVENT_LIMIT:
                raise self.nonsense(response.url.path)

    def _event(self, line: bytes, path: str) -> tuple[str, Json]:
        event = self._parse(line, path, 200)
        kind, body = str(event.get("type", "")), event.get("object")
        if not isinstance(body, dict):
            raise self.nonsense(path)
        if kind == "ERROR":
            code = body.get("code")
            self._raise(code if isinstance(code, int) else 500, body, {})
        return kind, body

    def _headers(self, config: Kubeconfig) -> dict[str, str]:
        bearer = self._issued.token if self._issued else bearer_of(config.credential)
        return {"Accept": "application/json", **({"Authorization": f"Bearer {bearer}"} if bearer else {})}

    def _raise(self, status: int, answer: Json, headers: Mapping[str, str]) -> NoReturn:
        """The error that an answer stands for. Raises ClusterUnavailable or ClusterRefused."""
        reason = str(answer.get("message") or PHRASES.get(status, "an error without a reason"))[:500]
        if status == 429 or status >= 500:
            text = f"the Kubernetes API of {self.name} answered {status}: {reason}"
            raise ClusterUnavailable(text, _retry_after(headers), status)
        raise ClusterRefused(status, reason)

    async def _once(
        self, method: str, path: str, body: Json | None, kind: str
    ) -> tuple[int, Json, Mapping[str, str]]:
        config, session = await self._ready()
        headers = self._headers(config) | ({"Content-Type": kind} if body is not None else {})
        try:
            async with session.request(
                method,
                config.server + path,
                json=body,
                headers=headers,
                proxy=config.proxy,
                server_hostname=config.tls_server_name,
                allow_redirects=False,  # a redirect would carry the credential elsewhere
            ) as response:
                self._measure(response.headers.get("Date"))
                raw = await response.content.read(ANSWER_LIMIT + 1)
                while not response.content.at_eof() and len(raw) <= ANSWER_LIMIT:
                    raw += await response.content.read(ANSWER_LIMIT + 1)
                return response.status, self._parse(raw, path, response.status), response.headers
        except TimeoutError:
            limit = self._timeout.total or 0.0
            raise self._unreachable(config, f"no answer within {limit:g} s") from None
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise self._unreachable(config, _reason(error)) from None

    def _unreachable(self, config: Kubeconfig, why: str) -> ClusterUnavailable:
        return ClusterUnavailable(
            f"the Kubernetes API of {self.name} at {config.server} is unreachable: {why}"
        )

    def nonsense(self, path: str) -> ClusterUnavailable:
        """The error for an answer that nobody can read."""
        return ClusterUnavailable(f"the Kubernetes API of {self.name} answered {path} with no JSON object")

    def _parse(self, raw: bytes, path: str, status: int) -> Json:
        if len(raw) > ANSWER_LIMIT:
            raise self.nonsense(path)
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            return document
        if status >= 300:
            return {}  # a proxy's own page; the status says enough
        raise self.nonsense(path)

    def _measure(self, date: str | None) -> None:
        """R2: report a clock that is off by more than 30 s, once until it is right again."""
        try:
            server = parsedate_to_datetime(date or "").timestamp()
        except (ValueError, OverflowError):
            return
        self._skew = server - self._clock()
        far = abs(self._skew) > SKEW_LIMIT
        if far and not self._skew_reported:
            log.warning(
                "the clock of cluster %s's API is %.0f s %s ours: join tokens may be expired or live too "
                "long; synchronise both clocks (NTP)",
                self.name,
                abs(self._skew),
                "ahead of" if self._skew > 0 else "behind",
            )
        self._skew_reported = far

    async def _ready(self) -> tuple[Kubeconfig, aiohttp.ClientSession]:
        """The kubeconfig and the connections to its server, new where a file or a credential changed."""
        async with self._lock:
            if self._config is None or self._stamps != _stamps(self._config.files):
                await self._reload()
            assert self._config is not None
            credential = self._config.credential
            if credential.plugin and (self._issued is None or self._expired(self._issued)):
                issued = await run_plugin(credential.plugin, self._config, self._environ)
                if issued.certificate:
                    await self._connect(self._config, issued.certificate, issued.key)
                self._issued = issued
            if self._session is None or self._session.closed:
                await self._connect(self._config, credential.certificate, credential.key)
            assert self._session is not None
            return self._config, self._session

    def _expired(self, issued: Issued) -> bool:
        return issued.expires is not None and issued.expires - RENEW_BEFORE < self._clock()

    async def _reload(self) -> None:
        config = load(self._path) if self._path else load_in_cluster(self._environ)
        tls_context(config, config.credential.certificate, config.credential.key)
        await self.close()
        self._config, self._stamps, self._issued = config, _stamps(config.files), None

    async def _connect(self, config: Kubeconfig, certificate: bytes, key: bytes) -> None:
        context = tls_context(config, certificate, key)
        await self.close()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=16, socket_factory=_kept_alive),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "netboot-appliance"},
        )


def _kept_alive(info: AddrInfoType) -> socket.socket:
    """A socket that asks after a silent server: a watch only listens, and would not notice a failover."""
    family, kind, protocol, *_ = info
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _stamps(files: Iterable[Path]) -> tuple[tuple[int, int], ...]:
    def stamp(path: Path) -> tuple[int, int]:
        try:
            found = path.stat()
        except OSError:
            return (0, 0)
        return found.st_mtime_ns, found.st_ino

    return tuple(stamp(path) for path in files)


def _retry_after(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After", "")
    return float(min(int(text), 60)) if text.isdigit() and len(text) < 6 else 5.0


def _reason(error: Exception) -> str:
    """A connection error in one short line."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not signed by the kubeconfig's authority ({error.certificate_error})"
    if isinstance(error, aiohttp.ClientConnectorError) and (why := error.os_error).strerror:
        # asyncio writes its own text there, with the address that stands in ours already
        return os.strerror(why.errno) if why.errno and why.errno > 0 else why.strerror
    return str(error) or type(error).__name__
