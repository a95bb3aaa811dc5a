"""The pieces of scripts/build-image that need no kernel and no container builder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from images.builder import cli, full, parts
from images.builder.errors import BuildError


def test_a_newc_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    """Folders, files, links and modes survive."""
    root = tmp_path / "root"
    (root / "netboot").mkdir(parents=True)
    (root / "netboot/seed.json").write_text("{}")
    (root / "netboot/seed.json").chmod(0o400)
    (root / "link").symlink_to("netboot")
    archive = b"".join(parts.newc(root, 0))
    listing = subprocess.run(
        ["busybox", "cpio", "-tv"], input=archive, capture_output=True, check=True
    ).stdout.decode()
    assert "netboot/seed.json" in listing and "-r--------" in listing and "link -> netboot" in listing


def test_the_same_tree_gives_the_same_archive(tmp_path: Path) -> None:
    """In whatever order it was made."""
    archives = []
    for order in (["a", "b"], ["b", "a"]):
        root = tmp_path / "".join(order)
        root.mkdir()
        for name in order:
            (root / name).write_text(name)
        archives.append(b"".join(parts.newc(root, 1_700_000_000)))
    assert archives[0] == archives[1]


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """An index of kernel modules."""
    folder = tmp_path / "6.1.0"
    folder.mkdir()
    (folder / "modules.dep").write_text(
        "kernel/net/net_failover.ko: kernel/net/failover.ko\nkernel/net/failover.ko:\n"
        "kernel/virtio-net.ko: kernel/net/net_failover.ko kernel/net/failover.ko\n"
    )
    (folder / "modules.builtin").write_text("kernel/fs/overlay.ko\n")
    return folder


def test_a_module_brings_what_it_needs(modules: Path) -> None:
    """Dash and underscore are the same in module names; what is built in needs no file."""
    assert parts.module_files(modules, ["virtio_net", "overlay"]) == [
        "kernel/net/failover.ko", "kernel/net/net_failover.ko", "kernel/virtio-net.ko",
    ]  # fmt: skip


def test_a_module_that_the_kernel_lacks_is_named(modules: Path) -> None:
    """At build time, not at the first boot."""
    with pytest.raises(BuildError, match="has no module nosuch"):
        parts.module_files(modules, ["nosuch"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--kube-minor", "1.36"], "containerd 2"),
        (["--kube-minor", "latest"], "minor version from 1.28"),
        (["--zstd-level", "99"], "from 1 to 22"),
        (["--kube", "local"], "needs --kube-dir"),
        (["--kube", "local", "--kube-dir", "/nonexistent"], "has no kubelet"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_built(arguments: list[str], reason: str) -> None:
    """With the remedy."""
    options = cli.parser().parse_args(["--out", "x", *arguments])
    with pytest.raises(BuildError, match=reason):
        full.check_options(options)


def test_a_missing_program_is_named_with_the_remedy() -> None:
    """No traceback."""
    with pytest.raises(BuildError, match="not-there is not installed"):
        parts.run(["not-there"])


def test_the_key_of_a_build_knows_its_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options that decide how the image comes out change it; the place it goes to does not."""
    monkeypatch.setattr(cli, "input_files", lambda *, micro_image: [])
    monkeypatch.setattr(cli, "_host_packages", lambda: "")

    def key(*arguments: str) -> str:
        return cli.input_key(cli.parser().parse_args([*arguments]), "x")

    assert key("--out", "a") == key("--out", "b") == key("--out", "a", "--fresh")
    assert len({key("--out", "a"), key("--out", "a", "--micro"), key("--out", "a", "--kube", "standin")}) == 3
    assert key("--out", "a", "--kernel-parameter", "quiet") != key("--out", "a")


def test_only_mounts_of_our_own_storage_are_undone() -> None:
    """The innermost first; a folder whose name only begins alike is another's."""
    table = "a /w/buildah/root ext4 rw 0 0\nb /w/buildah/root/x overlay rw 0 0\n"
    table += "c /w/buildah2/y ext4 rw 0 0\nd / ext4 rw 0 0\n"
    assert full.mounts_below(Path("/w/buildah"), table) == ["/w/buildah/root/x", "/w/buildah/root"]


@pytest.mark.parametrize(
    ("kubelet", "containerd", "crictl", "status", "words"),
    [
        ("1.20.2", "1.6.20", False, 0, "FileExisting-crictl"),
        ("1.30.4", "1.6.20", True, 0, "kubelet 1.30 with containerd 1.x"),
        ("1.35.0", "1.6.20", False, 0, "kubelet 1.35 with containerd 1.x"),
        ("1.36.2", "1.6.20", False, 0, "nobody supports it"),
        ("1.38.0", "1.6.20", False, 1, "needs containerd 2"),
        ("1.38.0", "2.1.4", False, 0, "kubelet 1.38 with containerd 2.x"),
        ("unknown", "1.6.20", False, 1, "unreadable"),
    ],
)
def test_binaries_of_ones_own_are_looked_at(
    kubelet: str, containerd: str, crictl: bool, status: int, words: str, tmp_path: Path
) -> None:
    """What containerd cannot run is refused; what kubeadm will miss is said, and nothing else."""
    shown = {
        "kubelet": f"Kubernetes v{kubelet}",
        "containerd": f"containerd github.com/c/c {containerd}~ds1 x",
    }
    for name, line in shown.items() if not crictl else {**shown, "crictl": ""}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{line}'\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "sed").symlink_to("/usr/bin/sed")
    script = cli.REPOSITORY / "images/root/kube-check"
    command = ["/bin/sh", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": str(tmp_path)}, check=False)
    assert done.returncode == status and words in done.stdout + done.stderr
    assert ("crictl" in done.stderr) == (words == "FileExisting-crictl")
