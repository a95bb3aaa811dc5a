"""The images on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netboot.catalog import Catalog
from netboot.errors import ImageError
from tests.boot.conftest import publish


def test_the_latest_generation_is_offered(tmp_path: Path) -> None:
    """A name means what `latest` points at, and a new link shows at once."""
    first = publish(tmp_path, created="one")
    catalog = Catalog(tmp_path)
    assert catalog.generation("debian-12") == first
    second = publish(tmp_path, created="two")
    assert catalog.generation("debian-12") == second
    assert set(catalog.generations("debian-12")) == {first.id, second.id}


def test_a_pinned_generation_stays(tmp_path: Path) -> None:
    """NAME@sha256:HEX is that generation whatever is latest."""
    first = publish(tmp_path, created="one")
    publish(tmp_path, created="two")
    assert Catalog(tmp_path).generation(f"debian-12@sha256:{first.id}") == first


@pytest.mark.parametrize("reference", ["nothing", "../etc", "a@sha256:12", "debian-12@sha256:" + "0" * 64])
def test_what_is_not_there_is_said(tmp_path: Path, reference: str) -> None:
    """An unknown, odd or missing image is an ImageError that names it."""
    publish(tmp_path)
    with pytest.raises(ImageError) as caught:
        Catalog(tmp_path).generation(reference)
    assert reference.partition("@")[0] in str(caught.value)


def test_an_image_that_we_may_not_look_at_is_listed_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built as root for root alone: it is no image that is missing, and none that ends a list."""
    publish(tmp_path)

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    catalog = Catalog(tmp_path)
    monkeypatch.setattr(os, "readlink", closed)
    monkeypatch.setattr(Path, "lstat", closed)
    assert catalog.names() == ("debian-12",)
    with pytest.raises(ImageError, match=r"latest: Permission denied. Let netboot's accounts read it"):
        catalog.generation("debian-12")
    monkeypatch.setattr(os, "lstat", closed)
    with pytest.raises(ImageError, match=r"manifest.json: Permission denied. Let netboot's accounts read it"):
        catalog.generation(f"debian-12@sha256:{'a' * 64}")


def test_a_file_of_another_size_is_never_offered(tmp_path: Path) -> None:
    """A truncated file breaks its generation, also after it was offered once, and heals when whole again."""
    generation = publish(tmp_path)
    catalog = Catalog(tmp_path)
    assert catalog.generation("debian-12") == generation
    squashfs = tmp_path / "debian-12" / generation.id / "root.squashfs"
    squashfs.write_text("short")
    with pytest.raises(ImageError, match=r"root\.squashfs has 5 bytes, its manifest says 13"):
        catalog.generation("debian-12")
    squashfs.write_text("root.squashfs")
    assert catalog.generation("debian-12") == generation


def test_a_changed_manifest_is_never_offered(tmp_path: Path) -> None:
    """A manifest that is not what its directory is named by breaks the generation."""
    generation = publish(tmp_path)
    path = tmp_path / "debian-12" / generation.id / "manifest.json"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ImageError, match="named by"):
        Catalog(tmp_path).generation("debian-12")


def test_a_link_in_place_of_a_file_is_never_offered(tmp_path: Path) -> None:
    """Files of a generation are files, not links to elsewhere."""
    generation = publish(tmp_path)
    kernel = tmp_path / "debian-12" / generation.id / "vmlinuz"
    kernel.unlink()
    kernel.symlink_to("/etc/hostname")
    with pytest.raises(ImageError):
        Catalog(tmp_path).generation("debian-12")


def test_latest_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    """`latest` names a generation beside it and nothing else."""
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "latest").symlink_to("/etc")
    with pytest.raises(ImageError, match="no generation"):
        Catalog(tmp_path).generation("odd")


def test_names_are_listed(tmp_path: Path) -> None:
    """Images with a latest generation are listed; a missing directory has none."""
    publish(tmp_path, "one")
    publish(tmp_path, "two")
    (tmp_path / "three").mkdir()
    assert Catalog(tmp_path).names() == ("one", "two")
    assert Catalog(tmp_path / "missing").names() == ()
