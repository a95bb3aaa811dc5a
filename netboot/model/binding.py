"""What a bootstrap token was made for: the one node, boot and machine that its certificate is for (R7)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.model.machine import Mac

SUPERSEDED = "superseded"
"""Stands for the first request of a token in whose place its boot was given another one."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One token and its machine; it outlives the token, whose bearer may pass some seconds longer."""

    cluster: str
    token_id: str
    boot_id: str
    node: str
    mac: Mac
    expires: float
    """Of the token, in seconds since the epoch."""
    address: IPv4Address | None = None
    """Which the token was handed to."""
    uuid: str | None = None
    """Of the machine, as it claimed its boot."""
    request: str = ""
    """The uid of the first certificate signing request that was made with the token; empty before it."""
    alarm: str = ""
    """Why the node's name is held; empty where it is not."""
