"""What the methods that hand a token out share."""

from __future__ import annotations

import pytest

from netboot.errors import StoreError
from netboot.join.handing import TokenJoin
from netboot.join.kubeadm import KubeadmJoin
from netboot.join.tls_bootstrap import TlsBootstrapJoin


class Broken:
    """Turns that let everybody in, and a mint whose store cannot be read."""

    def alone(self, boot_id: str) -> Broken:
        return self

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *error: object) -> None:
        pass

    def forget(self, boot_id: str) -> None:
        pass

    async def revoke(self, boot_id: str) -> None:
        raise StoreError("the disk is gone")


@pytest.mark.parametrize("method", [KubeadmJoin, TlsBootstrapJoin])
async def test_a_store_that_cannot_be_read_is_told_and_ends_nothing(
    method: type[TokenJoin], caplog: pytest.LogCaptureFixture
) -> None:
    """Taking back is asked for when a boot ends: whoever asks goes on."""
    broken = Broken()
    await method(broken, broken, broken, broken).revoke("boot1")  # type: ignore[arg-type]
    assert "boot1 cannot be looked up: the disk is gone" in caplog.text
