"""May a new boot be given a credential while the last boot under its name may still run on another machine?

Whoever takes a machine's MAC address can open a boot in its name while it boots itself; so far nothing but
time tells the two apart. A machine that restarts has lost the session of its last boot. So a session that
speaks after the next boot was opened proves a second machine, and one that spoke a moment ago has to be
silent for a while first.
"""

from __future__ import annotations

from netboot.errors import JoinWithheld
from netboot.model.boot import Boot

SILENT = 20.0
"""Seconds for which the last boot's session has to be silent: a booting machine reports more often."""

AGAIN = 5.0


def check_succession(boot: Boot, last: Boot, spoke: float, now: float) -> None:
    """Raise JoinWithheld while the machine of `last`, whose session spoke at `spoke`, may live.

    For ever (None) where it has spoken since `boot` was opened: two machines have one name.
    """
    if spoke > boot.started:
        raise JoinWithheld(
            f"impostor: the session of {last.node}'s boot {last.id} went on after boot {boot.id} had begun: "
            f"two machines have the MAC address {boot.mac}. No credential is made; find out which one is the "
            "right one",
            None,
        )
    left = spoke + SILENT - now
    if left > 0:
        raise JoinWithheld(
            f"boot {last.id} of {last.node} was alive {now - spoke:.0f} s ago: its session is watched for "
            f"{left:.0f} more seconds, to see whether another machine boots under this name",
            min(AGAIN, max(1.0, left)),
        )
