"""One boot of one machine, from its first DISCOVER to Ready, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from netboot.model.machine import Mac

STEPS = (
    "discover",
    "offer",
    "ack",
    "program",
    "script",
    "kernel",
    "initrd",
    "seed",
    "claim",
    "squashfs",
    "config",
    "network_script",
    "join",
    "registered",
    "ready",
)
"""The steps of a boot, in order and by the names that operators and nodes use."""

REPORTED = ("squashfs", "config", "network_script", "join")
"""The steps that a node reports itself through its session."""

REOPEN_AFTER = 600.0
"""Seconds after which a DISCOVER of firmware opens a new boot though the last was never claimed."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it stands: when it began or was last reported, and how far it is."""

    step: str
    at: float
    bytes: int | None = None
    of: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot of one machine; `state` is booting, joined or stopped."""

    id: str
    mac: Mac
    node: str
    cluster: str
    image: str | None = None
    generation: str | None = None
    state: str = "booting"
    started: float = 0.0
    ended: float | None = None
    steps: tuple[Step, ...] = ()
    stopped_at: str | None = None
    cause: str | None = None
    claimed: bool = False
    address: IPv4Address | None = None
    system_uuid: str | None = None
    doubt: str = ""
    """Why this machine may be another one than the node whose MAC address it has; empty for no reason."""
    quirks: tuple[str, ...] = ()
    """What its replies followed for its firmware's sake, each with the reason why."""

    def step(self, name: str) -> Step | None:
        """The step of that name, None while it has not been reached."""
        return next((s for s in self.steps if s.step == name), None)

    def superseded_by_discover(self, now: float) -> bool:
        """Whether a DISCOVER of this machine's firmware opens a new boot (architecture: a boot opens...)."""
        return self.claimed or self.state != "booting" or now - self.started > REOPEN_AFTER


@dataclass(frozen=True, slots=True)
class Kept:
    """What a boot belonged to when it was claimed: it stays so until the boot is over."""

    node: str
    cluster: str
    pool: str
    tags: tuple[str, ...] = ()
    """The node's own."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A burnt boot key: who claimed a boot, with what, from where; on disk before the answer leaves."""

    boot_id: str
    address: IPv4Address
    request_sha256: str
    """Of the claim's whole body: the identical request from the same address gets the same answer."""
    certificate: str
    """The node's certificate in PEM: configuration and credential are sealed to it."""
    certificate_sha256: str
    claimed: float
    credentials: int = 0
    """How many configurations with a credential this boot was given (at most five)."""
    ended: bool = False
    """The session is over: joined, superseded, or its hour has passed."""
    kept: Kept | None = None
    """None where an earlier version of ours wrote it."""
    csr: str = ""
    """The node's own certificate request in PEM, as it came; empty where it sent none."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A bootstrap token that we made, without its secret (requirement R12)."""

    token_id: str
    boot_id: str
    cluster: str
    secret_sha256: str
    expires: float
