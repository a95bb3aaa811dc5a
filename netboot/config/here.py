"""What belongs to this host: interfaces, addresses, accounts, free ports, folders, who may read what.

`check --here` and `serve` look at it; everybody else takes the operator's file as it is.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netboot.config.model import Config, Server
from netboot.model.image import split_reference

DEFAULT_USER = "netboot"
DEFAULT_HELPER = "netboot-files"
HELPER_UID = 65533
"""Who the helpers are where no account was named and `netboot-files` does not exist."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who a process runs as."""

    name: str
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


def user(server: Server) -> Account:
    """`server.user`, else netboot where that account exists, else nobody. Raises LookupError."""
    if server.user is not None:
        return _account(server.user)
    for name in (DEFAULT_USER, "nobody"):
        try:
            return _account(name)
        except LookupError:
            pass
    return Account("nobody", 65534, 65534)


def helper_user(server: Server) -> Account:
    """`server.helper_user`, else netboot-files where that account exists, else uid 65533. Raises LookupError."""
    if server.helper_user is not None:
        return _account(server.helper_user)
    try:
        return _account(DEFAULT_HELPER)
    except LookupError:
        return Account(str(HELPER_UID), HELPER_UID, HELPER_UID)


def _account(name: str) -> Account:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise LookupError(f"there is no account {name}") from None
    groups = frozenset(g.gr_gid for g in grp.getgrall() if name in g.gr_mem)
    return Account(name, entry.pw_uid, entry.pw_gid, groups | {entry.pw_gid})


def missing_files(config: Config) -> list[str]:
    """Files that the configuration names (kubeconfigs, tokens, passwords) and that are not there."""
    return [f"{path} is named but is not there; put it there" for path in config.secret_files if not _exists(path)]


def missing_images(config: Config) -> list[str]:
    """Images that are named and not in `images_dir`: their machines would get an address and no system."""
    said = config.inventory
    named = dict.fromkeys(
        image
        for image in (
            *(c.image for c in said.clusters.values()),
            *(p.image for p in said.pools.values()),
            *(n.image for n in said.nodes),
        )
        if image
    )
    folder = config.server.images_dir
    return [f"image {i} is not in {folder}; build it, or put it there before its machines boot" for i in named if not _has(folder, i)]


def _has(folder: Path, image: str) -> bool:
    name, generation = split_reference(image)
    return _exists(folder / name / (generation or "latest") / "manifest.json")


def _exists(path: Path) -> bool:
    """Whether something is there; a folder that we may not look into counts as if it were."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def problems(config: Config) -> list[str]:
    """What keeps this host from serving this configuration, each with what to do."""
    return [*_interfaces(config), *_accounts(config.server), *_folders(config), *_readable(config), *_ports(config)]


def _interfaces(config: Config) -> Iterator[str]:
    for name in config.server.interfaces:
        if not Path("/sys/class/net", name).exists():
            there = ", ".join(sorted(n for _, n in socket.if_nameindex()))
            yield f"interface {name} is not on this host; name one of {there}"


def _accounts(server: Server) -> Iterator[str]:
    for find, key in ((user, "user"), (helper_user, "helper_user")):
        try:
            find(server)
        except LookupError as error:
            yield f"server.{key}: {error}; make it (useradd --system), or name another one"


def _folders(config: Config) -> Iterator[str]:
    server = config.server
    if not server.images_dir.is_dir():
        yield f"server.images_dir: {server.images_dir} is no folder; make it"
    parent = next(p for p in (server.data_dir, *server.data_dir.parents) if p.exists())
    if not parent.is_dir():
        yield f"server.data_dir: {parent} is no folder; name another place"
    elif os.geteuid() and not os.access(parent, os.W_OK | os.X_OK):
        yield f"server.data_dir: {parent} may not be written; start as root, or give it to this account"


def _readable(config: Config) -> Iterator[str]:
    """The operator's files must stay readable once root is dropped: they are read again when they change."""
    try:
        reader = user(config.server) if os.geteuid() == 0 else None
    except LookupError:
        return
    for path in (*config.files, *config.secret_files):
        if _exists(path) and not readable(path, reader):
            who = reader.name if reader else f"uid {os.geteuid()}"
            yield f"{path} is not readable by {who}; chgrp and chmod g+r it, and the folders above it g+x"


def readable(path: Path, account: Account | None) -> bool:
    """Whether an account may read a file, by the modes of the file and of all folders above it."""
    if account is None:
        return os.access(path, os.R_OK)
    if account.uid == 0:
        return True
    try:
        whole = path.resolve(strict=True)
        return _may(whole, account, 4) and all(_may(folder, account, 1) for folder in whole.parents)
    except OSError:
        return False


def _may(path: Path, account: Account, bit: int) -> bool:
    facts = path.stat()
    mode = stat.S_IMODE(facts.st_mode)
    if facts.st_uid == account.uid:
        return bool(mode & bit << 6)
    if facts.st_gid == account.gid or facts.st_gid in account.groups:
        return bool(mode & bit << 3)
    return bool(mode & bit)


def _ports(config: Config) -> Iterator[str]:
    return iter(())
