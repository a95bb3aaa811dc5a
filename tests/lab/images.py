"""The boot images of the lab: scripts/build-image builds and keeps them; here they go into a store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from images.builder import store
from tests.kube.real import VARIABLE

ROOT = Path(__file__).resolve().parents[2]
BUILD_LIMIT = 3600.0


def kube_arguments() -> list[str]:
    """Where the full image takes kubelet and kubeadm from: NETBOOT_KUBERNETES_BIN, else the node stand-in."""
    binaries = os.environ.get(VARIABLE)
    return ["--kube", "local", "--kube-dir", binaries] if binaries else ["--kube", "standin"]


def build(
    target: Path, *, micro: bool, arguments: Sequence[str] = (), say: Callable[[str], None] | None = None
) -> Path:
    """Build an image, or take the one built before, and publish it into `target`; its generation's folder.

    Raises RuntimeError with the builder's last lines. `say` gets each line of its progress.
    """
    command = [sys.executable, str(ROOT / "scripts/build-image"), "--out", str(target)]
    command += ["--micro"] if micro else list(arguments or kube_arguments())
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    assert process.stdout
    try:
        for line in process.stdout:
            lines.append(line.rstrip())
            if say:
                say(line.rstrip())
        if process.wait(BUILD_LIMIT):
            raise RuntimeError("scripts/build-image failed:\n" + "\n".join(lines[-25:]))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
        process.stdout.close()
    return Path(lines[-1])


def widen(generation: Path, target: Path, name: str, extra: int) -> Path:
    """The same image under another name, its squashfs longer by `extra` bytes that its mount ignores.

    A micro image is fetched in a blink; this one leaves time to cut the power half way.
    """
    work = target / f".{name}"
    work.mkdir(parents=True)
    for file in store.FILES:
        (work / file).write_bytes((generation / file).read_bytes())
    with (work / "root.squashfs").open("ab") as file:
        file.write(os.urandom(extra))
    manifest = json.loads((generation / "manifest.json").read_text())
    parameters = [p for p in manifest["kernel_parameters"] if not p.startswith("netboot.min_ram=")]
    made = store.manifest_of(
        work,
        name=name,
        kernel_parameters=parameters,
        min_ram_mib=manifest["min_ram_mib"],
        created=1_700_000_000,
    )
    published = store.publish(work, target, made)
    for file in store.FILES:
        (work / file).unlink()
    work.rmdir()
    return published
