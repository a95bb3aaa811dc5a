"""Names from the network, opened below a directory and nowhere else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netboot import tree
from netboot.errors import Refused
from netboot.tree import Served, files_among, open_below, split_name

GENERATION = "ab" * 32


@pytest.fixture(params=["openat2", "walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to the file: the kernel's, and the one for kernels without it."""
    if request.param == "walk":
        monkeypatch.setattr(tree, "_openat2", lambda *_: None)
    return request.param


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with a secret beside it and every kind of link that could lead there."""
    (tmp_path / "secret").write_bytes(b"secret")
    top = tmp_path / "root"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "file").write_bytes(b"content")
    (top / "last").symlink_to(tmp_path / "secret")
    (top / "inside").symlink_to("a/b/file")
    (top / "folder").symlink_to(tmp_path)
    (top / "a" / "up").symlink_to("../..")
    os.mkfifo(top / "pipe")
    return top


def read(opened: tree.Opened) -> bytes:
    try:
        return os.read(opened.fd, 1000)
    finally:
        os.close(opened.fd)


def test_a_file_below_is_opened_with_its_facts(root: Path, way: str) -> None:
    """Descriptor closed on exec, size and time as they are."""
    opened = open_below(str(root), ("a", "b", "file"))
    assert opened.size == 7
    assert opened.generation is None
    assert not os.get_inheritable(opened.fd)
    assert read(opened) == b"content"


@pytest.mark.parametrize("name", ["last", "inside", "folder/secret", "a/up/secret", "a/up/root/a/b/file"])
def test_no_link_is_followed_at_the_end_or_on_the_way(root: Path, way: str, name: str) -> None:
    """Not even one that stays inside."""
    with pytest.raises(OSError) as caught:
        open_below(str(root), tuple(name.split("/")))
    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)


@pytest.mark.parametrize(
    "parts",
    [
        ("..", "secret"),
        ("a", "..", "..", "secret"),
        ("a/../../secret",),
        ("",),
        (),
        (".",),
        ("a\0b",),
        ("/etc/passwd",),
    ],
)
def test_components_that_are_none_open_nothing(root: Path, way: str, parts: tuple[str, ...]) -> None:
    """`..`, separators and NUL inside a component never reach the kernel."""
    with pytest.raises(FileNotFoundError):
        open_below(str(root), parts)


@pytest.mark.parametrize("name", ["a", "pipe"])
def test_what_is_no_regular_file_is_not_opened(root: Path, way: str, name: str) -> None:
    """A directory and a pipe: refused at once, nothing blocks, no descriptor stays."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError):
        open_below(str(root), (name,))
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_directory_itself_may_be_a_link(root: Path, way: str, tmp_path: Path) -> None:
    """images_dir is the operator's word, wherever it points."""
    (tmp_path / "alias").symlink_to(root)
    assert read(open_below(str(tmp_path / "alias"), ("a", "b", "file"))) == b"content"


def test_links_are_refused_where_the_kernel_has_openat2(root: Path) -> None:
    """The flags alone keep a way out closed (the components are checked before, too)."""
    top = os.open(root, os.O_PATH)
    try:
        if tree._openat2(top, "a/b/file") is None:
            pytest.skip("this kernel has no openat2")
        for name in ("../secret", "a/../../secret", "last", "folder/secret", "/etc/passwd"):
            with pytest.raises(OSError):
                tree._openat2(top, name)
    finally:
        os.close(top)


def test_a_name_is_split_into_plain_components() -> None:
    """Leading, doubled and dot components fall away."""
    assert split_name("//a/./b//c/") == ("a", "b", "c")
    assert split_name("") == ()


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("../x", 403),
        ("a/..", 403),
        ("a\0b", 403),
        ("a" * 2000, 404),
        ("é" * 200, 404),
        ("a/" * 40 + "b", 404),
    ],
)
def test_a_name_that_leads_out_or_is_too_long_is_refused(name: str, status: int) -> None:
    """403 where nobody asks by mistake, 404 where the file cannot exist."""
    with pytest.raises(Refused) as caught:
        split_name(name)
    assert caught.value.status == status


@given(st.text(max_size=300))
def test_whatever_the_name_its_components_are_harmless(name: str) -> None:
    """Any text: Refused, or components without separator, NUL or `..`."""
    try:
        parts = split_name(name)
    except Refused:
        return
    assert all(part not in ("", ".", "..") and "/" not in part and "\0" not in part for part in parts)


def test_an_image_offers_its_files_and_nothing_else(tmp_path: Path) -> None:
    """NAME/GENERATION/FILE with the four names of the layout; not `latest`, not a neighbour."""
    folder = tmp_path / "demo" / GENERATION
    folder.mkdir(parents=True)
    for name in ("vmlinuz", "manifest.json", "build.log"):
        (folder / name).write_bytes(b"x")
    (tmp_path / "demo" / "latest").symlink_to(GENERATION)
    served = Served(str(tmp_path))
    opened = served.image(("demo", GENERATION, "vmlinuz"))
    assert opened.generation == GENERATION
    assert read(opened) == b"x"
    for parts in (
        ("demo", GENERATION, "build.log"),
        ("demo", "latest", "vmlinuz"),
        ("demo", GENERATION),
        ("demo",),
        (),
        ("..", GENERATION, "vmlinuz"),
        ("demo", GENERATION, "vmlinuz", ""),
        ("demo", GENERATION.upper(), "vmlinuz"),
    ):
        with pytest.raises(FileNotFoundError):
            served.image(parts)


def test_a_program_comes_from_files_dir_first_then_from_the_built_in_ones(tmp_path: Path) -> None:
    """The distribution's own links are followed (ipxe.efi is one), the operator's are not."""
    files, programs = tmp_path / "files", tmp_path / "programs"
    files.mkdir()
    programs.mkdir()
    (tmp_path / "elsewhere").write_bytes(b"built in")
    (programs / "ipxe.efi").symlink_to(tmp_path / "elsewhere")
    served = Served(str(tmp_path), str(files), (str(tmp_path / "absent"), str(programs)))
    assert read(served.program("ipxe.efi")) == b"built in"
    (files / "ipxe.efi").write_bytes(b"own")
    assert read(served.program("ipxe.efi")) == b"own"
    for name in ("missing", "../elsewhere", "", ".."):
        with pytest.raises(FileNotFoundError):
            served.program(name)


def test_without_files_dir_no_file_is_offered(tmp_path: Path) -> None:
    """files_dir is optional."""
    with pytest.raises(FileNotFoundError):
        Served(str(tmp_path)).file(("a",))


def test_the_files_of_a_directory_are_named_among_others(tmp_path: Path) -> None:
    """Folders and what is not there are left out; a directory that is not there has none."""
    (tmp_path / "a.efi").write_text("a")
    (tmp_path / "b.efi").mkdir()
    assert files_among(tmp_path, ["a.efi", "b.efi", "c.efi"]) == {"a.efi"}
    assert files_among(tmp_path / "nowhere", ["a.efi"]) == frozenset()
