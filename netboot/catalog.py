"""The images on disk: which generations may be offered, checked against their manifests.

Layout: `images_dir/NAME/GENERATION/{manifest.json,vmlinuz,initrd.img,root.squashfs}` and a symlink
`images_dir/NAME/latest`. A generation is named by the SHA-256 of its manifest, and nothing in it changes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from netboot.errors import ImageError
from netboot.model.image import FILES, GENERATION, IMAGE_NAME, Generation, parse_manifest, split_reference

MAX_MANIFEST = 1 << 20
"""Bytes of a manifest.json that are read at most."""

_LET_READ = "Let netboot's accounts read it (chmod -R a+rX)"
_LOOKED_AT = ("manifest.json", *FILES)
_Signature = tuple[tuple[int, int, int], ...]


@dataclass(slots=True)
class Catalog:
    """The images under `images_dir`. Every look-up stats the files, so a change shows at once."""

    images_dir: Path
    _seen: dict[tuple[str, str], tuple[_Signature, Generation]] = field(default_factory=dict)
    _root: str = field(init=False)

    def __post_init__(self) -> None:
        self._root = str(self.images_dir)  # joined as text: every script looks here, and Path is slow

    def generation(self, reference: str) -> Generation:
        """The generation that `NAME` (its latest) or `NAME@sha256:HEX` means.

        Raises ImageError where there is none, or where its files disagree with its manifest.
        """
        try:
            name, pinned = split_reference(reference)
        except ValueError as error:
            raise ImageError(str(error)) from None
        return self._checked(name, pinned or self._latest(name))

    def names(self) -> tuple[str, ...]:
        """The names of all images that have a latest generation, in order."""
        try:
            folders = [entry.name for entry in self.images_dir.iterdir() if IMAGE_NAME.fullmatch(entry.name)]
        except OSError:
            return ()
        return tuple(sorted(name for name in folders if _is_link(self.images_dir / name / "latest")))

    def generations(self, name: str) -> tuple[str, ...]:
        """The ids of an image's generations on disk, sound or not, in order."""
        try:
            entries = [entry.name for entry in (self.images_dir / name).iterdir()]
        except OSError:
            return ()
        return tuple(sorted(entry for entry in entries if GENERATION.fullmatch(entry)))

    def _latest(self, name: str) -> str:
        link = f"{self._root}/{name}/latest"
        try:
            target = os.readlink(link).rpartition("/")[2]  # noqa: PTH115 - its text, not a resolved path
        except PermissionError as error:
            raise ImageError(f"image {name}: {link}: {error.strerror}. {_LET_READ}") from None
        except OSError:
            raise ImageError(
                f"image {name}: there is no {link}. Build it into images_dir, or name one that is there"
            ) from None
        if not GENERATION.fullmatch(target):
            raise ImageError(f"image {name}: {link} points at {target!r}, which is no generation")
        return target

    def _checked(self, name: str, generation_id: str) -> Generation:
        folder = f"{self._root}/{name}/{generation_id}"
        signature = tuple(_stat(name, f"{folder}/{file}") for file in _LOOKED_AT)
        known = self._seen.get((name, generation_id))
        if known is None or known[0] != signature:
            known = signature, _load(name, generation_id, Path(folder), signature)
            self._seen[name, generation_id] = known
        return known[1]


def _is_link(path: Path) -> bool:
    """Whether a link is there; one that we may not look at counts as if it were, so that it is missed."""
    try:
        return stat.S_ISLNK(path.lstat().st_mode)
    except PermissionError:
        return True
    except OSError:
        return False


def _stat(name: str, path: str) -> tuple[int, int, int]:
    """Identity of a file's content as far as stat tells it: inode, time and size."""
    try:
        found = os.lstat(path)
    except PermissionError as error:
        raise ImageError(f"image {name}: {path}: {error.strerror}. {_LET_READ}") from None
    except OSError as error:
        raise ImageError(f"image {name}: {path}: {error.strerror}. Build or publish it again") from None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _load(name: str, generation_id: str, folder: Path, signature: _Signature) -> Generation:
    path = folder / "manifest.json"
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST + 1)
    except OSError as error:
        raise ImageError(f"image {name}: {path}: {error.strerror}") from None
    if hashlib.sha256(raw).hexdigest() != generation_id:
        raise ImageError(f"image {name}: {path} is not what its directory is named by. Publish it again")
    generation = parse_manifest(raw, name=name)
    for part, (_, _, size) in zip(FILES, signature[1:], strict=True):
        if size != (wanted := generation.files[part].size):
            raise ImageError(f"image {name}: {folder / part} has {size} bytes, its manifest says {wanted}")
    return generation
