"""`netboot explain`: a machine's boot in lines, offline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from netboot.boot.explain import Said, explain
from netboot.catalog import Catalog
from netboot.model.inventory import BootOverride
from netboot.model.manners import Admit
from netboot.model.settings import File
from tests.boot.conftest import EVERYTHING, MAC, OTHER, inventory


def text(images_dir: Path, mac: str = MAC, **changes: object) -> str:
    found = inventory(**changes)  # type: ignore[arg-type]
    return "\n".join(explain(found, Catalog(images_dir), MAC if mac == MAC else OTHER, boot_port=80))


def test_a_declared_machine_is_explained_from_address_to_join(images_dir: Path) -> None:
    """Every step has its line, in the order of a boot."""
    shown = text(images_dir, method="kubeadm", **EVERYTHING)
    assert shown.splitlines()[0] == f"{MAC} is m1c29: declared in pool compute"
    names = [line.split()[0] for line in shown.splitlines()[1:]]
    order = ["belongs", "address", "option", "program", "script", "kernel", "seed", "claim", "config", "join"]
    assert [name for name in dict.fromkeys(names) if name in order] == order
    assert "undionly.kpxe by TFTP from 10.77.0.1" in shown
    assert "uefi-http: http://10.77.0.1/programs/snponly.efi" in shown
    assert "12 host-name: m1c29" in shown or "12 " in shown


def test_quirks_are_told_with_their_reason_and_effect(images_dir: Path) -> None:
    """What matched, what the node names, and what each changes."""
    shown = text(images_dir)
    assert "bios: bios-pxe (class PXEClient, architecture 0): 60 = PXEClient; 43 = 06 01 08 ff" in shown
    assert "uefi: uefi-pxe (class PXEClient, architecture 7): no option 60 and 43" in shown
    assert "ipxe: ipxe (iPXE): " in shown
    found = inventory()
    node = replace(found.nodes[0], boot=BootOverride("own.efi", ("option-60", "no-nul")))
    lines = list(explain(replace(found, nodes=(node,)), Catalog(images_dir), MAC, boot_port=80))
    named = [line.split(None, 1)[1] for line in lines if "named by the node" in line and " uefi:" in line]
    assert named == [
        "uefi: option-60 (named by the node): 60 = PXEClient; 43 = 06 01 08 ff",
        "uefi: no-nul (named by the node): 66 and 67 without a NUL at their end",
    ]
    assert any("uefi: own.efi by TFTP" in line for line in lines)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (Said(vendor_class="PXEClient:Arch:00009:UNDI:003016"), "as told: snponly.efi by TFTP"),
        (Said(vendor_class="HTTPClient:Arch:00016:UNDI:003001"), "as told: http://10.77.0.1/programs/"),
        (Said(("bios",), user_class="gPXE"), "bios: undionly.kpxe by TFTP"),
        (Said(("u-boot-arm64",)), "u-boot-arm64: no file: it asks for boot.scr.uimg, then pxelinux"),
        (Said(("uefi-arm64",)), "uefi-arm64: no boot program: it is a 64-bit ARM machine"),
    ],
)
def test_a_machine_may_say_what_it_likes(images_dir: Path, said: Said, expected: str) -> None:
    """`--vendor-class` and `--user-class` are read as they would be from the wire."""
    lines = list(explain(inventory(), Catalog(images_dir), MAC, boot_port=80, said=said))
    assert [line for line in lines if expected in line], "\n".join(lines)


def test_a_program_that_the_operator_brought_is_told(images_dir: Path) -> None:
    """It has to be in files_dir under the name of its architecture."""
    said, brought = Said(("uefi-arm64",)), {"snponly-arm64.efi"}
    lines = explain(inventory(), Catalog(images_dir), MAC, boot_port=80, said=said, provided=brought)
    assert any("uefi-arm64: snponly-arm64.efi by TFTP" in line for line in lines)


def test_no_secret_is_shown(images_dir: Path) -> None:
    """Hashes, and contents of files secret or not, stay hidden."""
    files = {"/a": File("canary-content", secret=True), "/b": File("canary-content")}
    shown = text(images_dir, root_password_hash="$6$canary", files=files)
    assert "canary" not in shown and "root password (hidden)" in shown and "/a" in shown


def test_a_missing_image_is_said_with_its_remedy(tmp_path: Path) -> None:
    """What would stop this boot is told offline."""
    shown = text(tmp_path)
    assert "boots nothing" in shown and "remedy" in shown


def test_an_unknown_machine_is_told_apart(images_dir: Path) -> None:
    """Without a catch-all pool it gets no answer."""
    assert "no answer" in text(images_dir, OTHER)


def test_an_undeclared_machine_of_the_catch_all(images_dir: Path) -> None:
    """With one it is explained under its generated name, its address left open."""
    found = inventory()
    pool = replace(found.pools["compute"], catch_all=True)
    lines = list(explain(replace(found, pools={"compute": pool}), Catalog(images_dir), OTHER, boot_port=80))
    assert lines[0] == f"{OTHER} is node-525400000099: undeclared: catch-all pool compute"
    assert any("ip=ITS-ADDRESS::" in line for line in lines)


def test_an_address_that_only_the_host_knows_is_left_open(images_dir: Path) -> None:
    """Offline nobody knows the interface's own address."""
    found = inventory()
    network = replace(found.networks["lab"], address=None)
    lines = explain(replace(found, networks={"lab": network}), Catalog(images_dir), MAC, boot_port=8080)
    shown = "\n".join(lines)
    assert "http://ADDRESS-OF-br0:8080/" in shown and "192.0.2.1" not in shown


def test_a_network_that_does_not_answer_everybody_says_whom(images_dir: Path) -> None:
    """By each architecture: the MAC, or the vendor class that such firmware has."""
    found = inventory()
    (network,) = found.networks.values()

    def shown(admit: Admit | None) -> str:
        shut = replace(found, networks={network.name: replace(network, admit=admit)})
        return "\n".join(explain(shut, Catalog(images_dir), MAC, boot_port=80))

    assert "admitted" not in shown(None)
    assert "bios: no answer at all, it is not in admit.macs" in shown(Admit(macs=frozenset({OTHER})))
    only_http = shown(Admit(vendors=("HTTPClient",)))
    assert "uefi-http: yes" in only_http and "uefi: no answer at all" in only_http


def test_beside_another_dhcp_server_no_address_is_promised(images_dir: Path) -> None:
    """The declared one is only expected, and no DHCP option is ours to tell."""
    found = inventory()
    (network,) = found.networks.values()
    beside = replace(found, networks={network.name: replace(network, mode="proxy", ranges=())})
    shown = "\n".join(explain(beside, Catalog(images_dir), MAC, boot_port=80))
    assert "the network's own DHCP server's affair (mode proxy); expected is" in shown
    assert "host-name" not in shown and "undionly.kpxe" in shown


def test_what_a_node_is_known_by_is_told(images_dir: Path) -> None:
    """Its other cards and further identities, and whose option 82 counts."""
    found = inventory()
    assert "known by" not in text(images_dir)
    node = replace(found.nodes[0], uuid="4c4c4544-0042-3510-8054-b4c04f564232", circuit_id=b"ge1")
    shown = "\n".join(explain(replace(found, nodes=(node,)), Catalog(images_dir), MAC, boot_port=80))
    assert f"MAC {MAC}; UUID 4c4c4544-0042-3510-8054-b4c04f564232; circuit id hex:676531" in shown
    assert "the network lists none" in shown


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("kubeadm", "bind cluster, a credential of its own for 900 s"),
        ("tls-bootstrap", "bind cluster, a credential of its own for 900 s"),
        ("certificate", "a certificate for the key that it makes itself"),
        ("static", "certificates signed for this boot"),
        ("none", "it boots and joins nothing"),
    ],
)
def test_each_join_method_says_what_its_node_is_given(images_dir: Path, method: str, said: str) -> None:
    """One line, with the cluster and where it is."""
    (line,) = [line for line in text(images_dir, method=method).splitlines() if line.split()[0] == "join"]
    assert line.split(None, 1)[1].startswith(method) and line.endswith(said)
