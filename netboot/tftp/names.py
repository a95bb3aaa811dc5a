"""What a TFTP name means: a file of an image, of `files_dir`, a boot program, or a machine's own script."""

from __future__ import annotations

import errno
import os
import re
from typing import Final

from netboot.errors import Refused
from netboot.tree import Opened, Served, split_name

PER_MACHINE: Final = re.compile(
    r"(?:.*/)?(?:autoexec\.ipxe|grub\.cfg(?:-[^/]*)?|pxelinux\.cfg/[^/]+)", re.IGNORECASE | re.DOTALL
)
"""Names that control is asked for before any file: their content depends on who asks."""


def clean_name(name: str) -> str:
    """A name as it was asked for, as path below what is offered; raises Refused."""
    return "/".join(split_name(name.replace("\\", "/")))


def open_name(offered: Served, name: str) -> Opened:
    """The file that a clean name means; the name in lower case is tried when it is not found as it stands.

    `images/NAME/GENERATION/FILE`, else a path below `files_dir`, else a built-in program. Raises Refused.
    """
    try:
        try:
            return _open_exactly(offered, name)
        except FileNotFoundError:
            if name.lower() == name:
                raise
        return _open_exactly(offered, name.lower())
    except OSError as error:
        raise _as_refused(error) from None


def _open_exactly(offered: Served, name: str) -> Opened:
    parts = tuple(name.split("/"))
    if parts[0] == "images":
        return offered.image(parts[1:])
    if len(parts) == 1 and parts[0]:
        return offered.program(parts[0])
    return offered.file(parts)


def _as_refused(error: OSError) -> Refused:
    if error.errno in (errno.ELOOP, errno.EXDEV, errno.EACCES, errno.EPERM):
        return Refused(403, "this file is not offered: a link, or not readable by the helper user")
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO):
        return Refused(503, f"this file cannot be opened now: {os.strerror(error.errno)}")
    return Refused(404, "file not found")
