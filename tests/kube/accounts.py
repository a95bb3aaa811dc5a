"""Who is asking: bearers of service accounts and of bootstrap tokens, client certificates, nobody."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.kube import status
from tests.kube.admission import SHORTEST
from tests.kube.bootstrap import BearerCache, User
from tests.kube.objects import Objects, stamp
from tests.kube.status import Json

ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


def account(namespace: str, name: str) -> User:
    """A service account as a user."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


APPLIANCE = account("netboot", "appliance")


@dataclass
class Accounts:
    """Everybody that the stand-in knows."""

    objects: Objects
    bearers: BearerCache
    tokens: dict[str, User]
    """Tokens of service accounts that never expire."""
    issued: dict[str, tuple[User, float]] = field(default_factory=dict)
    """Those that were asked for by TokenRequest, and until when they are good."""

    def user(self, header: str, certificate: Mapping[str, Any] | None) -> User:
        """Who sends this Authorization header and this client certificate; raises 401."""
        if header.startswith("Bearer "):
            bearer = header.removeprefix("Bearer ").strip()
            user = self.tokens.get(bearer) or self._of_issued(bearer) or self.bearers.user(bearer)
            if user is None:
                raise status.unauthorized()
            return user
        if certificate:
            fields = [pair for part in certificate["subject"] for pair in part]
            name = next((v for k, v in fields if k == "commonName"), "")
            groups = tuple(v for k, v in fields if k == "organizationName")
            return User(name, (*groups, "system:authenticated"))
        return ANONYMOUS

    def _of_issued(self, bearer: str) -> User | None:
        user, until = self.issued.get(bearer, (None, 0.0))
        return user if self.objects.now() < until else None

    def issue(self, namespace: str, name: str, request: Json) -> Json:
        """A TokenRequest, answered; raises 422."""
        spec = request.get("spec") or {}
        seconds = int(spec.get("expirationSeconds") or 3600)
        if seconds < SHORTEST:
            why = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
            raise status.invalid("TokenRequest.authentication.k8s.io", "", f"spec.expirationSeconds: {why}")
        now = self.objects.now()
        user = account(namespace, name)
        claims = {
            "aud": spec.get("audiences") or ["https://kubernetes.default.svc.cluster.local"],
            "exp": int(now) + seconds,
            "iat": int(now),
            "iss": "https://kubernetes.default.svc.cluster.local",
            "jti": secrets.token_hex(8),
            "sub": user.name,
        }
        token = _jwt(claims)
        self.issued[token] = (user, now + seconds)
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**spec, "expirationSeconds": seconds},
            "status": {"token": token, "expirationTimestamp": stamp(now + seconds)},
        }


_SIGNING = secrets.token_bytes(32)


def _jwt(claims: Json) -> str:
    """A token that looks like the real one's; only this process knows which are good."""
    head = {"alg": "HS256", "kid": "standin"}
    signed = ".".join(_b64url(json.dumps(part).encode()) for part in (head, claims))
    return f"{signed}.{_b64url(hmac.new(_SIGNING, signed.encode(), hashlib.sha256).digest())}"


def _b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
