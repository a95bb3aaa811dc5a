"""Which role each route asks for: the one table that says so."""

from __future__ import annotations

import re
from collections.abc import Mapping

from netboot.model.access import Role

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Answered without a token, beside the page's own files: two health words, neither of which holds a fact."""

READS = frozenset({"GET", "HEAD"})

_NEEDED: Mapping[tuple[str, str], Role] = {
    ("GET", "/api/v1/audit"): Role.ADMIN,
    ("DELETE", "/api/v1/leases/{}"): Role.OPERATOR,
    ("PUT", "/api/v1/nodes/{}/assignment"): Role.OPERATOR,
    ("DELETE", "/api/v1/nodes/{}/assignment"): Role.OPERATOR,
    ("POST", "/api/v1/nodes/{}/admission"): Role.OPERATOR,
    ("DELETE", "/api/v1/nodes/{}/admission"): Role.OPERATOR,
    ("DELETE", "/api/v1/operations/{}"): Role.OPERATOR,
    ("GET", "/api/v1/clusters/{}/doctor"): Role.OPERATOR,
    ("DELETE", "/api/v1/holds/{}"): Role.OPERATOR,
}
"""By method and path, `{}` for any part of it. What is not here: viewers read, administrators change."""


def needed(method: str, path: str) -> Role:
    """The role that an operation asks for; `path` as its route is written, with names in braces."""
    read = method in READS
    key = ("GET" if read else method, re.sub(r"{\w+}", "{}", path))
    return _NEEDED.get(key, Role.VIEWER if read else Role.ADMIN)


def listed(method: str, path: str) -> bool:
    """Whether the table names this operation."""
    return (method, re.sub(r"{\w+}", "{}", path)) in _NEEDED
