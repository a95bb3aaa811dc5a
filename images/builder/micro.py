"""The micro image: the same flow as the full one with next to nothing in it, for tests and trials.

Kernel from Debian's cloud kernel package; busybox, openssl and python3 from this host; the node stand-in as
kubeadm and kubelet. Made without a container builder.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from images.builder.errors import BuildError
from images.builder.parts import (
    add_busybox,
    add_libraries,
    add_modules,
    add_program,
    make_tree,
    newc,
    put,
    run,
    write,
)

KERNEL = "linux-image-cloud-amd64"
MIN_RAM_MIB = 384
KERNEL_PARAMETERS = ("norandmaps",)
"""Without address randomisation QEMU's emulation boots this image in two thirds of the CPU time."""
_PYTHON_LEFT_OUT = (
    "__pycache__", "test", "idlelib", "lib2to3", "ensurepip", "distutils", "config-*", "unittest",
    "pydoc_data",
    "tkinter", "turtle*", "venv", "xmlrpc", "wsgiref", "sqlite3", "curses", "dbm", "multiprocessing",
    "dist-packages", "lib-dynload", "sitecustomize.py", "asyncio", "ctypes", "doctest.py", "pydoc.py",
    "LICENSE.txt", "_pyio.py", "_pydecimal.py", "pickletools.py", "tarfile.py", "mailbox.py", "imaplib.py",
    "pdb.py", "smtp*.py", "nntplib.py",
)  # fmt: skip
_PYTHON_EXTENSIONS = (
    "_ssl",
    "_hashlib",
    "_json",
    "_queue",
    "_uuid",
    "_contextvars",
    "_typing",
    "mmap",
    "termios",
    "resource",
)
_ZONES = ("UTC", "Etc/UTC", "Europe/Prague", "Europe/Berlin", "America/New_York", "Asia/Tokyo")

Say = Callable[[str], None]


def fetch_kernel(cache: Path, say: Say) -> Path:
    """The newest cloud kernel package, unpacked into the cache: a folder with boot/ and lib/modules/."""
    package = _kernel_package()
    version = run(["apt-cache", "show", "--no-all-versions", package]).partition("Version: ")[2].split()[0]
    target = cache / f"{package}_{version.replace(':', '_')}"
    if not target.is_dir():
        say(f"downloading {package} {version}")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as name:
            work = Path(name)
            run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], cwd=work)
            (deb,) = work.glob("*.deb")
            run(["dpkg-deb", "-x", deb, work / "kernel"])
            _index(work / "kernel")
            (work / "kernel").rename(target)
    return target


def _kernel_package() -> str:
    """The package with the kernel itself; the one with the stable name only depends on it."""
    for attempt in (1, 2):
        found = subprocess.run(
            ["apt-cache", "depends", KERNEL], capture_output=True, text=True, check=False
        ).stdout
        names = [
            line.split()[-1] for line in found.splitlines() if line.strip().startswith("Depends: linux-image")
        ]
        if names:
            return names[0]
        if attempt == 1:
            run(["apt-get", "-q", "update"])
    raise BuildError(
        f"apt knows no package {KERNEL}: the micro image is built on Debian 12 with its own repository"
    )


def _index(kernel: Path) -> None:
    (modules,) = (kernel / "lib/modules").iterdir()
    run(["depmod", "-b", kernel, modules.name])


def build(images: Path, cache: Path, output: Path, *, epoch: int, say: Say) -> None:
    """vmlinuz, initrd.img and root.squashfs of the micro image into `output`.

    `images` is the repository's folder of that name; `epoch` the time of every file, in seconds.
    """
    kernel = fetch_kernel(cache / "kernels", say)
    (modules,) = (kernel / "lib/modules").iterdir()
    with tempfile.TemporaryDirectory(prefix="netboot-micro-") as name:
        work = Path(name)
        say("initrd: busybox, openssl, drivers")
        _initrd(images, modules, work / "initrd", output / "initrd.img", epoch)
        say("root: busybox, openssl, python3, agent, node stand-in")
        _root(images, modules, work / "root")
        _squash(work / "root", output / "root.squashfs", epoch)
    (vmlinuz,) = (kernel / "boot").glob("vmlinuz-*")
    put(vmlinuz, output / "vmlinuz", 0o644)


def _words(path: Path) -> list[str]:
    return path.read_text().split()


def _initrd(images: Path, modules: Path, root: Path, target: Path, epoch: int) -> None:
    make_tree(root, ("dev", "proc", "sys", "run", "tmp", "etc/netboot", "usr/lib/netboot"))
    _tools(root)
    for name in ("lib.sh", "initrd.sh"):
        put(images / "initrd" / name, root / "usr/lib/netboot" / name, 0o644)
    put(images / "initrd/dhcp-script", root / "usr/lib/netboot/dhcp-script", 0o755)
    put(images / "micro/init", root / "init", 0o755)
    put(images / "micro/modules-initrd", root / "etc/netboot/modules", 0o644)
    add_modules(root, modules, _words(images / "micro/modules-initrd"))
    with target.open("wb") as file:
        zstd = subprocess.Popen(["zstd", "-q", "-10", "-T0", "-c"], stdin=subprocess.PIPE, stdout=file)
        assert zstd.stdin is not None
        for chunk in newc(root, epoch):
            zstd.stdin.write(chunk)
        zstd.stdin.close()
        if zstd.wait():
            raise BuildError("zstd could not compress the initrd")


def _tools(root: Path) -> None:
    add_program(root, Path("/usr/bin/openssl"))
    write(root / "usr/lib/ssl/openssl.cnf", "")
    add_busybox(root, Path("/bin/busybox"))


def _root(images: Path, modules: Path, root: Path) -> None:
    folders = (
        "dev",
        "proc",
        "sys",
        "run",
        "tmp",
        "root",
        "var/lib",
        "var/log",
        "var/run",
        "etc/netboot",
        "opt/cni/bin",
    )
    make_tree(root, folders)
    (root / "root").chmod(0o700)
    put(images / "micro/systemctl", root / "usr/bin/systemctl", 0o755)
    _tools(root)
    _python(root)
    _accounts(root)
    install_agent(images, root)
    for name in ("rc", "boot"):
        put(images / "micro" / name, root / "etc/netboot" / name, 0o755)
    put(images / "micro/inittab", root / "etc/inittab", 0o644)
    add_modules(root, modules, _words(images / "micro/modules-root"))
    for zone in _ZONES:
        if (source := Path("/usr/share/zoneinfo") / zone).is_file():
            put(source, root / "usr/share/zoneinfo" / zone, 0o644)
    install_standin(images, root)


def _accounts(root: Path) -> None:
    """root without a password that works; no key, no machine-id: an image holds no secret and no identity."""
    write(root / "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    write(root / "etc/group", "root:x:0:\nnogroup:x:65534:\n")
    write(root / "etc/shadow", "root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n", 0o640)
    write(root / "etc/nsswitch.conf", "hosts: files dns\npasswd: files\ngroup: files\n")
    write(
        root / "etc/os-release",
        'ID=netboot-micro\nNAME="netboot micro image"\nPRETTY_NAME="netboot micro image"\n',
    )
    write(root / "etc/fstab", "")


def install_agent(images: Path, root: Path) -> None:
    """The node agent and the shell library that it shares with the initrd."""
    target = root / "usr/lib/netboot"
    put(images / "initrd/lib.sh", target / "lib.sh", 0o644)
    put(images / "initrd/dhcp-script", target / "dhcp-script", 0o755)
    for name in ("agent.sh", "kubelet.sh", "network-functions.sh"):
        put(images / "agent" / name, target / name, 0o644)
    put(images / "agent/netboot-agent", target / "netboot-agent", 0o755)


def install_standin(images: Path, root: Path) -> None:
    """kubeadm, kubelet and crictl stand-ins, where the repository has them."""
    source = images / "node-standin"
    if not source.is_dir():
        return
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            put(
                path,
                root / "usr/lib/node-standin" / path.relative_to(source),
                0o755 if os.access(path, os.X_OK) else 0o644,
            )
    for name in ("kubeadm", "kubelet", "crictl"):
        if (source / name).is_file():
            (root / "usr/bin" / name).symlink_to(f"../lib/node-standin/{name}")
    _compile(root / "usr/lib/node-standin")


def _python(root: Path) -> None:
    """The host's python3 with what small programs use of its library, compiled ahead: that saves seconds of
    every boot under emulation."""
    python = Path("/usr/bin/python3").resolve()
    library = Path("/usr/lib") / python.name
    add_program(root, python)
    (root / "usr/bin/python3").symlink_to(python.name)
    target = root / "usr/lib" / python.name
    shutil.copytree(library, target, symlinks=False, ignore=shutil.ignore_patterns(*_PYTHON_LEFT_OUT))
    for name in _PYTHON_EXTENSIONS:
        for extension in (library / "lib-dynload").glob(f"{name}.*.so"):
            put(extension, target / "lib-dynload" / extension.name, 0o644)
            add_libraries(root, extension)
    _compile(target)


def _compile(folder: Path) -> None:
    compileall.compile_dir(
        folder,
        quiet=2,
        workers=0,
        stripdir=str(folder),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def _squash(root: Path, target: Path, epoch: int) -> None:
    target.unlink(missing_ok=True)
    run(
        ["mksquashfs", root, target, "-comp", "zstd", "-Xcompression-level", "9", "-all-root", "-no-xattrs",
         "-quiet", "-no-progress", "-mkfs-time", str(epoch), "-all-time", str(epoch)],
        env={name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"},
    )  # fmt: skip
