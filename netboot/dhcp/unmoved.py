"""A running system that was assigned another name or address keeps its own until its next boot. Pure."""

from __future__ import annotations

from dataclasses import replace

from netboot.dhcp.profile import Profile
from netboot.dhcp.wire import encode_option
from netboot.model.boot import Boot
from netboot.model.lease import Lease
from netboot.model.machine import Client, Speaker

_NAME = 12


def may_differ(profile: Profile, client: Client) -> bool:
    """Whether it was assigned at run time, and what speaks is no firmware: then its lease is looked at."""
    node = profile.assignment.node
    return node is not None and node.placed is not None and client.speaker is Speaker.SYSTEM


def as_it_runs(profile: Profile, lease: Lease | None, boot: Boot | None) -> Profile:
    """The machine under the name and at the address of its lease, where its boot is older than that.

    Architecture 3: after an assignment the name changes at the next boot.
    """
    node = profile.assignment.node
    placed = node.placed if node is not None else None
    if placed is None or lease is None or boot is None:
        return profile
    if boot.started >= placed.since or boot.node != lease.name:
        return profile
    return replace(
        profile,
        assignment=replace(profile.assignment, name=lease.name),
        name=encode_option(_NAME, lease.name.encode()),
        reserved=int(lease.address) if profile.reserved is not None else None,
    )
