"""A helper as control sees it."""

from __future__ import annotations

import socket

from netboot.proc.slots import Helper


def test_a_helper_never_holds_less_than_nothing() -> None:
    """One that says that more connections ended than it had has ended them all; others' are not touched."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        helper = Helper(1, ours, 0.0)
        helper.clients.update({"10.0.0.1": 2, "10.0.0.2": 1})
        helper.connections = 3
        helper.left("10.0.0.1", 5)
        assert helper.connections == 1 and dict(helper.clients) == {"10.0.0.2": 1}
        helper.left("10.0.0.3", 1)
        assert helper.connections == 1 and dict(helper.clients) == {"10.0.0.2": 1}
