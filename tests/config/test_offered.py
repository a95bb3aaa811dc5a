"""What root could read and the accounts that serve can not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from netboot.config import Config, Server, here, offered
from netboot.config.model import Api
from netboot.model.inventory import Inventory
from tests.boot.conftest import publish


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """As root would look at it, who steps down to two other accounts; with an image and a files_dir."""
    (tmp_path / "images").mkdir()
    (tmp_path / "files").mkdir()
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest" in str(folder):
            folder.chmod(0o755)
    publish(tmp_path / "images")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(here, "user", lambda _: here.Account("netboot", 4711, 4711))
    monkeypatch.setattr(here, "helper_user", lambda _: here.Account("netboot-files", 4712, 4712))
    server = Server(images_dir=tmp_path / "images", files_dir=tmp_path / "files")
    return Config((), server, Api(), Inventory(networks={}, clusters={}, pools={}, nodes=()))


def opened(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_what_everybody_may_read_is_fine(config: Config) -> None:
    """Nothing is said; nor of images and folders that are not there."""
    opened(config.server.images_dir)
    opened(config.server.files_dir or Path())
    assert offered.unreadable(config) == []
    away = replace(config.server, images_dir=Path("/nowhere"), files_dir=Path("/nowhere"))
    assert offered.unreadable(replace(config, server=away)) == []


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        ("manifest.json", "manifest.json is not readable by netboot,"),
        ("vmlinuz", "vmlinuz is not readable by netboot-files,"),
        ("root.squashfs", "root.squashfs is not readable by netboot-files,"),
        ("", "manifest.json is not readable by netboot,"),
    ],
)
def test_a_closed_image_is_told_with_its_remedy(config: Config, closed: str, said: str) -> None:
    """A file of it or its folder: built as root with a narrow umask, no machine could boot it."""
    folder = config.server.images_dir
    opened(folder)
    path = folder / "debian-12" / "latest" / closed if closed else folder / "debian-12"
    path.resolve().chmod(0o600 if closed else 0o700)
    (told,) = offered.unreadable(config)
    assert told.startswith("server.images_dir: image debian-12: ") and said in told
    assert told.endswith(f"chmod -R a+rX {folder / 'debian-12'}")


def test_a_closed_files_dir_is_told(config: Config) -> None:
    """Helpers open files by their names there."""
    folder = config.server.files_dir
    assert folder is not None
    opened(config.server.images_dir)
    folder.chmod(0o700)
    (told,) = offered.unreadable(config)
    assert f"{folder} may not be entered by netboot-files" in told
