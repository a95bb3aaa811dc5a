"""How each guard is switched off, in a scratch copy of the daemon that `copied` makes.

SWITCHES patches a module once it has run. Which guards are off stands in a file that is read each time, so
that one daemon serves all rows. Nothing but the standard library may be imported here: this file is laid into
the copy as netboot/theft.py, and runs in all its processes, helpers too.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE = ""
"""Where the names of the guards stand that are off; in the copy."""
VICTIM = ""
"""Whose address counts for everybody's while `script` or `tftp` is off; in the copy."""


def off(guard: str) -> bool:
    """Whether this guard is switched off now."""
    try:
        with open(FILE, encoding="ascii") as file:
            return guard in file.read().split()
    except OSError:
        return False


def _instead(module: Any, name: str, guard: str, made: Callable[[Any], Any]) -> None:
    """Call `made(original)` in place of a function while the guard is off."""
    original = getattr(module, name)

    def switched(*arguments: Any, **named: Any) -> Any:
        chosen = made(original) if off(guard) else original
        return chosen(*arguments, **named)

    setattr(module, name, switched)


def _session(module: Any) -> None:
    """Keys, their one use and their expiry, sessions."""

    def first_boot(original: Any) -> Any:
        return lambda key, candidates, secret: next(iter(candidates))

    def checks(original: Any) -> Any:
        return lambda boot, claim, now: original(boot, None, boot.started)

    def any_session(original: Any) -> Any:
        return lambda session, claim, boot, secret, now: claim

    def any_machine(original: Any) -> Any:
        return lambda request, node: None

    _instead(module, "check_uuid", "identity", any_machine)
    _instead(module, "boot_of_key", "key", first_boot)
    _instead(module, "check_unused", "once", checks)
    _instead(module, "check_unused", "expiry", checks)
    _instead(module, "check_session", "session", any_session)


def _claims(module: Any) -> None:
    """A key belongs to one address, and is burnt once."""

    def everybodys(original: Any) -> Any:
        return lambda self, lease: self._site.boots.all(limit=1000)

    def not_burnt(original: Any) -> Any:
        async def burn(self: Any, wanted: Any, asker: Any, to: Any, boot: Any, kept: Any, now: float) -> Any:
            return module.Claim(
                boot.id, asker.address, wanted.sha256, to.pem, to.sha256, now, csr=wanted.csr, kept=kept
            )

        return burn

    _instead(module.Claims, "_candidates", "address", everybodys)
    _instead(module.Claims, "_burn", "once", not_burnt)


def _askers(module: Any) -> None:
    """Who asks is whom the address is leased to; off: it is the victim that asks."""
    original = module.Askers.at

    async def at(self: Any, client: Any) -> Any:
        if off("script") or off("tftp"):
            client = type(client)(VICTIM)
        return await original(self, client)

    module.Askers.at = at


def _store(module: Any) -> None:
    """A boot that was claimed gets no second script."""
    original = module.Claims.claim_of

    async def claim_of(self: Any, boot_id: str) -> Any:
        return None if off("claimed") else await original(self, boot_id)

    module.Claims.claim_of = claim_of


def _sessions(module: Any) -> None:
    """A report needs a session; off: it is the newest claimed boot's."""
    original = module.Sessions._live

    async def live(self: Any, request: Any) -> Any:
        if not off("session"):
            return await original(self, request)
        boot = next(b for b in self._site.boots.all(limit=100) if b.claimed and b.ended is None)
        return module._Session(await self._site.store.claim_of(boot.id), boot)

    module.Sessions._live = live

    def any_time(original: Any) -> Any:
        return lambda boot, last, spoke, now: None

    _instead(module, "check_succession", "succession", any_time)
    _instead(module, "seal", "sealing", lambda original: lambda plain, to: plain)


def _answering(module: Any) -> None:
    """What a program on a running machine may send opens no boot that is trusted."""

    def firmware(original: Any) -> Any:
        return lambda *arguments, **facts: ""

    _instead(module, "forgeable", "firmware", firmware)


def _presence(module: Any) -> None:
    """Nobody is given a credential under the name of somebody who lives (R19)."""
    original = module.Presence.verdict

    async def verdict(self: Any, cluster: str, node: str, boot_id: str) -> Any:
        return module.Gone() if off("presence") else await original(self, cluster, node, boot_id)

    module.Presence.verdict = verdict


def _approving(module: Any) -> None:
    """R7: a token's first request, for its own node."""

    def approve(original: Any) -> Any:
        return lambda request, binding, **facts: module.Verdict(module.Decision.APPROVE, "switched off")

    _instead(module, "client_verdict", "approver", approve)


def _tree(module: Any) -> None:
    """Names stay below what is offered."""

    def any_name(original: Any) -> Any:
        return lambda name: tuple(part for part in name.split("/") if part not in ("", "."))

    def anywhere(original: Any) -> Any:
        return lambda root, parts: module._regular(os.open("/".join((root, *parts)), os.O_RDONLY))

    _instead(module, "split_name", "names", any_name)
    _instead(module, "open_below", "names", anywhere)


def _api(module: Any) -> None:
    """A token that we know, and a Host name of ours."""

    def anybody(original: Any) -> Any:
        return lambda said, tokens: next(iter(tokens))

    _instead(module, "known", "token", anybody)
    _instead(module, "hosts", "host", lambda original: lambda request: set())


def _clock(module: Any) -> None:
    """The appliance's clock an hour and more ahead, while a file beside the switch is there."""
    real = time.time

    def later() -> float:
        return real() + (4000.0 if os.path.exists(f"{FILE}.later") else 0.0)

    time.time = later


SWITCHES: dict[str, Callable[[Any], None]] = {
    "netboot.cli": _clock,
    "netboot.askers": _askers,
    "netboot.boot.session": _session,
    "netboot.dhcp.answering": _answering,
    "netboot.fleet.approving": _approving,
    "netboot.join.presence": _presence,
    "netboot.store.sqlite.claims": _store,
    "netboot.tree": _tree,
    "netboot.web.api.guard": _api,
    "netboot.web.boot.claims": _claims,
    "netboot.web.boot.sessions": _sessions,
}


def copied(package: Path, to: Path, switch: Path, victim: str) -> Path:
    """A copy of the package in `to`, whose guards are switched off through the file `switch`."""
    copy = to / package.name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    text = Path(__file__).read_text()
    for name, value in (("FILE", str(switch)), ("VICTIM", victim)):
        text = text.replace(f'{name} = ""', f"{name} = {value!r}", 1)
    (copy / "theft.py").write_text(text)
    for module in SWITCHES:
        file = to / module.replace(".", "/")
        with (file / "__init__.py" if file.is_dir() else file.with_suffix(".py")).open("a") as source:
            source.write("\nimport sys as _sys\nfrom netboot import theft as _theft\n")
            source.write("_theft.SWITCHES[__name__](_sys.modules[__name__])\n")
    return copy
