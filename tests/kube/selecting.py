"""Which objects a list or a watch is about: field and label selectors, and lists in pages."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.kube import status
from tests.kube.kinds import Kind
from tests.kube.status import Json

Matches = Callable[[Json], bool]

EVERY_FIELD = ("metadata.name", "metadata.namespace")
SNAPSHOTS = 20
"""Lists whose next page may still be asked for."""

_TERM = re.compile(r"\s*(!?)([\w./-]+)\s*(?:(==|=|!=)\s*([\w.-]*)|\s(in|notin)\s*\(([^)]*)\))?\s*(?:,|$)")


def selector(kind: Kind, query: Mapping[str, str]) -> Matches:
    """What `fieldSelector` and `labelSelector` of a request let through; raises 400."""
    tests = [*_fields(kind, query.get("fieldSelector", "")), *_labels(query.get("labelSelector", ""))]
    return lambda body: all(test(body) for test in tests)


def _fields(kind: Kind, text: str) -> list[Matches]:
    tests = []
    for term in filter(None, text.split(",")):
        name, operator, value = re.split(r"(!=|==|=)", term, maxsplit=1)
        if name not in (*EVERY_FIELD, *kind.fields):
            raise status.bad_request(f"field label not supported: {name}")
        tests.append(_field(name, value, equal=operator != "!="))
    return tests


def _field(name: str, value: str, *, equal: bool) -> Matches:
    return lambda body: (field_of(body, name) == value) == equal


def field_of(body: Json, name: str) -> str:
    """The text of a field like spec.nodeName; empty where there is none."""
    found: Any = body
    for part in name.split("."):
        found = (found or {}).get(part)
    if isinstance(found, bool):
        return str(found).lower()
    return "" if found is None else str(found)


def named_by(query: Mapping[str, str]) -> str:
    """The name that a list or watch of one object asks for: RBAC's resourceNames count for it."""
    match = re.fullmatch(r"metadata\.name==?([^,=]+)", query.get("fieldSelector", ""))
    return match[1] if match else ""


def _labels(text: str) -> list[Matches]:
    tests, at = [], 0
    while at < len(text):
        match = _TERM.match(text, at)
        if not match or match.end() == at:
            raise status.bad_request(f"unable to parse requirement: {text[at:]!r}")
        tests.append(_label(match))
        at = match.end()
    return tests


def _label(match: re.Match[str]) -> Matches:
    absent, key, operator, value, membership, values = match.groups()
    listed = {v.strip() for v in (values or "").split(",")}

    def test(body: Json) -> bool:
        have = (body["metadata"].get("labels") or {}).get(key)
        if operator in ("=", "=="):
            return bool(have == value)
        if operator == "!=":
            return bool(have != value)
        if membership:
            return (have in listed) == (membership == "in")
        return (have is None) == bool(absent)

    return test


@dataclass
class Pages:
    """Lists that are read page by page: each page is of the moment of the first one."""

    _snapshots: OrderedDict[tuple[str, int], list[Json]] = field(default_factory=OrderedDict)

    def page(self, kind: Kind, items: list[Json], version: int, query: Mapping[str, str]) -> Json:
        """One answer to a list request; raises 400, and 410 for a page that comes too late."""
        limit, start = int(query.get("limit") or 0), 0
        if token := query.get("continue"):
            version, start = _read(token)
            if (kind.resource, version) not in self._snapshots:
                raise status.too_late()
            items = self._snapshots[kind.resource, version]
        metadata: Json = {"resourceVersion": str(version)}
        end = start + limit if limit else len(items)
        if end < len(items):
            self._keep(kind.resource, version, items)
            metadata["continue"] = _token(version, end)
            if not query.get("fieldSelector") and not query.get("labelSelector"):
                metadata["remainingItemCount"] = len(items) - end
        return {
            "kind": f"{kind.kind}List",
            "apiVersion": kind.api_version,
            "metadata": metadata,
            "items": items[start:end],
        }

    def _keep(self, resource: str, version: int, items: list[Json]) -> None:
        self._snapshots[resource, version] = items
        while len(self._snapshots) > SNAPSHOTS:
            self._snapshots.popitem(last=False)

    def forget(self) -> None:
        """As after a compaction: no list can be gone on with."""
        self._snapshots.clear()


def _token(version: int, start: int) -> str:
    raw = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start}).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _read(token: str) -> tuple[int, int]:
    try:
        read = json.loads(base64.urlsafe_b64decode(token + "=="))
        return int(read["rv"]), int(read["start"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        raise status.bad_request("continue key is not valid") from None
