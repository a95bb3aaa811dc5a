"""Per-machine files over TFTP: who gets which, and what that means for the boot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from netboot.askers import Askers
from netboot.boot import session
from netboot.catalog import Catalog
from netboot.proc import Transfer
from netboot.tftp.scripts import TftpScripts
from tests.boot.conftest import inventory
from tests.boot.identity import identity
from tests.web.boot_site import MAC, NODE, OTHER, STRANGER, World, loopback, running

BY_MAC = f"grub/grub.cfg-01-{MAC.dashed}"
OTHERS = f"grub/grub.cfg-01-{OTHER.dashed}"
NAMES = [
    BY_MAC,
    "grub/grub.cfg",
    "grub.cfg-7F000014",
    f"pxelinux.cfg/01-{MAC.dashed}",
    "pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d",
    "pxelinux.cfg/7F000014",
    "pxelinux.cfg/default",
]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path, method="none") as made:
        yield made


@pytest.fixture
def scripts(world: World, tmp_path: Path) -> TftpScripts:
    askers = Askers(
        inventory=lambda: world.inventory,
        store=world.store,
        neighbour=lambda _, address: world.neighbours.get(address),
        clock=lambda: world.now,
    )
    return TftpScripts(
        inventory=lambda: world.inventory,
        catalog=Catalog(tmp_path),
        store=world.store,
        boots=world.boots,
        journal=world.journal,
        askers=askers,
        boot_port=80,
    )


def delivered(name: str, size: int = 500, *, done: bool = True, error: str | None = None) -> Transfer:
    return Transfer(name, str(NODE), size, size, done, error)


async def claim(world: World, folder: Path) -> int:
    """A claim without a key, as the initrd of a machine makes it whose script came by TFTP."""
    body = {"mac": str(MAC), "uuid": "", "certificate": identity(folder).pem, "csr": ""}
    return (await world.ask("/boot/claim", method="POST", body=body)).status


@pytest.mark.parametrize("name", NAMES)
async def test_the_machine_at_a_leased_address_gets_its_script(
    world: World, scripts: TftpScripts, name: str
) -> None:
    """By whatever name its loader asks first: kernel and initrd of its image, and no key."""
    boot = await world.lease()
    script = await scripts.content(name, str(NODE))
    assert script is not None
    assert b"vmlinuz" in script and b"BOOTIF=01-" + MAC.dashed.encode() in script
    assert world.key(boot).encode() not in script and b"seed" not in script


async def test_only_a_delivered_script_lets_a_boot_be_claimed_without_a_key(
    world: World, scripts: TftpScripts, tmp_path: Path
) -> None:
    """Asking is not enough: the whole file must have gone to the leased address."""
    await world.lease()
    assert await claim(world, tmp_path) == 404
    assert await scripts.content(BY_MAC, str(NODE)) is not None
    await scripts.transferred(delivered(BY_MAC, done=False))
    await scripts.transferred(delivered(BY_MAC, error="the client closed its port"))
    assert await claim(world, tmp_path) == 404
    await scripts.transferred(delivered(BY_MAC))
    assert await claim(world, tmp_path) == 200


async def test_a_boot_whose_script_went_by_http_is_not_claimed_without_its_key(
    world: World, scripts: TftpScripts, tmp_path: Path
) -> None:
    """A file of that name that nobody asked of us changes nothing."""
    boot = await world.lease()
    await world.script()
    await scripts.transferred(delivered(BY_MAC))
    step = world.boots.get(boot.id).step("script")
    assert step is not None and step.detail != session.BY_TFTP
    assert await claim(world, tmp_path) == 404


async def test_another_address_gets_no_script_of_a_machine(world: World, scripts: TftpScripts) -> None:
    """A MAC in the name proves nothing: an explanation, no boot touched, a refusal counted."""
    boot = await world.lease()
    before = world.refusals()
    script = await scripts.content(BY_MAC, str(STRANGER))
    assert script is not None and b"vmlinuz" not in script and b"is not leased" not in script
    assert b"not the address" in script
    assert world.refusals() == before + 1
    assert world.boots.get(boot.id).step("script") is None


async def test_a_machine_gets_no_other_machines_script(world: World, scripts: TftpScripts) -> None:
    """An unknown MAC in the name is nobody's: a real file may be served instead."""
    await world.lease()
    assert await scripts.content(OTHERS, str(NODE)) is None


async def test_a_wrong_neighbour_gets_no_script(world: World, scripts: TftpScripts) -> None:
    """The link shows another machine at the leased address."""
    await world.lease()
    world.neighbours[NODE] = OTHER
    script = await scripts.content(BY_MAC, str(NODE))
    assert script is not None and b"another machine" in script and b"vmlinuz" not in script


async def test_strangers_without_lease_get_files_only(world: World, scripts: TftpScripts) -> None:
    """No lease, no MAC of ours in the name: whatever lies in files_dir."""
    assert await scripts.content("grub/grub.cfg", str(STRANGER)) is None
    assert await scripts.content("grub/grub.cfg", "192.0.2.7") is None
    assert await scripts.content("snponly.efi", str(NODE)) is None


async def test_everybody_on_a_network_gets_autoexec(world: World, scripts: TftpScripts) -> None:
    """It is the same for all, and leads to the script that is asked for by HTTP."""
    script = await scripts.content("autoexec.ipxe", str(STRANGER))
    assert script is not None and b"http://127.0.0.1/boot.ipxe" in script


async def test_a_machine_without_image_is_told_why(world: World, scripts: TftpScripts) -> None:
    """The reason on its console and in its boot; then its local boot."""
    boot = await world.lease()
    world.inventory = loopback(inventory(method="none", image=None))
    script = await scripts.content(BY_MAC, str(NODE))
    assert script is not None and b"has no image" in script and script.endswith(b"exit\n")
    found = world.boots.get(boot.id)
    assert (found.state, found.stopped_at) == ("stopped", "script")


async def test_a_claimed_boot_gets_no_second_script(
    world: World, scripts: TftpScripts, tmp_path: Path
) -> None:
    """It waits for the boot that its restart opens."""
    await world.lease()
    assert await scripts.content(BY_MAC, str(NODE))
    await scripts.transferred(delivered(BY_MAC))
    assert await claim(world, tmp_path) == 200
    script = await scripts.content(BY_MAC, str(NODE))
    assert script is not None and b"is over" in script


async def test_downloads_by_tftp_are_steps_of_the_boot(world: World, scripts: TftpScripts) -> None:
    """Kernel and initrd by their names below images, everything else is the first-stage program."""
    boot = await world.lease()
    generation = f"images/debian-12/{'0' * 64}"
    for name in ("shimx64.efi", f"{generation}/vmlinuz", f"{generation}/initrd.img"):
        await scripts.transferred(delivered(name))
    await scripts.transferred(delivered("grub/font.pf2", 0, error="file not found"))
    found = world.boots.get(boot.id)
    assert found.step("program").detail == "shimx64.efi, by TFTP"
    assert found.step("kernel").bytes == found.step("initrd").of == 500
    assert world.journal.counters["tftp_unfinished"] == 1
