"""Where a silent boot stopped, and why it probably did: a pure table in an operator's words."""

from __future__ import annotations

from dataclasses import dataclass

from netboot.model.boot import STEPS, Boot, Step

BOOT_LIFE = 3600.0
"""Seconds after which a boot that is neither joined nor superseded is over, with its session."""


@dataclass(frozen=True, slots=True)
class Stall:
    """The step that a silent boot stopped at (the one it did not get through) and the likely cause."""

    step: str
    cause: str


@dataclass(frozen=True, slots=True)
class Row:
    """After `limit` seconds without progress since a step, the machine hangs at `step` because of `cause`."""

    limit: float
    step: str
    cause: str


# Firmware steps follow each other within seconds, but a PXE ROM takes up to a minute to give up and a
# BIOS to come back from a reset takes two; a kernel under emulation needs 90 s. Hence 60 s to 5 minutes.
TABLE: dict[str, Row] = {
    "discover": Row(
        60,
        "offer",
        "we made no offer: the event log says why (no free address in the range, no pool for this "
        "machine, or a full disk)",
    ),
    "offer": Row(
        60,
        "ack",
        "the machine did not take our offer: another DHCP server on this network answered first, or the "
        "offer does not reach it (VLAN, relay, switch port still blocked by spanning tree). Look for a "
        "second DHCP server and enable portfast on the port",
    ),
    "ack": Row(
        90,
        "program",
        "it has an address but fetched no boot program: TFTP (UDP 69 and the high ports it answers from) "
        "is blocked by a firewall, or the firmware wants a program for another architecture. `netboot "
        "explain` shows the program it is told; `boot.program` of the node changes it",
    ),
    "program": Row(
        120,
        "script",
        "its boot program was sent but asked for no script: the boot port is not reachable from the "
        "node, the program has no driver for this network card (try ipxe.efi instead of snponly.efi), or "
        "Secure Boot refused the unsigned program",
    ),
    "script": Row(
        120,
        "kernel",
        "it got its script but fetched no kernel: the script went wrong on the machine's console (its "
        "last line names the error), or a download of /images is waiting for its turn",
    ),
    "kernel": Row(
        180,
        "initrd",
        "the kernel was fetched, the initrd was not: the download broke off, or the machine's memory is "
        "too small for kernel and initrd",
    ),
    "initrd": Row(
        180,
        "seed",
        "the initrd was fetched, its seed was not: the machine asks from another address than the one "
        "leased to it, or the download of the initrd broke off. The event log shows refused seeds",
    ),
    "seed": Row(
        300,
        "claim",
        "everything was loaded, but the started system did not claim its boot: the kernel did not start "
        "(memory too small, panic, a kernel for another architecture), or the initrd has no driver for "
        "the network card or could not set its address up. Look at the console; `debug_shell: true` "
        "gives a shell there",
    ),
    "claim": Row(
        180,
        "squashfs",
        "the system started but does not fetch its root: the boot port (or the image's mirror) is not "
        "reachable from the running system, for example because the network card came up on another VLAN "
        "or MTU",
    ),
    "squashfs": Row(
        300,
        "config",
        "the root was loaded but the booted system never asked for its configuration: the root does not "
        "start (look at the console for systemd's failed units), the image holds no netboot agent, or "
        "the network did not come up in it",
    ),
    "config": Row(
        300,
        "network_script",
        "the configuration was fetched but not reported as applied: a mount or a module hangs, or the "
        "machine lost its network while it was configured",
    ),
    "network_script": Row(
        420,
        "join",
        "network.sh is through, the join did not begin: the network that the script set up does not "
        "reach us any more, or a unit that is started before the join hangs",
    ),
    "join": Row(
        420,
        "registered",
        "the join began but no Node object appeared: kubeadm waits for the Kubernetes API (endpoint not "
        "reachable from the node, wrong address in the cluster's `endpoint`), or the container runtime "
        "does not answer",
    ),
    "registered": Row(
        300,
        "ready",
        "the Node object exists but is not Ready: the CNI plugin of the cluster is missing or not up "
        "yet, the kubelet or the container runtime fails. `kubectl describe node` shows the condition",
    ),
}
"""By the last step reached."""

SQUASHFS_LIMIT = 120.0
"""Seconds without one more byte of the squashfs; its download is retried by the node all the while."""

RUNNING: dict[str, Row] = {
    "config": Row(
        300,
        "config",
        "the configuration is being applied and does not get through: a mount that does not answer, a "
        "module that hangs, or the machine lost its network",
    ),
    "network_script": Row(
        420,
        "network_script",
        "network.sh was started and neither ended nor ran into its time limit: it cut the network that "
        "it needs to report, or the machine hangs",
    ),
}
"""By a last step that was reported as begun (its detail is one of `BEGUN`) but not as done."""

BEGUN = ("fetching", "handed over", "running")
"""What the node, and we, say of a step that is under way."""

DISK = "the appliance cannot write to its disk"
"""What the detail of a step says where a machine waits for our own disk, not for its own trouble."""

QUEUED = "waiting for its turn to download"
"""What the detail of a step says where too many others download (`boot.storm`)."""

UNCLAIMED = "waiting for its claim to be admitted"
"""What the detail of a step says where its pool admits no more claims now (`boot.claim_rate`)."""

QUEUE_LIMIT = 600.0
"""Seconds for which a place in the queue may stay the same."""

NO_ADDRESS = "no address: its own DHCP server gives it one"
"""What the detail of the step `offer` begins with in mode proxy."""

_BESIDE = Row(
    60,
    "ack",
    "it was told what to boot, and took no address: its own DHCP server gives it none (look at that "
    "server), or the machine dropped our offer because that server says something of booting, too (take "
    "options 43, 60, 66, 67 and next-server out there)",
)

WITHHELD_LIMIT = 60.0
"""Seconds after which a configuration that is withheld for one and the same reason counts as a stop."""


def likely_cause(boot: Boot, now: float, heard: float | None = None) -> Stall | None:
    """Where and why `boot` hangs; None while its silence is within the limit of its last step.

    `heard` is when it last got further (seconds since the epoch), by default when its last step began.
    """
    last = last_step(boot)
    if last is None:
        return None
    since = heard if heard is not None else max(last.at, boot.started)
    row = _row(last)
    if row is None or now - since < row.limit:
        return None
    return Stall(row.step, f"silent for {_duration(now - since)}: {_withheld(boot) or row.cause}")


def _withheld(boot: Boot) -> str:
    """Why a machine that may be another one gets neither script nor seed."""
    return (
        f"{boot.doubt}, so that it gets an address and no secret" if boot.doubt and not boot.claimed else ""
    )


def last_step(boot: Boot) -> Step | None:
    """The furthest step that was reached, in the order of `STEPS`."""
    return max(boot.steps, key=lambda s: STEPS.index(s.step), default=None)


def overdue(boot: Boot, now: float) -> Stall | None:
    """The end of a boot that is older than `BOOT_LIFE`: its session is over, wherever it stands."""
    if now - boot.started < BOOT_LIFE:
        return None
    last = last_step(boot)
    row = _row(last) if last else None
    cause = boot.cause or _withheld(boot) or (row.cause if row else "the machine was not heard of again")
    return Stall(boot.stopped_at or (row.step if row else "discover"), f"not through after one hour: {cause}")


def _row(last: Step) -> Row | None:
    if last.step == "squashfs" and last.of and (last.bytes or 0) < last.of:
        return _stuck_squashfs(last.bytes or 0, last.of)
    if last.step in RUNNING and last.detail in BEGUN:
        return RUNNING[last.step]
    if last.step == "offer" and last.detail.startswith(NO_ADDRESS):
        return _BESIDE
    row = TABLE.get(last.step)
    if row and UNCLAIMED in last.detail:
        return Row(QUEUE_LIMIT, "claim", f"it was {last.detail}, and asked no more: was it switched off?")
    if row and QUEUED in last.detail:
        return Row(QUEUE_LIMIT, row.step, f"it was {last.detail}, and asked no more: was it switched off?")
    if row and DISK in last.detail:
        return Row(row.limit, row.step, last.detail[last.detail.index(DISK) :])
    if last.step == "config" and last.detail and not last.detail.startswith("done"):
        return Row(WITHHELD_LIMIT, "config", f"its configuration is withheld: {last.detail}")
    return row


def _stuck_squashfs(sent: int, of: int) -> Row:
    return Row(
        SQUASHFS_LIMIT,
        "squashfs",
        f"the download of the root stands at {sent} of {of} bytes: the machine was switched off or lost "
        "its link, its memory is too small for the root, or a firewall or an MTU that is too large eats "
        "long packets",
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
