"""GRUB under Secure Boot and pxelinux: kernel, initrd and script by TFTP, and a claim without a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.appliance import describe, step
from tests.lab.site import LOADERS, Site, mac_of

MISSING = [path for path in LOADERS.values() if not Path(path).exists()]
pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


@pytest.mark.parametrize(
    ("role", "firmware", "memory"), [("secure", "efi-secure", 1024), ("pxelinux", "pxelinux", 512)]
)
def test_a_loader_that_knows_only_tftp_boots_to_a_joined_node(
    site: Site, role: str, firmware: str, memory: int
) -> None:
    """Its script holds no key, its files come from /images by TFTP, and it joins like any other machine."""
    with site.machine(role, firmware=firmware, memory=memory) as machine:
        boot = site.wait_joined(machine, mac_of(role))
        for name in ("script", "kernel", "initrd"):
            found = step(boot, name)
            assert found and found["detail"] == "by TFTP", describe(boot)
        assert step(boot, "seed") is None, describe(boot)
        assert step(boot, "claim"), describe(boot)
        assert site.node(role) is not None
        print(f"{firmware}: {machine.cpu_seconds:.1f} CPU s from power-on to joined")
