"""Bootstrap tokens: what makes a Secret one, the detached JWS over cluster-info, the bearer cache."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from datetime import datetime

from tests.kube.objects import Key, Objects
from tests.kube.status import Json

SECRET_TYPE = "bootstrap.kubernetes.io/token"
TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
NAME_PREFIX = "bootstrap-token-"
CACHED = 10.0
"""Seconds that the real API server remembers a bearer token that it accepted."""
CACHED_PAST_EXPIRY = 5.0


@dataclass(frozen=True, slots=True)
class User:
    """Who is asking."""

    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """A Secret, read as a bootstrap token."""

    id: str
    secret: str
    expires: float | None
    """None: never. Zero for a time that cannot be read: expired, as the real one decides."""
    signs: bool
    authenticates: bool
    groups: tuple[str, ...] | None
    """None: one of them is none that a token may have."""

    def expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= now


def token_of(secret: Json, life: float | None = None) -> Token | None:
    """The token in a Secret, None where it is none. `life` shortens it, for tests of expiry."""
    if secret.get("type") != SECRET_TYPE:
        return None
    data = {name: _text(value) for name, value in (secret.get("data") or {}).items()}
    identity = data.get("token-id", "")
    if secret["metadata"]["name"] != NAME_PREFIX + identity or not data.get("token-secret"):
        return None
    groups = [g for g in data.get("auth-extra-groups", "").split(",") if g]
    expires = _expiration(data.get("expiration", ""))
    if life is not None:
        created = _expiration(secret["metadata"]["creationTimestamp"]) or 0.0
        expires = min(expires or created + life, created + life)
    return Token(
        id=identity,
        secret=data["token-secret"],
        expires=expires,
        signs=data.get("usage-bootstrap-signing") == "true",
        authenticates=data.get("usage-bootstrap-authentication") == "true",
        groups=tuple(groups) if all(GROUP.fullmatch(g) for g in groups) else None,
    )


def _text(value: object) -> str:
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _expiration(text: str) -> float | None:
    if not text:
        return None
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", text):
        return 0.0
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def tokens(objects: Objects, life: float | None = None) -> list[Token]:
    """Every bootstrap token there is."""
    return [t for s in objects.list("secrets", "kube-system") if (t := token_of(s, life))]


def detached_jws(content: str, token: Token) -> str:
    """The detached HS256 JWS over cluster-info's kubeconfig (RFC 7515 appendix F)."""
    header = _b64url(json.dumps({"alg": "HS256", "kid": token.id}, separators=(",", ":")).encode())
    signed = f"{header}.{_b64url(content.encode())}"
    return f"{header}..{_b64url(hmac.new(token.secret.encode(), signed.encode(), hashlib.sha256).digest())}"


def _b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class BearerCache:
    """Bootstrap tokens as bearers; one that was accepted passes a while longer than it lives."""

    objects: Objects
    life: float | None = None
    _accepted: dict[str, tuple[User, float]] = field(default_factory=dict)

    def user(self, bearer: str) -> User | None:
        """Who this bearer is, None where it is none of ours."""
        now = self.objects.now()
        cached = self._accepted.get(bearer)
        if cached and cached[1] > now:
            return cached[0]
        found = self._check(bearer, now)
        if found:
            user, expires = found
            past = expires + CACHED_PAST_EXPIRY if expires is not None else float("inf")
            self._accepted[bearer] = (user, min(now + CACHED, past))
            return user
        self._accepted.pop(bearer, None)
        return None

    def _check(self, bearer: str, now: float) -> tuple[User, float | None] | None:
        match = TOKEN.fullmatch(bearer)
        if not match:
            return None
        secret = self.objects.find(Key("secrets", "kube-system", NAME_PREFIX + match[1]))
        token = token_of(secret, self.life) if secret else None
        if token is None or token.expired(now) or not token.authenticates or token.groups is None:
            return None
        if not hmac.compare_digest(token.secret, match[2]):
            return None
        groups = ("system:bootstrappers", *token.groups, "system:authenticated")
        return User(f"system:bootstrap:{token.id}", groups), token.expires
