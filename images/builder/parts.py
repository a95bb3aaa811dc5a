"""Parts of a root: programs with the libraries they need, kernel modules, newc archives."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from images.builder.errors import BuildError

_LIBRARY = re.compile(r"(?:=>\s*)?(/\S+)\s+\(0x")


def run(command: Sequence[str | Path], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a program and return what it printed; BuildError with its last words when it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=cwd, env=env, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        raise BuildError(
            f"the program {words[0]} is not installed; scripts/setup installs what a build needs"
        ) from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise BuildError(f"{' '.join(words[:6])} failed with status {done.returncode}:\n{last}")
    return done.stdout


def libraries_of(program: Path) -> list[Path]:
    """The shared libraries and the loader that a program needs, as this host has them; none for a script."""
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    return [Path(found) for line in done.stdout.splitlines() if (found := _path_in(line))]


def _path_in(line: str) -> str | None:
    found = _LIBRARY.search(line)
    return found.group(1) if found else None


def make_tree(root: Path, folders: Iterable[str]) -> None:
    """The folders of a root, with / merged into /usr as on Debian, and sbin into bin."""
    for folder in ("usr/bin", "usr/lib", "usr/lib64", *folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "usr/sbin").symlink_to("bin")
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")


def add_program(root: Path, program: Path, name: str | None = None) -> None:
    """A program of this host into the root's /usr/bin, its libraries where the loader looks for them."""
    if not program.is_file():
        raise BuildError(f"{program} is not on this host; scripts/setup installs what a build needs")
    put(program, root / "usr/bin" / (name or program.name), 0o755)
    add_libraries(root, program)


def add_libraries(root: Path, program: Path) -> None:
    """What `program` is linked against."""
    for library in libraries_of(program):
        relative = str(library).lstrip("/")
        put(library, root / (relative if relative.startswith("usr/") else f"usr/{relative}"), 0o755)


def put(source: Path, target: Path, mode: int) -> None:
    """Copy one file, following links, with this mode."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def write(target: Path, text: str, mode: int = 0o644) -> None:
    """Write one text file with this mode."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    target.chmod(mode)


def add_busybox(root: Path, busybox: Path) -> None:
    """busybox under all its names that are not taken yet."""
    add_program(root, busybox, "busybox")
    for applet in run([busybox, "--list"]).split():
        link = root / "usr/bin" / applet
        if not link.exists() and not link.is_symlink():
            link.symlink_to("busybox")


def module_files(modules: Path, wanted: Iterable[str]) -> list[str]:
    """Paths in modules.dep of these modules and all that they need; what is built in is skipped."""
    needs: dict[str, list[str]] = {}
    by_name: dict[str, str] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
        by_name[Path(path).name.partition(".ko")[0].replace("-", "_")] = path
    built_in = {
        Path(line).name.removesuffix(".ko").replace("-", "_")
        for line in (modules / "modules.builtin").read_text().split()
    }
    found: set[str] = set()
    for name in (name.replace("-", "_") for name in wanted):
        if name in by_name:
            found |= {by_name[name], *needs[by_name[name]]}
        elif name not in built_in:
            raise BuildError(f"the kernel of {modules.name} has no module {name}")
    return sorted(found)


def add_modules(root: Path, modules: Path, wanted: Iterable[str]) -> None:
    """These kernel modules and an index of just them."""
    target = root / "usr/lib/modules" / modules.name
    for path in module_files(modules, wanted):
        put(modules / path, target / path, 0o644)
    for name in ("modules.builtin", "modules.order"):
        put(modules / name, target / name, 0o644)
    run(["depmod", "-b", root, modules.name])


def newc(root: Path, mtime: int) -> Iterator[bytes]:
    """The root as a newc archive: in name order, owned by root, of one time, so reproducible."""
    for inode, path in enumerate(sorted(root.rglob("*")), start=1):
        yield _entry(path, str(path.relative_to(root)), inode, mtime)
    yield _pad(_header(0, 0, 0, 0, "TRAILER!!!"))


def _entry(path: Path, name: str, inode: int, mtime: int) -> bytes:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        content = str(path.readlink()).encode()
    elif stat.S_ISREG(status.st_mode):
        content = path.read_bytes()
    else:
        content = b""
    return _pad(_header(inode, status.st_mode, mtime, len(content), name)) + _pad(content)


def _header(inode: int, mode: int, mtime: int, size: int, name: str) -> bytes:
    raw = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, mtime, size, 0, 0, 0, 0, len(raw), 0)
    return b"070701" + b"".join(b"%08X" % value for value in fields) + raw


def _pad(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
