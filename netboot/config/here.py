"""What belongs to this host: interfaces, addresses, accounts, free ports, folders, who may read what.

`check --here` and `serve` look at it; everybody else takes the operator's file as it is.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from netboot import net
from netboot.config import tokens_file
from netboot.config.holder import Daemon
from netboot.config.model import Config, Server
from netboot.dhcp.proxy import BOOT_SERVER_PORT
from netboot.errors import ConfigError, StartError
from netboot.join.static_files import doubts
from netboot.model.image import split_reference
from netboot.model.inventory import Network

DEFAULT_USER = "netboot"
DEFAULT_HELPER = "netboot-files"
HELPER_UID = 65533
"""Who the helpers are where no account was named and `netboot-files` does not exist."""


_DHCP = 67


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
    """`server.helper_user`, else netboot-files where that exists, else uid 65533. Raises LookupError."""
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
    absent = [named for named in config.named_files if not exists(named.path)]
    return [f"{named.place}: {named.key}: {named.path} is not there; put it there" for named in absent]


def missing_images(config: Config) -> list[str]:
    """Images that are named and not in `images_dir`: their machines would get an address and no system."""
    folder = config.server.images_dir
    found: dict[str, str] = {}
    for key, image in _images(config):
        found.setdefault(image, key)
    return [
        f"{key}: image {image} is not in {folder}; its machines get an address and no system until it is"
        for image, key in found.items()
        if not _has(folder, image)
    ]


def _images(config: Config) -> Iterator[tuple[str, str]]:
    said = config.inventory
    yield from ((f"clusters[{c.name}].image", c.image) for c in said.clusters.values() if c.image)
    yield from ((f"pools[{p.name}].image", p.image) for p in said.pools.values() if p.image)
    yield from ((f"pools[{n.pool}].nodes[{n.name}].image", n.image) for n in said.nodes if n.image)


def _has(folder: Path, image: str) -> bool:
    name, generation = split_reference(image)
    return exists(folder / name / (generation or "latest") / "manifest.json")


def exists(path: Path) -> bool:
    """Whether something is there; what we may not look at counts as if it were."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def problems(config: Config, running: Daemon | None = None) -> list[str]:
    """What keeps this host from serving this configuration, each with what to do.

    `running`: the daemon that serves it already; the ports that it has are not taken.
    """
    found = [
        *_interfaces(config),
        *_accounts(config.server),
        *_folders(config),
        *_readable(config),
        *_https(config),
        *_api(config),
    ]
    return [*found, *_ports(config, running)]


def _own(interface: str) -> tuple[IPv4Address, ...]:
    try:
        return net.interface(interface).addresses
    except (StartError, OSError):
        return ()


def _interfaces(config: Config) -> Iterator[str]:
    """Interfaces that are not there, and addresses that are not ours."""
    named = dict.fromkeys(
        (*config.server.interfaces, *(n.interface for n in config.inventory.networks.values() if n.interface))
    )
    ours: dict[str, tuple[IPv4Address, ...]] = {}
    for name in named:
        try:
            ours[name] = net.interface(name).addresses
        except StartError as error:
            yield str(error)
    yield from (
        f"interface {name} has no IPv4 address; give it one (`ip address add`)"
        for name, addresses in ours.items()
        if not addresses
    )
    for network in config.inventory.networks.values():
        yield from _address(network, ours)


def _address(network: Network, ours: Mapping[str, tuple[IPv4Address, ...]]) -> Iterator[str]:
    """Where a network's nodes shall reach us: an address of this host."""
    have = sorted({address for addresses in ours.values() for address in addresses})
    listed = ", ".join(map(str, have))
    if network.address is not None:
        if have and network.address not in have:
            what = f"networks[{network.name}].address: {network.address} is not on this host"
            yield f"{what}; name one of {listed}, or add it to an interface"
        return
    own = ours.get(network.interface or "")
    if own is not None and not any(a in network.subnet for a in own):
        what = f"networks[{network.name}]: {network.interface} has no address in {network.subnet}"
        yield f"{what}; give it one (`ip address add`), or write the network's address"


def _accounts(server: Server) -> Iterator[str]:
    for find, key in ((user, "user"), (helper_user, "helper_user")):
        try:
            find(server)
        except LookupError as error:
            yield f"server.{key}: {error}; make it (useradd --system), or name another one"


def _https(config: Config) -> Iterator[str]:
    """HTTPS for nodes: files that can be used, for the addresses where nodes reach us."""
    https = config.server.boot_https
    if https is None:
        return
    ours = [*(n.address for n in config.inventory.networks.values()), config.server.address]
    named = [address for address in ours if address is not None]
    own = [a for name in config.server.interfaces for a in _own(name)]
    yield from https.doubts(named or own, time.time())
    try:
        https.pem()
        https.authority()
    except StartError as error:
        yield f"server.boot_https: {error}"


def unusable(config: Config) -> Iterator[str]:
    """Join method static: an authority that cannot sign, a folder without a declared node's files.

    `serve` runs all the same: the nodes of that cluster wait until it is mended.
    """
    pools = config.inventory.pools
    for cluster in config.inventory.clusters.values():
        join = cluster.join
        named = [path for path in (join.ca_certificate, join.ca_key_file, join.directory) if path is not None]
        if join.method != "static" or not all(map(exists, named)):
            continue  # what is missing was told already
        nodes = [n.name for n in config.inventory.nodes if pools[n.pool].cluster == cluster.name]
        wanted = nodes if join.directory is not None else [cluster.name]
        found = dict.fromkeys(doubt for node in wanted for doubt in doubts(node, join, time.time()))
        yield from (f"clusters[{cluster.name}].join: {doubt}" for doubt in found)


def _api(config: Config) -> Iterator[str]:
    """What the API cannot start without: its certificate, the tokens that the file promises."""
    api = config.api
    if api.tls is not None:
        try:
            api.tls.context()
        except StartError as error:
            yield f"server.api.tls: {error}"
    if api.tokens_file is not None:
        try:
            tokens_file.read(api.tokens_file)
        except ConfigError as error:
            yield from (f"server.api.tokens_file: {problem}" for problem in error.problems)


def warnings(config: Config) -> list[str]:
    """What stops nothing, but operators would meet it."""
    api = config.api
    found = [f"server.api.tokens_file: {doubt}" for doubt in _doubts(api.tokens_file)]
    if api.tls is not None:
        try:
            doubts = api.tls.doubts_of({api.host, *api.names}, time.time())
            found += [f"server.api.tls.certificate: {doubt}" for doubt in doubts]
        except StartError:
            pass  # told as a problem
    return found


def _doubts(tokens: Path | None) -> Iterator[str]:
    return tokens_file.doubts(tokens) if tokens is not None else iter(())


def _folders(config: Config) -> Iterator[str]:
    server = config.server
    if not server.images_dir.is_dir():
        what = f"server.images_dir: there is no folder {server.images_dir}"
        yield f"{what}; make it, or name another place"
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
    for path in (*config.files, *(named.path for named in config.named_files)):
        if exists(path) and not readable(path, reader):
            who = reader.name if reader else f"uid {os.geteuid()}"
            yield f"{path} is not readable by {who}; let its group read it, and enter the folders above it"


def readable(path: Path, account: Account | None) -> bool:
    """Whether an account (None: this process) may read a file, by its mode and those of the folders above."""
    if account is None:
        return os.access(path, os.R_OK)
    if account.uid == 0:
        return True
    try:
        whole = path.resolve(strict=True)
        return _may(whole, account, 4) and all(_may(folder, account, 1) for folder in whole.parents)
    except OSError:
        return False


def enterable(folder: Path, account: Account | None) -> bool:
    """Whether an account (None: this process) may open files by their names in a folder."""
    if account is None:
        return os.access(folder, os.X_OK)
    if account.uid == 0:
        return True
    try:
        whole = folder.resolve(strict=True)
        return all(_may(each, account, 1) for each in (whole, *whole.parents))
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


def _ports(config: Config, running: Daemon | None) -> Iterator[str]:
    """Ports that somebody else has: each is bound and let go at once."""
    server = config.server
    proxies = any(network.proxy for network in config.inventory.networks.values())
    for name in server.interfaces:
        addresses = _own(name)
        if not addresses:
            continue
        for port in (_DHCP, *((BOOT_SERVER_PORT,) if proxies else ())):
            try:
                net.open_endpoint(name, port).close()
            except StartError as error:
                if not (running and running.has(socket.SOCK_DGRAM, "0.0.0.0", port)):
                    yield str(error)
        for address in addresses:
            yield from _taken(socket.SOCK_DGRAM, str(address), 69, running)
            yield from _taken(socket.SOCK_STREAM, str(address), server.boot_port, running)
            if server.boot_https is not None:
                yield from _taken(socket.SOCK_STREAM, str(address), server.boot_https.port, running)
    yield from _taken(socket.SOCK_STREAM, config.api.host, config.api.port, running)


def _taken(kind: socket.SocketKind, host: str, port: int, running: Daemon | None) -> Iterator[str]:
    if running is not None and running.has(kind, host, port):
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    word = "TCP" if kind == socket.SOCK_STREAM else "UDP"
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:  # connections that just ended do not hold a port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            if kind == socket.SOCK_STREAM:
                probe.listen(1)
        except PermissionError:
            yield f"{word} port {port} on {host} may not be opened by this account; start as root"
        except OSError as error:
            remedy = (
                f"stop the program that has it (`ss -{'t' if word == 'TCP' else 'u'}lnp sport = :{port}`)"
            )
            yield f"{word} port {port} on {host} cannot be opened: {error.strerror}; {remedy}"
