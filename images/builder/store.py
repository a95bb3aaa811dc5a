"""The store layout: images_dir/NAME/<sha256 of manifest.json>/ with manifest and three files, and `latest`.

Run as a program by the Dockerfile, so it imports nothing but the standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

FILES = ("vmlinuz", "initrd.img", "root.squashfs")
IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def manifest_of(
    directory: Path, *, name: str, kernel_parameters: Sequence[str], min_ram_mib: int, created: int
) -> bytes:
    """The manifest of the three files in `directory`; the same files give the same bytes.

    `created` is in seconds since the epoch. Raises ValueError for a bad name or parameter and OSError for a
    missing file.
    """
    if not IMAGE_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not an image name: letters, digits, dot, dash and underscore, at most 63"
        )
    for parameter in kernel_parameters:
        if not parameter or re.search(r"\s", parameter):
            raise ValueError(f"the kernel parameter {parameter!r} is not one word")
    parameters = [*kernel_parameters, f"netboot.min_ram={min_ram_mib}"]
    manifest = {
        "version": 1,
        "name": name,
        "architecture": "amd64",
        "kernel_parameters": parameters,
        "min_ram_mib": min_ram_mib,
        "created": datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "files": {
            file: {"size": (directory / file).stat().st_size, "sha256": sha256_of(directory / file)}
            for file in FILES
        },
    }
    return (json.dumps(manifest, indent=2) + "\n").encode()


def publish(directory: Path, store: Path, manifest: bytes) -> Path:
    """Put the files of `directory` into `store` as one generation, the `latest`; returns its folder.

    Renaming into place publishes, so a reader sees a whole generation or none. A generation that is there
    already is left alone.
    """
    name = str(json.loads(manifest)["name"])
    generation = hashlib.sha256(manifest).hexdigest()
    home = store / name
    home.mkdir(parents=True, exist_ok=True)
    target = home / generation
    if not target.is_dir():
        work = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
        try:
            for file in FILES:
                _copy(directory / file, work / file)
            (work / "manifest.json").write_bytes(manifest)
            (work / "manifest.json").chmod(0o644)
            work.chmod(0o755)
            _settle(work)
            work.rename(target)
        except OSError:
            shutil.rmtree(work, ignore_errors=True)
            if not target.is_dir():
                raise
    _point(home / "latest", generation)
    return target


def publish_generation(generation: Path, store: Path) -> Path:
    """Publish a folder that is a generation already (with its manifest.json) into another store."""
    return publish(generation, store, (generation / "manifest.json").read_bytes())


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o644)


def _settle(directory: Path) -> None:
    """Have everything on the disk before the rename shows it."""
    for path in [*directory.iterdir(), directory]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _point(link: Path, target: str) -> None:
    """Set a symbolic link in one step; an old link never vanishes in between."""
    if link.is_symlink() and str(link.readlink()) == target:
        return
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.rename(link)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: publish the three files of a folder."""
    parser = argparse.ArgumentParser(
        description="Publish vmlinuz, initrd.img and root.squashfs as one generation."
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--min-ram", type=int, required=True, help="MiB")
    parser.add_argument("--parameter", action="append", default=[], help="kernel parameter, may be repeated")
    parser.add_argument("--created", type=int, default=int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    options = parser.parse_args(arguments)
    try:
        manifest = manifest_of(
            options.directory,
            name=options.name,
            kernel_parameters=options.parameter,
            min_ram_mib=options.min_ram,
            created=options.created,
        )
        print(publish(options.directory, options.store, manifest))
    except (OSError, ValueError) as error:
        print(f"cannot publish {options.directory}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
