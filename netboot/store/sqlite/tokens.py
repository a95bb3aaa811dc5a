"""Bootstrap tokens that we made, without their secrets."""

from __future__ import annotations

from collections.abc import Sequence

from netboot.model.boot import TokenRecord
from netboot.store.sqlite.writer import Part


class Tokens(Part):
    """The tokens of the store."""

    async def record_token(self, token: TokenRecord) -> None:
        """Remember a token without its secret. Raises StoreError."""
        row = (token.cluster, token.token_id, token.boot_id, token.secret_sha256, token.expires)
        await self._writer.execute("INSERT OR REPLACE INTO tokens VALUES (?,?,?,?,?)", row)

    async def tokens_of(self, boot_id: str) -> Sequence[TokenRecord]:
        """The tokens of one boot that were not forgotten yet. Raises StoreError."""
        return [token for token in await self.tokens() if token.boot_id == boot_id]

    async def tokens(self) -> Sequence[TokenRecord]:
        """All tokens that were not forgotten yet. Raises StoreError."""
        query = "SELECT token_id, boot_id, cluster, secret_sha256, expires FROM tokens"
        return [TokenRecord(*row) for row in await self._writer.execute(query)]

    async def forget_token(self, cluster: str, token_id: str) -> None:
        """The token is gone at the API; no error where it is not known. Raises StoreError."""
        query = "DELETE FROM tokens WHERE cluster = ? AND token_id = ?"
        await self._writer.execute(query, (cluster, token_id))
