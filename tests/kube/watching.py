"""Watches: one line of JSON per change, bookmarks, and 410 inside the stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate

from aiohttp import web

from tests.kube.controllers import Settings
from tests.kube.kinds import Target
from tests.kube.objects import Event, Objects
from tests.kube.selecting import Matches, selector
from tests.kube.status import ApiError, Json

GIANT = 4 << 20
"""Octets of a line that nobody sane would send."""


class Watch:
    """One watch of one client."""

    def __init__(
        self, objects: Objects, settings: Settings, target: Target, query: Mapping[str, str]
    ) -> None:
        named = {"fieldSelector": f"metadata.name={target.name}"} if target.name else {}
        self._objects = objects
        self._settings = settings
        self._target = target
        self._matches: Matches = selector(target.kind, {**query, **named})
        self._from = int(query.get("resourceVersion") or 0)
        self._seconds = float(query.get("timeoutSeconds") or 1800)
        self._bookmarks = query.get("allowWatchBookmarks") in ("1", "true")

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Until its time is over, it breaks off, or the client goes."""
        date = formatdate(self._objects.now(), usegmt=True)
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Date": date})
        await response.prepare(request)
        async for kind, body in self._events():
            await response.write(self._line(kind, body))
            if self._settings.watch == "breaks" and request.transport:
                request.transport.abort()
                return response
        await response.write_eof()
        return response

    def _line(self, kind: str, body: Json) -> bytes:
        if self._settings.watch == "garbage":
            return b"<html>502 Bad Gateway</html>\n"
        if self._settings.watch == "giant":
            return b"x" * GIANT
        return json.dumps({"type": kind, "object": body}).encode() + b"\n"

    async def _events(self) -> AsyncIterator[tuple[str, Json]]:
        clock = asyncio.get_running_loop().time
        until = clock() + self._seconds
        version = self._from
        if not version:  # without a version a watch begins with what there is
            version = self._objects.version
            for body in self._objects.list(self._target.kind.resource, self._target.namespace):
                if self._matches(body):
                    yield "ADDED", body
        while not self._settings.down:
            try:
                events = list(
                    self._objects.since(version, self._target.kind.resource, self._target.namespace)
                )
            except ApiError as error:
                yield "ERROR", error.body()
                return
            for event in events:
                if told := told_of(event, self._matches):
                    yield told
            version = self._objects.version
            left = until - clock()
            await self._objects.changed(min(max(left, 0.0), self._settings.bookmark_every))
            if self._bookmarks and version == self._objects.version:
                yield "BOOKMARK", self._bookmark(version)
            if left <= 0:
                return

    def _bookmark(self, version: int) -> Json:
        return {
            "kind": self._target.kind.kind,
            "apiVersion": self._target.kind.api_version,
            "metadata": {"resourceVersion": str(version)},
        }


def told_of(event: Event, matches: Matches) -> tuple[str, Json] | None:
    """What a watch with a selector is told: an object may come into it and go out of it."""
    before = event.before is not None and matches(event.before)
    if event.type == "DELETED":
        return ("DELETED", event.object) if matches(event.object) else None
    if matches(event.object):
        return ("MODIFIED" if before else "ADDED"), event.object
    return ("DELETED", event.object) if before else None
