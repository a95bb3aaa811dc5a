"""Boot keys and session secrets: derived, never stored, so that they survive a restart without a write.

Both come from one secret in `data_dir` by HMAC-SHA256 (RFC 2104) under a label of their own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

KEY = re.compile(r"[0-9a-f]{32}")
"""How a boot key is written: 128 bits in hex."""

_SECRET_SIZE = 32
_BOOT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHORTENED = re.compile(r"(/boot/[0-9a-f]{6})[0-9a-f]{26}")


def boot_key(secret: bytes, boot_id: str) -> str:
    """The key of one boot: 32 hex digits that only the machine with its leased address is given."""
    return _derive(secret, "boot key", boot_id)[:16].hex()


def session_secret(secret: bytes, boot_id: str, certificate_sha256: str) -> str:
    """The session of one boot with one certificate: `BOOT.TAG`, safe in a header and in a URL."""
    tag = _derive(secret, "session", boot_id, certificate_sha256)
    return f"{boot_id}.{base64.urlsafe_b64encode(tag).rstrip(b'=').decode('ascii')}"


def boot_of_session(session: str) -> str | None:
    """The boot that a session names, None where it is no session of ours at all. Proves nothing yet."""
    boot_id, dot, tag = session.rpartition(".")
    return boot_id if dot and len(tag) == 43 and _BOOT_ID.fullmatch(boot_id) else None


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def shortened(path: str) -> str:
    """A request path fit for a log: of a boot key only its first six digits are left."""
    return _SHORTENED.sub(r"\1...", path)


def _derive(secret: bytes, label: str, *parts: str) -> bytes:
    if len(secret) < _SECRET_SIZE:
        raise ValueError(f"the appliance's secret has {len(secret)} bytes, it needs {_SECRET_SIZE}")
    # a length before each part: no two lists of parts give the same message
    message = b"".join(len(part).to_bytes(2, "big") + part.encode() for part in (label, *parts))
    return hmac.digest(secret, message, hashlib.sha256)
