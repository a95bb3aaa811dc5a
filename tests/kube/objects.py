"""Kubernetes objects in memory: resource versions, uids and a bounded history for watches."""

from __future__ import annotations

import asyncio
import copy
import re
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.kube import status
from tests.kube.status import Json

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def stamp(seconds: float) -> str:
    """RFC 3339 in UTC, whole seconds, as the API writes its own times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Key:
    """Where an object stands."""

    resource: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Event:
    """One change; `object` is a copy of its own."""

    version: int
    type: str
    key: Key
    object: Json
    before: Json | None = None
    """As it was, for watches with a selector."""


@dataclass
class Objects:
    """All objects. `now` is the server's clock, which a test may set wrong."""

    now: Callable[[], float] = time.time
    history: int = 1000
    version: int = 1
    _objects: dict[Key, Json] = field(default_factory=dict)
    _events: deque[Event] = field(default_factory=deque)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _oldest: int = 1

    def get(self, key: Key) -> Json:
        """A copy of the object; raises 404."""
        return copy.deepcopy(self._find(key))

    def find(self, key: Key) -> Json | None:
        """A copy of the object or None."""
        found = self._objects.get(key)
        return copy.deepcopy(found) if found is not None else None

    def list(self, resource: str, namespace: str = "") -> list[Json]:
        """Copies of all objects of a resource, in one namespace or in all, in the order of their names."""
        found = {k: o for k, o in self._objects.items() if _in(k, resource, namespace)}
        return [copy.deepcopy(found[k]) for k in sorted(found, key=lambda k: (k.namespace, k.name))]

    def create(self, key: Key, body: Json) -> Json:
        """Add an object; raises 409 and 422 (the name is all that is checked)."""
        valid_name(str(body.get("kind", key.resource)), key.name)
        if key in self._objects:
            raise status.already_exists(key.resource, key.name)
        made = copy.deepcopy(body)
        metadata = made.setdefault("metadata", {})
        metadata.update(name=key.name, uid=str(uuid.uuid4()), creationTimestamp=stamp(self.now()))
        if key.namespace:
            metadata["namespace"] = key.namespace
        return self._put(key, made, "ADDED")

    def replace(self, key: Key, body: Json) -> Json:
        """Change an object; raises 404, 409 for an old resourceVersion, 422 for another uid.

        A PUT with another uid is a 409: see `verbs`, where it is told from a patch.
        """
        present = self._find(key)
        made = copy.deepcopy(body)
        metadata = made.setdefault("metadata", {})
        require_fresh(key, present, made)
        if metadata.get("uid") not in (None, present["metadata"]["uid"]):
            uid = metadata["uid"]
            raise status.invalid(
                str(present.get("kind", key.resource)),
                key.name,
                f'metadata.uid: Invalid value: "{uid}": field is immutable',
            )
        for name in ("uid", "creationTimestamp", "name", "namespace"):
            if name in present["metadata"]:
                metadata[name] = present["metadata"][name]
        metadata["resourceVersion"] = present["metadata"]["resourceVersion"]
        if made == present:
            return copy.deepcopy(present)
        return self._put(key, made, "MODIFIED")

    def delete(self, key: Key, preconditions: Json | None = None) -> Json:
        """Remove an object; raises 404, 409 for a precondition that does not hold."""
        present = self._find(key)
        require(key, present, preconditions)
        del self._objects[key]
        self.version += 1
        gone = copy.deepcopy(present)
        gone["metadata"]["resourceVersion"] = str(self.version)
        self._publish(Event(self.version, "DELETED", key, gone, copy.deepcopy(present)))
        return gone

    def since(self, version: int, resource: str, namespace: str) -> Iterator[Event]:
        """The changes after `version`; raises 410 where history no longer reaches back so far."""
        if version < self._oldest - 1:
            raise status.expired(version, self._oldest)
        return iter([e for e in self._events if e.version > version and _in(e.key, resource, namespace)])

    def forget_history(self) -> None:
        """As after a compaction: every watch from an older version is told 410."""
        self._events.clear()
        self._oldest = self.version + 1

    async def changed(self, timeout: float) -> None:
        """Wait for the next change, at most `timeout` seconds."""
        event = self._changed
        try:
            async with asyncio.timeout(timeout):  # wait_for of Python 3.11 may swallow a cancellation
                await event.wait()
        except TimeoutError:
            pass

    def _find(self, key: Key) -> Json:
        try:
            return self._objects[key]
        except KeyError:
            raise status.not_found(key.resource, key.name) from None

    def _put(self, key: Key, made: Json, kind: str) -> Json:
        self.version += 1
        made["metadata"]["resourceVersion"] = str(self.version)
        before = self._objects.get(key)
        self._objects[key] = made
        self._publish(Event(self.version, kind, key, copy.deepcopy(made), before))
        return copy.deepcopy(made)

    def _publish(self, event: Event) -> None:
        self._events.append(event)
        while len(self._events) > self.history:
            self._oldest = self._events.popleft().version + 1
        self._changed.set()
        self._changed = asyncio.Event()


def valid_name(kind: str, name: str) -> None:
    """Raises 422 for a name that no object may have."""
    if len(name) > 253 or not NAME.fullmatch(name):
        raise status.invalid(
            kind,
            name,
            f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of lower '
            "case alphanumeric characters, '-' or '.'",
        )


def require_fresh(key: Key, present: Json, wanted: Json) -> None:
    """Raises 409 where the change was made for an older version."""
    asked = wanted.get("metadata", {}).get("resourceVersion")
    if asked not in (None, "", present["metadata"]["resourceVersion"]):
        raise status.conflict(
            key.resource,
            key.name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )


def require(key: Key, present: Json, preconditions: Json | None) -> None:
    """Preconditions of a DELETE or an eviction; raises 409 for one that does not hold."""
    for name, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        asked, have = (preconditions or {}).get(name), present["metadata"][name]
        if asked and asked != have:
            why = f"Precondition failed: {label} in precondition: {asked}, {label} in object meta: {have}"
            raise status.conflict(key.resource, key.name, why)


def _in(key: Key, resource: str, namespace: str) -> bool:
    return key.resource == resource and namespace in ("", key.namespace)
