"""The command scripts/build-image."""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from images.builder import full, micro, store
from images.builder.errors import BuildError

REPOSITORY = Path(__file__).resolve().parents[2]
_STARTED = time.monotonic()


def say(text: str) -> None:
    """One line of progress, with the seconds since the start."""
    print(f"[{time.monotonic() - _STARTED:6.1f} s] {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Build or reuse an image; 0, or 1 with the reason on stderr."""
    options = parser().parse_args(arguments)
    try:
        generation = build(options)
    except BuildError as error:
        print(f"build-image: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"build-image: {error}. Is the disk full, are you root?", file=sys.stderr)
        return 1
    print(generation)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="build-image", description="Build a boot image and publish it into a store."
    )
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="the image store (images_dir)")
    made.add_argument("--name", help="image name; default: debian-12, or micro with --micro")
    made.add_argument(
        "--micro", action="store_true", help="the micro image for tests, without a container builder"
    )
    made.add_argument(
        "--kube", choices=full.KUBE, default="repository", help="where kubelet and kubeadm come from"
    )
    made.add_argument(
        "--kube-minor", default="1.34", help="minor version with --kube repository; default 1.34"
    )
    made.add_argument(
        "--kube-dir",
        type=Path,
        metavar="DIR",
        help="folder of real kubelet, kubeadm and (for kubeadm before 1.31) crictl for --kube local",
    )
    made.add_argument(
        "--kernel", default="linux-image-amd64", help="Debian's kernel package; default linux-image-amd64"
    )
    made.add_argument("--components", default="main", help='Debian components, e.g. "main non-free-firmware"')
    made.add_argument("--extra-packages", default="", help="further Debian packages, separated by blanks")
    made.add_argument(
        "--extra-modules", default="", help="recipes of images/modules/ to build, separated by blanks"
    )
    made.add_argument(
        "--kernel-parameter",
        action="append",
        default=[],
        metavar="WORD",
        help="put into the manifest; may be repeated",
    )
    made.add_argument(
        "--zstd-level", type=int, default=3, help="compression of the squashfs, 1 to 22; default 3"
    )
    made.add_argument(
        "--appliance", metavar="TAG", help="also build the appliance's container image under this tag"
    )
    made.add_argument(
        "--fresh", action="store_true", help="build anew even if nothing changed here (newer packages)"
    )
    return made


def work_directory() -> Path:
    """Where builds are cached: $NETBOOT_WORK, else ~/.cache/netboot."""
    return Path(os.environ.get("NETBOOT_WORK") or Path.home() / ".cache/netboot").absolute()


def build(options: argparse.Namespace) -> Path:
    """The generation's folder in the store; built, or taken from the cache when no input changed."""
    name = options.name or ("micro" if options.micro else "debian-12")
    if not store.IMAGE_NAME.fullmatch(name):
        raise BuildError(
            f"{name!r} is not an image name: letters, digits, dot, dash and underscore, at most 63"
        )
    work = work_directory()
    work.mkdir(parents=True, exist_ok=True)
    if not options.micro:
        full.check_options(options)
    with lock(work / "build.lock"):
        inputs = input_key(options, name)
        cached = work / "images" / inputs
        if options.fresh or not (cached / name / "latest").exists():
            say(f"building image {name}: no earlier build has these inputs")
            if options.micro:
                _build_micro(name, work, cached, options.kernel_parameter)
            else:
                full.build(options, name, REPOSITORY, work, cached, inputs=inputs, epoch=epoch(), say=say)
        else:
            say(f"image {name}: nothing changed, reusing the earlier build")
        if options.appliance and not options.micro:
            full.build_appliance(options, name, REPOSITORY, work, inputs=inputs, epoch=epoch(), say=say)
    generation = store.publish_generation((cached / name / "latest").resolve(), options.out)
    say(f"published as {generation}")
    return generation


def _build_micro(name: str, work: Path, cached: Path, parameters: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(prefix=".new-", dir=work) as folder:
        output = Path(folder)
        micro.build(REPOSITORY / "images", work, output, epoch=epoch(), say=say)
        manifest = store.manifest_of(
            output,
            name=name,
            kernel_parameters=[*micro.KERNEL_PARAMETERS, *parameters],
            min_ram_mib=micro.MIN_RAM_MIB,
            created=epoch(),
        )
        store.publish(output, cached, manifest)


def input_key(options: argparse.Namespace, name: str) -> str:
    """A hash of all that decides how the image comes out: recipes, options, host's programs (micro)."""
    digest = hashlib.sha256()
    chosen = {
        key: str(value)
        for key, value in sorted(vars(options).items())
        if key not in ("out", "fresh", "appliance")
    }
    digest.update(repr((name, chosen, os.environ.get("SOURCE_DATE_EPOCH"))).encode())
    for path in input_files(micro_image=options.micro):
        digest.update(
            f"{path.relative_to(REPOSITORY)} {path.stat().st_mode:o} {store.sha256_of(path)}\n".encode()
        )
    if options.micro:
        digest.update(_host_packages().encode())
    if options.kube_dir:
        for path in sorted(options.kube_dir.iterdir()):
            digest.update(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def input_files(*, micro_image: bool) -> list[Path]:
    """The files of the repository that an image is made of."""
    images = REPOSITORY / "images"
    found = [path for path in _files(images) if "__pycache__" not in path.parts]
    return sorted(found) if micro_image else sorted([*found, REPOSITORY / "Dockerfile"])


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _host_packages() -> str:
    """Versions of what the micro image copies from this host."""
    done = subprocess.run(
        ["dpkg-query", "-W", "busybox", "openssl", "libssl3", "libc6", "python3.11-minimal"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout


def epoch() -> int:
    """The time that a build's files carry: SOURCE_DATE_EPOCH, else that of the last change of the recipes."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    return _last_change(["images", "Dockerfile"])


def _last_change(paths: Iterable[str]) -> int:
    command = ["git", "-C", str(REPOSITORY), "log", "-1", "--format=%ct", "--", *paths]
    if shutil.which("git"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stdout.strip().isdigit():
            return int(done.stdout)
    return 1_700_000_000


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """One build at a time in one work directory; says so while it waits."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another build holds {path}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
