"""Who may ask the API for what, and what is remembered of who changed what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class Role(IntEnum):
    """What a token is good for; each role may all that the ones before it may."""

    VIEWER = 1
    """Reads."""
    OPERATOR = 2
    """Changes boots, leases, assignments and admissions, too."""
    ADMIN = 3
    """May everything, the audit included."""

    @property
    def word(self) -> str:
        """The role as operators write it."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Role:
        """The role that a word names. Raises KeyError."""
        return _WORDS[word]

    def may(self, needed: Role) -> bool:
        """Whether this role is enough where `needed` is asked for."""
        return self >= needed


_WORDS = {role.word: role for role in Role}
ROLE_WORDS = tuple(_WORDS)
"""As operators write them, the weakest first."""

COMMAND_LINE = "netboot"
"""What the client verbs call themselves (User-Agent), so that a refusal's remedy fits who asks."""

ADMIN_TOKEN = "admin.token"
"""The name of the token that the appliance itself makes."""


@dataclass(frozen=True, slots=True)
class ApiToken:
    """One token of the API: whose it is, what it is good for, and the SHA-256 (hex) of its text."""

    name: str
    role: Role
    sha256: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change by the API, or one try that was refused."""

    at: float
    """Seconds since the epoch."""
    name: str | None
    """Whose token; None where there was none that we know."""
    role: str | None
    source: str
    """The address that the request came from."""
    method: str
    path: str
    request: Mapping[str, str] = field(default_factory=dict)
    """What was asked for: known keys of the body and of the query, no secrets among them."""
    refused: bool = False
    """Turned away before anything was done: no token or a wrong one, too weak a role, a foreign Host."""
    status: int | None = None
    """The HTTP status of the answer; None where the appliance ended before it answered."""
    operation: str | None = None
    """The operation that was started."""
    id: int | None = None
    """Its number, given by the store; they grow."""

    @property
    def why(self) -> str | None:
        """Why it was turned away; None where it was not."""
        return _REFUSALS.get(self.status or 0, "see the log") if self.refused else None


_REFUSALS = {
    401: "no token that we know",
    403: "its role is too weak",
    421: "a foreign Host",
    429: "too many wrong tokens",
}
"""By the status of the answer."""
