"""Opening a name that the network asked for: below a directory, never through a link, never out of it.

TFTP and the bulk workers share this one door to the disk. Image names are three fixed components
(`NAME/GENERATION/FILE`), so the `latest` links of an image are never looked at here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from netboot.errors import Refused
from netboot.model.image import FILES, GENERATION, IMAGE_NAME

MAX_NAME: Final = 1024
"""Bytes of a whole name, and"""
MAX_COMPONENT: Final = 255
MAX_DEPTH: Final = 32

_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_IMAGE_FILES: Final = frozenset((*FILES, "manifest.json"))
_SYS_OPENAT2: Final = 437
_RESOLVE: Final = 0x02 | 0x04 | 0x08  # RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH


@dataclass(frozen=True, slots=True)
class Opened:
    """An open regular file: the caller closes `fd`. `identity` changes when its content may have."""

    fd: int
    size: int
    mtime_ns: int
    identity: tuple[int, int, int, int]
    generation: str | None = None
    """The generation's id for a file of an image (its content never changes), else None."""


@dataclass(frozen=True, slots=True)
class Served:
    """The directories that are offered to machines: plain paths, opened anew for every request."""

    images_dir: str
    files_dir: str | None = None
    program_dirs: tuple[str, ...] = ()

    def image(self, parts: Sequence[str]) -> Opened:
        """The file NAME/GENERATION/FILE of an image; raises OSError, ENOENT for any other shape."""
        if not is_image(parts):
            raise FileNotFoundError(errno.ENOENT, "no file of an image")
        opened = open_below(self.images_dir, parts)
        return Opened(opened.fd, opened.size, opened.mtime_ns, opened.identity, parts[1])

    def file(self, parts: Sequence[str]) -> Opened:
        """A file of `files_dir`; raises OSError."""
        if self.files_dir is None or not parts:
            raise FileNotFoundError(errno.ENOENT, "no files are offered")
        return open_below(self.files_dir, parts)

    def program(self, name: str) -> Opened:
        """A boot program by its name: one of `files_dir` wins over a built-in one; raises OSError."""
        try:
            return self.file((name,))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EISDIR):
                raise
        for directory in self.program_dirs:
            try:
                return _built_in(directory, name)
            except FileNotFoundError:
                continue
        raise FileNotFoundError(errno.ENOENT, "no such boot program")


def files_among(directory: Path, names: Iterable[str]) -> frozenset[str]:
    """Which of these names are files of a directory; none where it is not there."""
    return frozenset(name for name in names if (directory / name).is_file())


def is_image(parts: Sequence[str]) -> bool:
    """Whether these components have the shape NAME/GENERATION/FILE of a file that images offer."""
    return (
        len(parts) == 3
        and IMAGE_NAME.fullmatch(parts[0]) is not None
        and GENERATION.fullmatch(parts[1]) is not None
        and parts[2] in _IMAGE_FILES
    )


def split_name(name: str) -> tuple[str, ...]:
    """The components of a name from the network: leading, doubled and `.` parts fall away.

    Raises Refused (403 for `..` and NUL: nobody asks for those by mistake; 404 for names too long).
    """
    if len(name) > MAX_NAME:
        raise Refused(404, f"a name of {len(name)} characters: longer than {MAX_NAME}")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts or "\0" in name:
        raise Refused(403, "the name leads out of what is offered")
    if len(parts) > MAX_DEPTH or not all(map(_fits, parts)):
        raise Refused(404, "the name is nested too deeply or one of its parts is too long")
    return parts


def _fits(part: str) -> bool:
    try:
        return len(os.fsencode(part)) <= MAX_COMPONENT
    except UnicodeEncodeError:
        return False  # no name in this host's file systems


def open_below(root: str, parts: Sequence[str]) -> Opened:
    """Open the regular file `root`/`parts...` for reading; `root` itself may be reached through links.

    Raises OSError: ELOOP or ENOTDIR for a link in the way, EXDEV for a way out, EISDIR for what is no
    regular file.
    """
    if not parts or any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        raise FileNotFoundError(errno.ENOENT, "not a name below a directory")
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _regular(_open_at(top, parts))
    finally:
        os.close(top)


def _open_at(top: int, parts: Sequence[str]) -> int:
    fd = _openat2(top, "/".join(parts))
    return _walk(top, parts) if fd is None else fd


def _walk(top: int, parts: Sequence[str]) -> int:
    """Component by component, for kernels and sandboxes without openat2."""
    current = os.dup(top)
    try:
        for part in parts[:-1]:
            below = os.open(part, _DIRECTORY, dir_fd=current)
            os.close(current)
            current = below
        return os.open(parts[-1], _FLAGS, dir_fd=current)
    finally:
        os.close(current)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)
_how = _OpenHow(_FLAGS, 0, _RESOLVE)


def _openat2(top: int, name: str) -> int | None:
    """openat2(2) in one call; None where the kernel has none."""
    path = os.fsencode(name)
    while True:
        fd: int = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(top),
            ctypes.c_char_p(path),
            ctypes.byref(_how),
            ctypes.c_size_t(ctypes.sizeof(_how)),
        )
        code = ctypes.get_errno() if fd < 0 else 0
        if fd >= 0:
            return fd
        if code in (errno.ENOSYS, errno.EPERM):
            return None
        if code not in (errno.EAGAIN, errno.EINTR):  # EAGAIN: a rename raced with the look-up
            raise OSError(code, os.strerror(code))


def _regular(fd: int) -> Opened:
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode):
        os.close(fd)
        raise IsADirectoryError(errno.EISDIR, "not a regular file")
    identity = (facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_size)
    return Opened(fd, facts.st_size, facts.st_mtime_ns, identity)


def _built_in(directory: str, name: str) -> Opened:
    """A program that the distribution installed: its own links (ipxe.efi) are followed, one name only."""
    if "/" in name or name in ("", ".", "..") or "\0" in name:
        raise FileNotFoundError(errno.ENOENT, "not the name of a program")
    return _regular(os.open(os.path.join(directory, name), _FLAGS & ~os.O_NOFOLLOW))  # noqa: PTH118
