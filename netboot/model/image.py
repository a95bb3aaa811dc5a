"""Images and their generations: what a manifest says, as a value."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from netboot.errors import ImageError

FILES = ("vmlinuz", "initrd.img", "root.squashfs")
"""The files of a generation; each is served by exactly this name."""

IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
GENERATION = re.compile(r"[0-9a-f]{64}")
_HEX256 = GENERATION


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file of a generation: its size in bytes and its SHA-256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Generation:
    """One immutable build of an image, named by the SHA-256 of its manifest."""

    name: str
    id: str
    files: Mapping[str, ImageFile]
    architecture: str = "amd64"
    kernel_parameters: tuple[str, ...] = ()
    min_ram_mib: int = 0
    created: str = ""

    def path(self, file: str) -> str:
        """Where the boot port serves one of its files."""
        return f"/images/{self.name}/{self.id}/{file}"


def parse_manifest(raw: bytes, *, name: str) -> Generation:
    """A generation from the bytes of its manifest.json; raises ImageError saying what is wrong."""
    try:
        manifest = json.loads(raw)
    except ValueError as error:
        raise ImageError(f"image {name}: manifest.json is not JSON: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("version") != 1:
        raise ImageError(f"image {name}: manifest.json is not of version 1")
    if manifest.get("name") != name:
        raise ImageError(f"image {name}: its manifest names it {manifest.get('name')!r}")
    files = manifest.get("files")
    parameters = manifest.get("kernel_parameters", [])
    ram = manifest.get("min_ram_mib", 0)
    if not isinstance(files, dict) or not isinstance(parameters, list) or not isinstance(ram, int):
        raise ImageError(f"image {name}: files, kernel_parameters or min_ram_mib have the wrong type")
    if not all(isinstance(p, str) and p and not re.search(r"\s", p) for p in parameters):
        raise ImageError(f"image {name}: a kernel parameter is no plain word")
    return Generation(
        name=name,
        id=hashlib.sha256(raw).hexdigest(),
        files=MappingProxyType({file: _file(name, file, files.get(file)) for file in FILES}),
        architecture=str(manifest.get("architecture", "amd64")),
        kernel_parameters=tuple(parameters),
        min_ram_mib=ram,
        created=str(manifest.get("created", "")),
    )


def _file(name: str, file: str, entry: object) -> ImageFile:
    if isinstance(entry, dict):
        size, sha256 = entry.get("size"), entry.get("sha256")
        if type(size) is int and size > 0 and isinstance(sha256, str) and _HEX256.fullmatch(sha256):
            return ImageFile(size, sha256)
    raise ImageError(f"image {name}: its manifest gives no size and sha256 for {file}")


def split_reference(reference: str) -> tuple[str, str | None]:
    """`NAME` or `NAME@sha256:HEX` as name and generation; raises ValueError for anything else."""
    name, at, pin = reference.partition("@")
    if not IMAGE_NAME.fullmatch(name):
        raise ValueError(f"{reference!r} is not an image name")
    if not at:
        return name, None
    algorithm, _, digest = pin.partition(":")
    if algorithm != "sha256" or not GENERATION.fullmatch(digest):
        raise ValueError(f"{reference!r}: a generation is written NAME@sha256: and 64 hex digits")
    return name, digest
