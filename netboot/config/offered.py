"""What is offered to machines and could not be read once root is dropped: images and `files_dir`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from netboot.config import here
from netboot.config.here import Account
from netboot.config.model import Config
from netboot.model.image import FILES, IMAGE_NAME

_REMEDY = "let its accounts read and enter it: chmod -R a+rX"


def unreadable(config: Config) -> list[str]:
    """Images and files that `server.user` or `server.helper_user` may not read; each with what to do."""
    server = config.server
    try:
        root = os.geteuid() == 0
        own, helper = (here.user(server), here.helper_user(server)) if root else (None, None)
    except LookupError:
        return []  # told as a problem
    return [*_images(server.images_dir, own, helper), *_files(server.files_dir, helper)]


def _images(folder: Path, own: Account | None, helper: Account | None) -> Iterator[str]:
    """One line for each image whose latest generation a machine could not fetch."""
    try:
        names = sorted(entry.name for entry in folder.iterdir() if IMAGE_NAME.fullmatch(entry.name))
    except OSError:
        return  # told as a problem, or not ours to look at
    for name in names:
        latest = folder / name / "latest"
        wanted = [(latest / "manifest.json", own), *((latest / file, helper) for file in FILES)]
        closed = [(path, who) for path, who in wanted if path.exists() and not here.readable(path, who)]
        if closed:
            path, who = closed[0]
            what = f"server.images_dir: image {name}: {path.name} is not readable by {_name(who)}"
            yield f"{what}, so no machine can boot it; {_REMEDY} {folder / name}"


def _files(folder: Path | None, helper: Account | None) -> Iterator[str]:
    if folder is not None and folder.is_dir() and not here.enterable(folder, helper):
        what = f"server.files_dir: {folder} may not be entered by {_name(helper)}"
        yield f"{what}, so none of its files is served; {_REMEDY} {folder}"


def _name(account: Account | None) -> str:
    return account.name if account else f"uid {os.geteuid()}"
