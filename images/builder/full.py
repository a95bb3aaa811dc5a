"""The full image: the Dockerfile built by buildah, its store copied out.

No image registry is needed: the base image is made by mmdebstrap from Debian's packages.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from images.builder import store
from images.builder.errors import BuildError
from images.builder.parts import run

KUBE = ("repository", "standin", "local")
BASE = "localhost/debian:bookworm-slim"
MIN_RAM_MIB = 1024
_LAST_MINOR = 35
"""The last Kubernetes minor version that containerd 1.x, as Debian 12 has it, can run."""
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

Say = Callable[[str], None]


def check_options(options: argparse.Namespace) -> None:
    """Refuse before anything is built what cannot work; raises BuildError."""
    found = re.fullmatch(r"1\.(\d{2})", options.kube_minor)
    if not found or int(found[1]) < 28:
        raise BuildError(
            f"--kube-minor {options.kube_minor}: a minor version from 1.28 to 1.{_LAST_MINOR} is wanted"
        )
    if int(found[1]) > _LAST_MINOR:
        raise BuildError(
            f"--kube-minor {options.kube_minor} needs containerd 2, Debian 12 has 1.6: "
            f"use 1.{_LAST_MINOR} or older"
        )
    if not 1 <= options.zstd_level <= 22:
        raise BuildError(f"--zstd-level {options.zstd_level} is not from 1 to 22")
    if options.kube == "local":
        _check_binaries(options.kube_dir)
    if os.geteuid() != 0:
        raise BuildError(
            "root is needed to build the full image (mmdebstrap and buildah make a root file system)"
        )
    for program in ("buildah", "mmdebstrap"):
        if not shutil.which(program):
            raise BuildError(
                f"the program {program} is not installed; scripts/setup installs what a build needs"
            )


def _check_binaries(folder: Path | None) -> None:
    if folder is None:
        raise BuildError("--kube local needs --kube-dir DIR, a folder with kubelet and kubeadm")
    for name in ("kubelet", "kubeadm"):  # crictl where it is there: kube-check says whether kubeadm wants it
        if not (folder / name).is_file():
            raise BuildError(f"{folder} has no {name}: --kube-dir names a folder with kubelet and kubeadm")


def build(
    options: argparse.Namespace,
    name: str,
    repository: Path,
    work: Path,
    output: Path,
    *,
    inputs: str,
    epoch: int,
    say: Say,
) -> None:
    """Build the stage `store` and copy the generation into the store `output`."""
    tag = f"localhost/netboot-store:{inputs}"
    _build_stage(
        options, name, repository, work, target="store", tag=tag, inputs=inputs, epoch=epoch, say=say
    )
    say("copying the image out")
    with _mounted(work, tag) as root:
        latest = (root / "images" / name / "latest").resolve()
        store.publish_generation(latest, output)
    _buildah(work, ["rmi", "-f", tag])


def build_appliance(
    options: argparse.Namespace, name: str, repository: Path, work: Path, *, inputs: str, epoch: int, say: Say
) -> None:
    """Build the last stage too and leave it in buildah's storage under the wanted tag."""
    tag = options.appliance
    _build_stage(
        options, name, repository, work, target="appliance", tag=tag, inputs=inputs, epoch=epoch, say=say
    )
    say(
        f"the appliance is {tag} in buildah's storage; see it with: {' '.join(_buildah_command(work))} images"
    )


def _buildah_command(work: Path) -> list[str]:
    home = work / "buildah"
    return [
        "buildah",
        "--root",
        f"{home}/root",
        "--runroot",
        f"{home}/runroot",
        "--storage-driver",
        "overlay",
    ]


def _buildah(work: Path, words: Sequence[str | Path]) -> str:
    return run([*_buildah_command(work), *words])


def _build_stage(
    options: argparse.Namespace,
    name: str,
    repository: Path,
    work: Path,
    *,
    target: str,
    tag: str,
    inputs: str,
    epoch: int,
    say: Say,
) -> None:
    _ensure_base(work, fresh=options.fresh, say=say)
    arguments = {
        "BASE": BASE, "NAME": name, "KERNEL": options.kernel, "KUBE": options.kube,
        "KUBE_MINOR": options.kube_minor,
        "COMPONENTS": options.components, "EXTRA_PACKAGES": options.extra_packages,
        "EXTRA_MODULES": options.extra_modules, "ZSTD_LEVEL": str(options.zstd_level),
        "MIN_RAM": str(MIN_RAM_MIB),
        "KERNEL_PARAMETERS": " ".join(options.kernel_parameter),
        "SOURCE_DATE_EPOCH": str(epoch), "INPUTS": inputs,
    }  # fmt: skip
    # --layers keeps what did not change; in the host's network a step sees its names and proxies.
    command = [
        *_buildah_command(work),
        "build",
        "--pull=never",
        "--isolation",
        "chroot",
        "--network",
        "host",
        "--layers",
    ]
    if options.fresh:
        command.append("--no-cache")
    for key, value in arguments.items():
        command += ["--build-arg", f"{key}={value}"]
    if (bundle := Path(os.environ.get("SSL_CERT_FILE") or _CERTIFICATES)).is_file():
        command += ["--secret", f"id=ca,src={bundle}"]
    if options.kube == "local":
        command += ["--build-context", f"kube={Path(options.kube_dir).resolve()}"]
    command += ["--target", target, "-t", tag, "-f", str(repository / "Dockerfile"), str(repository)]
    say(f"building the Dockerfile's stage {target}; the whole log: {work / 'build.log'}")
    try:
        _watch(command, work / "build.log", say)
    finally:
        _tidy(work)


def _tidy(work: Path) -> None:
    """End the containers of a build and unmount what they left; the layers stay. Only in our own storage."""
    subprocess.run([*_buildah_command(work), "rm", "--all"], capture_output=True, check=False)
    for mount in mounts_below(work / "buildah", Path("/proc/self/mounts").read_text()):
        subprocess.run(["umount", mount], capture_output=True, check=False)


def mounts_below(folder: Path, table: str) -> list[str]:
    """Mount points below a folder in a table like /proc/self/mounts, the innermost first."""
    points = [line.split()[1] for line in table.splitlines() if len(line.split()) > 1]
    return sorted((point for point in points if point.startswith(f"{folder}/")), key=len, reverse=True)


def _watch(command: Sequence[str], log: Path, say: Say) -> None:
    """Run a build, show its steps as they come, log everything; BuildError with the log's end on failure."""
    lines: list[str] = []
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            lines = [*lines[-20:], line]
            if " STEP " in line:
                say(line.strip()[:150])
    if process.returncode:
        raise BuildError(
            f"buildah failed with status {process.returncode}; the end of {log}:\n{''.join(lines)}"
        )


def _ensure_base(work: Path, *, fresh: bool, say: Say) -> None:
    """The base image as a local one, made by mmdebstrap where it is missing."""
    known = subprocess.run(
        [*_buildah_command(work), "inspect", "--type", "image", BASE], capture_output=True, check=False
    )
    if known.returncode == 0 and not fresh:
        return
    archive = work / "debian-bookworm-slim.tar"
    if fresh or not archive.is_file():
        say("making the base image from Debian's packages (mmdebstrap)")
        partial = archive.with_suffix(".new.tar")
        # No mirror argument: mmdebstrap's default brings the security updates.
        run(["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", partial])
        partial.rename(archive)
    container = _buildah(work, ["from", "scratch"]).strip()
    try:
        _buildah(work, ["add", container, archive, "/"])
        _buildah(work, ["config", "--cmd", "/bin/bash", container])
        _buildah(work, ["commit", container, BASE])
    finally:
        _buildah(work, ["rm", container])


@contextmanager
def _mounted(work: Path, image: str) -> Iterator[Path]:
    """The file system of a local image, as a folder."""
    container = _buildah(work, ["from", "--pull=never", image]).strip()
    try:
        yield Path(_buildah(work, ["mount", container]).strip())
    finally:
        _tidy(work)
