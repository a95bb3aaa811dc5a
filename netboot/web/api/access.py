"""What lets operators in: the tokens in force and the listener's certificate, renewed when files change."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence
from pathlib import Path

from netboot.config import Api, tokens_file
from netboot.config.stamps import stamps_of
from netboot.config.tls import load
from netboot.errors import ConfigError, StartError
from netboot.events import Journal
from netboot.model.access import ADMIN_TOKEN, ApiToken, Role
from netboot.web.api.guard import ensure_admin_token


class Access:
    """The tokens and the certificate; `look` takes what has changed on disk."""

    def __init__(self, settings: Api, data_dir: Path, journal: Journal) -> None:
        """Read all files. Raises StartError and ConfigError."""
        self._settings = settings
        self._journal = journal
        self._token_files = _Files([settings.tokens_file] if settings.tokens_file else [])
        tls = settings.tls
        self._tls_files = _Files([tls.certificate, tls.key] if tls else [])
        admin = ensure_admin_token(data_dir / ADMIN_TOKEN)
        self._admin = ApiToken(ADMIN_TOKEN, Role.ADMIN, admin)
        self._tokens = (self._admin, *self._read())
        self.context: ssl.SSLContext | None = settings.tls.context() if settings.tls else None
        """What the listener speaks TLS with; None for plain http."""

    def tokens(self) -> tuple[ApiToken, ...]:
        """The tokens in force, the administrator's first."""
        return self._tokens

    async def look(self) -> None:
        """Take tokens and certificate whose files have changed; bad ones leave the old in force.

        A change is taken at the second look that finds it, lest a file is read that is being written.
        """
        if self._token_files.changed():
            await self._renew_tokens()
        if self._tls_files.changed():
            await self._renew_certificate()

    async def _renew_tokens(self) -> None:
        try:
            fresh = await asyncio.to_thread(self._read)
        except ConfigError as error:
            self._say("api_tokens_refused", f"the API's old tokens stay in force: {error}", logging.ERROR)
            return
        self._tokens = (self._admin, *fresh)
        self._say("api_tokens", f"the API's changed tokens are in force: {len(fresh)} beside {ADMIN_TOKEN}")
        for doubt in self._doubts():
            self._say("api_tokens_doubted", doubt, logging.WARNING)

    async def _renew_certificate(self) -> None:
        settings, tls = self._settings, self._settings.tls
        if tls is None or self.context is None:
            return
        try:
            load(self.context, await asyncio.to_thread(tls.pem))
            doubts = list(tls.doubts_of({settings.host, *settings.names}, time.time()))
        except StartError as error:
            self._say("api_certificate_refused", f"the API's old certificate stays: {error}", logging.ERROR)
            return
        self._say("api_certificate", "the API's renewed certificate is in force")
        for doubt in doubts:
            self._say("api_certificate_doubted", doubt, logging.WARNING)

    def _read(self) -> tuple[ApiToken, ...]:
        file = self._settings.tokens_file
        return tokens_file.read(file) if file is not None else ()

    def _doubts(self) -> list[str]:
        file = self._settings.tokens_file
        return list(tokens_file.doubts(file)) if file is not None else []

    def _say(self, kind: str, text: str, level: int = logging.INFO) -> None:
        self._journal.note(kind, text, level=level)


class _Files:
    """Files that are read again when they have changed, and have come to rest."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._taken = self._seen = stamps_of(files)

    def changed(self) -> bool:
        """Whether what stands there is new, and stood there at the last look already; True once."""
        before, self._seen = self._seen, stamps_of(self._files)
        if self._seen == self._taken or self._seen != before:
            return False
        self._taken = self._seen
        return True
