"""Names as firmware writes them, and the files that they mean."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netboot.errors import Refused
from netboot.tftp.names import PER_MACHINE, clean_name, open_name
from netboot.tree import Served
from tests.proc.house import make_served

SECRET = b"secret"
PIECES = st.sampled_from(
    ["..", ".", "", "etc", "passwd", "secret", "out", "link", "files", "images", "\\", "/", "%2e%2e", "\0"]
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    root = tmp_path_factory.mktemp("tree")
    made = make_served(root)
    (root / "secret").write_bytes(SECRET)
    (root / "files" / "link").symlink_to(root / "secret")
    (root / "files" / "out").symlink_to(root)
    (root / "files" / "Mixed.Case").write_bytes(b"mixed")
    (root / "files" / "lower").write_bytes(b"lower")
    return made


def read(served: Served, name: str) -> bytes:
    opened = open_name(served, clean_name(name))
    with open(opened.fd, "rb") as file:
        return file.read()


@pytest.mark.parametrize("name", ["lower", "/lower", "\\LOWER", "//./Lower", ".\\lower"])
def test_spellings_of_firmware_find_their_file(served: Served, name: str) -> None:
    """Backslashes, leading and doubled slashes, and what is not found as it stands in lower case."""
    assert read(served, name) == b"lower"


def test_a_name_in_mixed_case_is_found_as_it_stands(served: Served) -> None:
    """The exact name wins; only then the name in lower case is tried."""
    assert read(served, "Mixed.Case") == b"mixed"
    with pytest.raises(Refused):
        read(served, "MIXED.CASE")


@given(st.one_of(st.lists(PIECES, max_size=8).map("/".join), st.text(max_size=60)))
@example("out/secret")
@example("..\\secret")
def test_no_name_leads_out_of_what_is_offered(served: Served, name: str) -> None:
    """Whatever is asked for: a file of ours, or Refused, and nothing else."""
    try:
        assert read(served, name) != SECRET
    except Refused as refused:
        assert refused.status in (403, 404)


@pytest.mark.parametrize(
    ("name", "per_machine"),
    [
        ("autoexec.ipxe", True),
        ("grub/grub.cfg-01-52-54-00-12-34-56", True),
        ("EFI/debian/grub.cfg", True),
        ("pxelinux.cfg/01-52-54-00-12-34-56", True),
        ("pxelinux.cfg/C0A8", True),
        ("grub.cfg.bak", False),
        ("pxelinux.cfg", False),
        ("images/demo/x/vmlinuz", False),
    ],
)
def test_per_machine_names_are_told_from_files(name: str, per_machine: bool) -> None:
    """Control is asked only for names whose content depends on who asks."""
    assert bool(PER_MACHINE.fullmatch(name)) is per_machine
