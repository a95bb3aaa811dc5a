"""Bootstrap tokens as values: drawn, checked by kubeadm's own patterns, signed. Pure.

The API server validates nothing in a token's Secret but its name; a mistake shows minutes later, when the
node is told that its token does not exist. So everything is checked here, before the POST (R3).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Sequence
from typing import Protocol

from netboot.cluster import BootstrapToken
from netboot.cluster.approval import CONTROL_PLANE, NODE_BOUND
from netboot.join import JoinRequest
from netboot.model.inventory import JoinSettings

NODE_GROUP = "system:bootstrappers:kubeadm:default-node-token"
"""kubeadm's default group (`bind: cluster`): its tokens may ask for the certificate of any node name (R9)."""

GROUPS = frozenset({NODE_BOUND, CONTROL_PLANE, NODE_GROUP})
"""The groups that a token may be given; never one outside of system:bootstrappers: (R4)."""

LONGEST = 3600.0
"""Seconds that a token may live at most (R2)."""

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID = re.compile(r"[a-z0-9]{6}")
_SECRET = re.compile(r"[a-z0-9]{16}")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
_EXPIRATION = re.compile(r"2\d{3}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\dZ")
_DESCRIPTION = re.compile(r"[ -~]{1,250}")


class Random(Protocol):
    """Where ids and secrets come from: the `secrets` module."""

    def choice(self, sequence: Sequence[str], /) -> str:
        """One element, unpredictable."""


def draw(request: JoinRequest, *, random: Random, now: float) -> BootstrapToken:
    """A new token for one boot of one node, checked. Raises ValueError naming the field that is wrong."""
    return checked(
        BootstrapToken(
            token_id=characters(random, 6),
            secret=characters(random, 16),
            expiration=expiration(now, request.cluster.join.token_ttl),
            groups=groups_of(request.cluster.join),
            description=f"netboot: node {request.node}, MAC {request.mac}, boot {request.boot_id}",
            signing=request.cluster.join.method == "kubeadm" and request.cluster.join.discovery == "token",
        )
    )


def groups_of(join: JoinSettings) -> tuple[str, ...]:
    """R4: kubeadm's own group, or ours, whose certificates we approve; control planes read more with it."""
    if join.bind != "node":
        return (NODE_GROUP,)
    return (NODE_BOUND, CONTROL_PLANE) if join.role == "control-plane" else (NODE_BOUND,)


def characters(random: Random, count: int) -> str:
    """So many characters of an id or a secret (R1)."""
    return "".join(random.choice(_ALPHABET) for _ in range(count))


def expiration(now: float, life: float) -> str:
    """When a token of that life (seconds, cut to an hour) expires: UTC with its zone, never empty."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + min(life, LONGEST)))


def checked(token: BootstrapToken) -> BootstrapToken:
    """The token itself, where every field is what kubeadm reads. Raises ValueError with no value in it."""
    wrong = [
        name
        for name, good in (
            ("token-id", _ID.fullmatch(token.token_id)),
            ("token-secret", _SECRET.fullmatch(token.secret)),
            ("expiration", _EXPIRATION.fullmatch(token.expiration)),
            ("auth-extra-groups", token.groups and all(_allowed(g) for g in token.groups)),
            ("description", _DESCRIPTION.fullmatch(token.description)),
        )
        if not good
    ]
    if wrong:
        raise ValueError(f"a bootstrap token with a wrong {', '.join(wrong)} was not created")
    return token


def _allowed(group: str) -> bool:
    return group in GROUPS and _GROUP.fullmatch(group) is not None


def hash_of(token: BootstrapToken) -> str:
    """What the store keeps of the secret (R12)."""
    return hashlib.sha256(token.secret.encode()).hexdigest()


def signs(jws: str, content: str, token: BootstrapToken) -> bool:
    """Whether a detached HS256 JWS over cluster-info's kubeconfig was made with this token (RFC 7515 F)."""
    header, dot, rest = jws.partition(".")
    empty, dot2, signature = rest.partition(".")
    if not (dot and dot2) or empty or not jws.isascii():
        return False
    signed = f"{header}.{_b64url(content.encode())}".encode()
    return hmac.compare_digest(
        _b64url(hmac.new(token.secret.encode(), signed, hashlib.sha256).digest()), signature
    )


def _b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
