"""docs/tftp-clients.md: every client that is named, and what it asks is granted."""

from __future__ import annotations

import pytest

from netboot.tftp.transfer import negotiate
from tests.captures import tftp
from tests.docs.tftp_clients import CONSTRUCTED, SIZE, page

NAMED = ("EDK2", "iPXE", "GRUB", "lpxelinux", "busybox", "curl", "atftp", "tftp-hpa", "tftpy")


def test_every_client_that_operators_meet_is_on_the_page() -> None:
    """Recorded from the clients themselves, or made from a source that is named."""
    recorded = {kind.client for kind in tftp.KINDS if tftp.requests(kind)}
    for name in NAMED:
        assert any(client.startswith(name) for client in recorded), f"{name}: run scripts/captures --tftp"
    assert {client.client.split()[0] for client in CONSTRUCTED} == {"U-Boot", "Raspberry"}
    assert "unknown" not in page()


@pytest.mark.parametrize("kind", tftp.KINDS, ids=lambda kind: kind.client)
def test_a_client_gets_each_option_that_it_asks_for(kind: tftp.Kind) -> None:
    """In its own order, and with its own values where they are within our bounds."""
    for request in tftp.requests(kind):
        assert (request.opcode, request.mode) == (1, "octet")
        answer = dict(negotiate(request.options, size=SIZE).answer)
        assert list(answer) == list(request.options)
        assert all(str(answer[name]) == value for name, value in request.options.items() if name != "tsize")
