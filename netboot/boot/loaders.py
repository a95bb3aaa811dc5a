"""Scripts for boot loaders that ask by TFTP: GRUB (also under Secure Boot) and pxelinux.

What they fetch goes by TFTP too, from `/images/...`. TFTP proves nothing and hides nothing, so no script
here holds a key: such a machine claims its boot without one (`session.BY_TFTP`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal

from netboot.boot import ipxe
from netboot.boot.plan import BootPlan, NoBoot
from netboot.boot.render import templates
from netboot.model.machine import Mac

Loader = Literal["ipxe", "grub", "pxelinux"]
RETRY_SECONDS = 30
_MAX_PROSE = 400
_ESCAPED = frozenset("'\"\\")
_UNSPOKEN = re.compile(r"[^A-Za-z0-9 .,:;/_@()=+`\[\]~!?%-]")
_MAC = r"01-((?:[0-9a-f]{2}-){5}[0-9a-f]{2})"
_NAMES: Mapping[Loader, re.Pattern[str]] = {
    "ipxe": re.compile(r"(?:.*/)?autoexec\.ipxe"),
    "grub": re.compile(rf"(?:.*/)?grub\.cfg(?:-{_MAC}|-[0-9a-f]{{1,8}})?"),
    "pxelinux": re.compile(
        rf"(?:.*/)?pxelinux\.cfg/(?:{_MAC}|[0-9a-f]{{1,8}}|[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}|default)"
    ),
}
"""The names that each loader tries, one after the other: its MAC, its UUID, its address in hex, none."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A script that a loader asks for: whose, as far as the name says it."""

    loader: Loader
    mac: Mac | None


def wanted(name: str) -> Wanted | None:
    """Which loader asks by this name for which machine; None where no loader of ours does."""
    for loader, pattern in _NAMES.items():
        if found := pattern.fullmatch(name.lower()):
            mac = found[1] if pattern.groups else None
            return Wanted(loader, Mac(mac) if mac else None)
    return None


def passable(decision: BootPlan | NoBoot) -> BootPlan | NoBoot:
    """The plan, unless its kernel parameters cannot be passed: GRUB escapes quotes and backslashes."""
    words = decision.kernel_parameters if isinstance(decision, BootPlan) else ()
    for word in words:
        if set(word) & _ESCAPED:
            reason = f"the kernel parameter {word[:60]} cannot be passed by GRUB and pxelinux"
            remedy = "write it without quotes and backslashes, or let this machine load iPXE"
            return NoBoot(reason, remedy, retry=True)
    return decision


def machine_script(
    loader: Loader, plan: BootPlan, *, base: str, server: IPv4Address, mac: Mac, address: IPv4Address
) -> str:
    """The script that boots one machine: kernel and initrd by TFTP from `server`, no key."""
    generation = plan.generation
    return _render(
        loader,
        "machine",
        server=server,
        node=plan.assignment.name,
        cluster=plan.assignment.cluster.name,
        reason=plan.assignment.reason,
        image=generation.name,
        generation=generation.id,
        images=f"images/{generation.name}/{generation.id}",
        arguments=ipxe.plain_arguments(plan, base=base, mac=mac, address=address),
        mac=mac.dashed,
    )


def no_boot_script(loader: Loader, decision: NoBoot, *, server: IPv4Address, mac: Mac) -> str:
    """The script of a machine that boots nothing: on to its local boot, or a wait and another try."""
    if decision.retry:
        return wait_script(loader, decision.reason, decision.remedy, server=server, mac=mac)
    return _render(loader, "local", reason=decision.reason, remedy=decision.remedy)


def wait_script(
    loader: Loader,
    reason: str,
    remedy: str = "",
    *,
    server: IPv4Address,
    mac: Mac,
    seconds: int = RETRY_SECONDS,
) -> str:
    """A script that says why, waits, and begins anew: GRUB by a restart, pxelinux by asking again."""
    return _render(
        loader, "wait", reason=reason, remedy=remedy, server=server, mac=mac.dashed, seconds=seconds
    )


def _say(text: str) -> str:
    """Prose for a console: nothing in it ends a quotation or is expanded."""
    plain = _UNSPOKEN.sub("?", " ".join(text.split()))
    return plain if len(plain) <= _MAX_PROSE else plain[: _MAX_PROSE - 3] + "..."


_TEMPLATES = {
    loader: templates(loader, "machine", "local", "wait", say=_say) for loader in ("grub", "pxelinux")
}


def _render(loader: Loader, template: str, **values: object) -> str:
    return _TEMPLATES[loader][template].render(**values)
