"""Text that is fit for a log, a page and a database: no secrets, no control characters, bounded."""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime

TEXT_LIMIT = 2000
"""Characters of any one text that is kept: what nodes send is bounded."""

_READ_LIMIT = 16384
_SHORTEST_SECRET = 12

_SECRET = re.compile(
    r"-----BEGIN (?P<pem>[A-Z ]*PRIVATE KEY)-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?P<token>[a-z0-9]{6})\.[a-z0-9]{16}\b"
    r"|(?P<bearer>\bBearer\s+)[^\s\"',]+"
    r"|(?P<crypt>\$(?:1|2[abxy]|5|6|7|y|gy|sha1)\$)[^\s:\"',]+"
    r"|(?<![0-9A-Za-z])(?P<key>[0-9a-f]{6})[0-9a-f]{26}(?![0-9A-Za-z])"
    r"|(?P<option>--(?:token|tls-bootstrap-token|certificate-key)[= ])\S+"
    r"|(?P<field>\b(?:token|tlsBootstrapToken|certificateKey|session|secret|password|key)\\?[\"']?\s*[:=]\s*\\?[\"']?)"
    r"(?=[^\s\"',}\\]{16})[^\s\"',}\\]+"
    r"|(?<![0-9A-Za-z_-])(?!(?:File|Dir)(?:Available|Content|Existing)-[a-z0-9_-]+(?![0-9A-Za-z_-]))"
    r"(?=[A-Za-z0-9_-]{40})(?=[a-z0-9_-]*[A-Z])(?=[A-Z0-9_-]*[a-z])(?P<word>[A-Za-z0-9_-]+)"
    r"|(?<!\S)(?P<base64>[A-Za-z0-9+/]{64})(?!\S)",
    re.DOTALL,
)


def redact(text: str) -> str:
    """`text` without secrets: tokens keep their id, boot keys their first six digits, others nothing.

    Names of kubeadm's preflight checks are long words and no secrets: an operator has to read them.

    Known by their form: bootstrap tokens, boot keys, bearers and sessions, crypt hashes, private keys in
    PEM, values of fields named token, key, session, secret or password (Kubernetes requirement R12).
    """
    return _SECRET.sub(_mask, text) if len(text) >= _SHORTEST_SECRET else text


def _mask(match: re.Match[str]) -> str:
    kind, value = match.lastgroup, match[match.lastgroup or 0]
    if kind == "token":
        return f"{value}.<redacted>"
    if kind == "key":
        return f"{value}..."
    if kind in ("bearer", "crypt", "option", "field"):
        return f"{value}<redacted>"
    return "<redacted>"


def clean(text: str, limit: int = TEXT_LIMIT) -> str:
    """`text` redacted, control characters escaped, cut to `limit` characters: fit for a log and a page."""
    if len(text) > _READ_LIMIT:
        text = text[:_READ_LIMIT].rpartition(" ")[0]  # never half a secret at the cut
    text = redact(text)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


class LogFormatter(logging.Formatter):
    """One line per event: ISO time in UTC, level, text; redacted, control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with a traceback escaped into it where there is one."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        text = record.getMessage()
        if record.exc_info:
            text += " | " + self.formatException(record.exc_info)
        name = "" if record.name == "netboot" else f"{record.name}: "
        return f"{at.removesuffix('+00:00')}Z {record.levelname.lower()} {name}{clean(text, 8000)}"


def configure_logging(level: int = logging.INFO) -> None:
    """Send every logger of this process to stderr through `LogFormatter`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.raiseExceptions = False  # a closed stderr must not harm the daemon
