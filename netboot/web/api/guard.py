"""Who the API answers: a Host name of ours, a token we know, a role that is enough; refusals are audited.

Errors are JSON with reason and remedy. A token comes as a Bearer and nowhere else: there is no cookie that a
browser would send along for another site.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import math
import os
import secrets
import stat
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware

from netboot.errors import NetbootError, Refused, StartError, StoreError
from netboot.events import Journal
from netboot.model.access import ADMIN_TOKEN, COMMAND_LINE, ApiToken
from netboot.model.manners import Rate
from netboot.web.api.audit import Auditor
from netboot.web.api.hosts import hosts, local_address
from netboot.web.api.roles import READS, needed
from netboot.web.api.tries import Guests, Tries

log = logging.getLogger("netboot")

CALLER = web.RequestKey("caller", ApiToken)
"""Under what a request carries the token that it came with."""
WRONG_TOKENS = Rate(20, 60.0)
"""Wrong tokens of one address that are looked at."""
STRANGERS = Rate(300, 15.0)
"""Requests of one address without a token that we know, for the page's own files too, that are answered."""
GUEST = 3600.0
"""Seconds for which an address may go on with a token that opened from there, whoever guesses beside it."""
BODY = 30.0
"""Seconds in which the body of a change comes."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "netboot",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer."""

_SHORTEST_TOKEN = 32


def ensure_admin_token(path: Path) -> str:
    """The SHA-256 (hex) of the administrator's token in `path`; a missing file is made with mode 0600.

    Raises StartError for a file that others may read, or that holds no token of ours.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return token_sha256(_read_token(path))
    except OSError as error:
        raise StartError(f"{path} cannot be made: {error.strerror}", "Make data_dir writable") from error
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
        file.flush()
        os.fsync(descriptor)
    return token_sha256(token)


def token_sha256(token: str) -> str:
    """What we keep of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _read_token(path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeError) as error:
        raise StartError(f"{path} cannot be read: {error}", "Make it readable, or remove it") from error
    if mode & 0o077:
        raise StartError(f"{path} has mode {mode:04o}: others can read the token", f"Run chmod 600 {path}")
    if len(token) < _SHORTEST_TOKEN:
        raise StartError(f"{path} holds no token", "Remove it: the next start makes a new one")
    return token


class Guard:
    """What each request goes through before it meets its handler."""

    def __init__(
        self,
        journal: Journal,
        own: frozenset[str],
        tokens: Callable[[], Iterable[ApiToken]],
        auditor: Auditor,
        clock: Callable[[], float],
        open_paths: frozenset[str],
    ) -> None:
        """`own`: Host names of ours; `tokens` are those that are let in; `open_paths` take none."""
        self._journal = journal
        self._own = own
        self._tokens = tokens
        self._auditor = auditor
        self._clock = clock
        self._open_paths = open_paths
        self._wrong = Tries(WRONG_TOKENS)
        self._guests = Guests(GUEST)
        self._strangers = Tries(STRANGERS)
        self._changes: set[asyncio.Task[web.StreamResponse]] = set()

    @property
    def middlewares(self) -> tuple[Middleware, ...]:
        """The outermost first; errors of handlers are answers before the audit sees them."""
        return errors, self.host, self.token, self.role, self.audit, errors

    @web.middleware
    async def host(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A name that is not ours is not answered: a browser may have been lured to it."""
        foreign = hosts(request) - self._own - {local_address(request)}
        if not foreign:
            return await handler(request)
        if flood := self._flood(request):
            return flood
        self._journal.refused(
            "api_foreign_host", f"Host {min(foreign)!r} is not ours", source=request.remote or "?"
        )
        await self._auditor.refused(request, None, 421)
        remedy = "Use the listen address, or declare the name in server.api.names"
        return problem(421, "this Host name is not ours", remedy)

    @web.middleware
    async def token(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Only who shows a token that we know comes in; an address guesses few of them."""
        said = bearer(request.headers.getall("Authorization", []))
        caller = known(said, self._tokens())
        if caller is None and (flood := self._flood(request)):
            return flood
        if request.path in self._open_paths:
            return await handler(request)
        source, now = request.remote or "?", self._clock()
        wait = self._wrong.wait(source, now)
        if wait and not (caller and self._expected(source, caller, now)):
            return await self._guesses(request, wait)
        if caller is None:
            if said:
                self._wrong.failed(source, now)
            return await self._unknown(request)
        self._guests.came(source, caller, now)
        request[CALLER] = caller
        return await handler(request)

    def _expected(self, source: str, caller: ApiToken, now: float) -> bool:
        """Whether a token is looked at although its address guesses: its holder may share it with others."""
        return caller.name == ADMIN_TOKEN or self._guests.knows(source, caller, now)

    @web.middleware
    async def role(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Only whose role is enough goes on."""
        resource = request.match_info.route.resource
        if resource is None or request.path in self._open_paths:
            return await handler(request)  # there is no such thing, or it is for everybody
        caller = request[CALLER]
        need = needed(request.method, resource.canonical)
        if caller.role.may(need):
            return await handler(request)
        text = f"{caller.name} lacks the role {need.word}"
        self._journal.refused("api_forbidden", text, source=caller.name)
        await self._auditor.refused(request, caller, 403)
        reason = f"this takes the role {need.word}, and {caller.name} is {caller.role.word}"
        return problem(403, reason, f"Use a token whose role is {need.word} (server.api.tokens_file)")

    @web.middleware
    async def audit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A change is in the audit before it is made, and how it ended before the answer leaves."""
        if request.method in READS or request.match_info.route.resource is None:
            return await handler(request)
        await _body(request)
        change = asyncio.get_running_loop().create_task(_audited(self._auditor, request, handler))
        self._changes.add(change)  # the set keeps what the loop would not
        change.add_done_callback(self._changes.discard)
        return await asyncio.shield(change)  # whoever asked may go away: what was begun is done, and told

    def _flood(self, request: web.Request) -> web.Response | None:
        """The refusal of a request without a token that we know, where too many of its address came."""
        source, now = request.remote or "?", self._clock()
        if self._strangers.failed(source, now):
            return None
        self._journal.refused("api_too_many_requests", "many requests without a token", source=source)
        again = {"Retry-After": str(math.ceil(self._strangers.wait(source, now)))}
        answer = problem(
            429, "too many requests without a token came from this address", "Wait a little", again
        )
        answer.force_close()  # the next one costs a connection
        return answer

    async def _guesses(self, request: web.Request, wait: float) -> web.Response:
        text = "wrong tokens, one after the other"
        self._journal.refused("api_too_many_tries", text, source=request.remote or "?")
        await self._auditor.refused(request, None, 429)
        remedy = "Wait as long as Retry-After says; the token in data_dir/admin.token is always looked at"
        again = {"Retry-After": str(math.ceil(wait))}
        return problem(429, "too many wrong tokens came from this address", remedy, again)

    async def _unknown(self, request: web.Request) -> web.Response:
        reason = "no token, or an unknown one"
        self._journal.refused("api_unauthorized", reason, source=request.remote or "?")
        await self._auditor.refused(request, None, 401)
        remedy = "Send `Authorization: Bearer TOKEN`; the administrator's token is data_dir/admin.token"
        return problem(401, reason, remedy, {"WWW-Authenticate": "Bearer"})


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Each error as JSON with reason and remedy."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _http_error(error)
    except Refused as error:
        return problem(error.status, error.reason, error.remedy or _remedy(request, error.status))
    except StoreError as error:
        return problem(503, str(error), "Look at the disk that holds data_dir", {"Retry-After": "5"})
    except NetbootError as error:
        return problem(500, str(error), "See the appliance's log")
    except Exception:
        log.exception("the API met an error of its own at %s", request.path)
        return problem(500, "an error of the appliance's own", "See the appliance's log")


async def _audited(auditor: Auditor, request: web.Request, handler: Handler) -> web.StreamResponse:
    entry = await auditor.begin(request, request[CALLER])
    answer = await handler(request)
    await auditor.end(entry, answer)
    return answer


async def _body(request: web.Request) -> None:
    """Have the body here, which audit and handler look at. Raises Refused."""
    try:
        async with asyncio.timeout(BODY):
            await request.read()
    except TimeoutError:
        raise Refused(408, f"the body did not come within {BODY:g} seconds") from None
    except web.RequestPayloadError:
        raise Refused(400, "the body is not what its head says") from None


def bearer(headers: Sequence[str]) -> str:
    """The token of a request's Authorization; empty where there is none, and where there are two."""
    scheme, _, said = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    return said.strip() if scheme.lower() == "bearer" else ""


def known(said: str, tokens: Iterable[ApiToken]) -> ApiToken | None:
    """The token that this text is, None for any other text; takes the same time for each."""
    digest = token_sha256(said)
    found = [token for token in tokens if hmac.compare_digest(digest, token.sha256)]
    return found[0] if said and found else None


def problem(status: int, reason: str, remedy: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error: what was wrong and what to do."""
    body = {"status": status, "reason": reason, "remedy": remedy}
    return web.json_response(body, status=status, headers=headers)


_LISTS = {"holds": "netboot node holds"}
"""What lists a noun on the command line, where that is not `netboot NOUN list`."""


def _remedy(request: web.Request, status: int) -> str:
    """What to do about a request that was refused; of a thing that is not there its list tells."""
    parts = request.path.split("/")
    if status == 404 and len(parts) > 4:
        verb = _LISTS.get(parts[3], f"netboot {parts[3].removesuffix('s')} list")
        return f"GET {'/'.join(parts[:4])} (`{verb}`) tells which there are"
    if request.headers.get("User-Agent") == COMMAND_LINE:
        return "`--help` tells what this command takes"
    return "See the API's description at /api/openapi.json"


async def finish(_: web.Request, response: web.StreamResponse) -> None:
    """Put our headers on an answer."""
    response.headers.update(HEADERS)


def _http_error(error: web.HTTPException) -> web.Response:
    allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    remedies = {
        405: f"This path takes {error.headers.get('Allow', 'GET')}",
        413: "No body has to be that large: /api/openapi.json tells what it may say",
    }
    remedy = remedies.get(error.status, "See /api/openapi.json for what there is")
    return problem(error.status, error.reason, remedy, allow)
