"""iPXE scripts: what a machine's boot loader is told to do, in words for the console.

The texts are in `templates/`. Only values of parsed types go into them; prose passes through `say`, and
whatever else could end a line or be expanded by iPXE raises ValueError instead of being rendered.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address

from netboot.boot.plan import BootPlan, NoBoot
from netboot.boot.render import templates
from netboot.model.machine import Mac

RETRY_SECONDS = 30
"""How long a machine waits that has nothing to boot now."""

_MAX_PROSE = 400
_UNSPOKEN = re.compile(r"[^A-Za-z0-9 .,:;/_@()=+<>'`\[\]*~!?%-]")


def base_url(address: IPv4Address, port: int, *, secure: bool = False) -> str:
    """The URL of the boot port as nodes write it; the port is left out where it is the scheme's own."""
    scheme, usual = ("https", 443) if secure else ("http", 80)
    return f"{scheme}://{address}" if port == usual else f"{scheme}://{address}:{port}"


def boot_script(base: str) -> str:
    """`/boot.ipxe`: the same for every machine of a network."""
    return _render("boot", base=base)


def autoexec_script(base: str) -> str:
    """`autoexec.ipxe`, which iPXE looks for beside its own program: leads to `/boot.ipxe`."""
    return _render("autoexec", base=base)


def machine_script(
    plan: BootPlan, *, base: str, key: str, mac: Mac, address: IPv4Address, plain: str = ""
) -> str:
    """The script that boots one machine; the only one that holds a boot's key, in the seed's URL.

    `plain`: our URL over HTTP where `base` is HTTPS; the started system fetches its root there, guarded by
    its checksum.
    """
    generation, assignment = plan.generation, plan.assignment
    return _render(
        "machine",
        base=base,
        node=assignment.name,
        cluster=assignment.cluster.name,
        reason=assignment.reason,
        image=generation.name,
        generation=generation.id,
        images=f"{base}/images/{generation.name}/{generation.id}",
        arguments=kernel_arguments(plan, base=plain or base, mac=mac, address=address),
        key=key,
    )


def no_boot_script(decision: NoBoot, *, base: str) -> str:
    """The script of a machine that boots nothing: an exit to its local boot, or a wait and another try."""
    if decision.retry:
        return wait_script(decision.reason, base=base, remedy=decision.remedy)
    return _render("local", reason=decision.reason, remedy=decision.remedy)


def wait_script(
    reason: str, *, base: str, remedy: str = "", seconds: int = RETRY_SECONDS, renew: bool = False
) -> str:
    """A script that says why, waits and asks again; `renew`: it asks DHCP first, which opens a new boot."""
    return _render("wait", base=base, reason=reason, remedy=remedy, seconds=seconds, renew=renew)


def kernel_arguments(plan: BootPlan, *, base: str, mac: Mac, address: IPv4Address) -> tuple[str, ...]:
    """The kernel's command line, word by word, as iPXE starts it with two initrds."""
    names = ("initrd=seed.cpio", "initrd=initrd.img")  # UEFI kernels load them by these, in this order
    return (*names, *plain_arguments(plan, base=base, mac=mac, address=address))


def plain_arguments(plan: BootPlan, *, base: str, mac: Mac, address: IPv4Address) -> tuple[str, ...]:
    """What the kernel and our initrd are told, word by word. Every pod reads /proc/cmdline: no secret."""
    generation, network = plan.generation, plan.assignment.network
    squashfs = generation.files["root.squashfs"]
    gateway = network.gateway or ""
    return (
        f"BOOTIF=01-{mac.dashed}",
        f"ip={address}::{gateway}:{network.subnet.netmask}:{plan.assignment.name}::off",
        f"netboot.server={base}",
        f"netboot.squashfs={base}{generation.path('root.squashfs')}",
        *([f"netboot.mirrors={','.join(plan.mirrors)}"] if plan.mirrors else []),
        f"netboot.squashfs_sha256={squashfs.sha256}",
        f"netboot.squashfs_size={squashfs.size}",
        *([f"netboot.min_ram={generation.min_ram_mib}"] if generation.min_ram_mib else []),
        *(["netboot.debug_shell=1"] if plan.debug_shell else []),
        *plan.kernel_parameters,
    )


def say(text: str) -> str:
    """Prose as iPXE's `echo` shows it: nothing in it is expanded, cut or taken for an operator."""
    plain = _UNSPOKEN.sub("?", " ".join(text.split()))
    return plain if len(plain) <= _MAX_PROSE else plain[: _MAX_PROSE - 3] + "..."


# read now: the daemon may have given up the right to read its own files later
_TEMPLATES = templates("ipxe", "boot", "autoexec", "machine", "local", "wait", say=say)


def _render(template: str, **values: object) -> str:
    return _TEMPLATES[template].render(**values)
