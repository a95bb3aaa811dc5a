"""What is done while we are root: folders and secrets, sockets, the forker. Then root is dropped.

Everything that can be wrong with this host is found here, before a single packet is answered, and said as
a StartError with its remedy.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path

from netboot import alive, net
from netboot.config import Config
from netboot.config import here as host
from netboot.dhcp.proxy import BOOT_SERVER_PORT
from netboot.errors import StartError
from netboot.model.inventory import Inventory, Network
from netboot.proc import Kind, privileges
from netboot.proc.forking import ForkerHandle, start_forker
from netboot.proc.privileges import Account
from netboot.proc.supervisor import Https

SECRET_BYTES = 32
LATE_IMPORTS = (
    "concurrent.futures.thread",
    "cryptography.hazmat.backends.openssl.backend",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
)
"""What libraries import at their first use: by then we may not be able to enter the folder they lie in."""
_BACKLOG = 4096


@dataclass(frozen=True)
class Bound:
    """What the daemon holds once root is dropped."""

    forker: ForkerHandle
    endpoints: tuple[net.Endpoint, ...]
    http: tuple[socket.socket, ...]
    tftp: tuple[socket.socket, ...]
    api: socket.socket
    secret: bytes = field(repr=False)
    warnings: tuple[str, ...] = ()
    boot_servers: tuple[net.Endpoint, ...] = ()
    """Port 4011 of the interfaces where another DHCP server gives the addresses."""
    arp: Mapping[str, alive.ArpSocket] = field(default_factory=dict)
    """What asks each link whether an address is in use."""
    echo: alive.EchoSocket | None = None
    """The same behind relay agents."""
    https: Https | None = None


def prepare(config: Config, inventory: Inventory, helpers: Mapping[Kind, str]) -> Bound:
    """Make folders and secrets, bind every socket, start the forker, and drop root for good.

    `helpers` names the entry point of each kind of helper. Raises StartError.
    """
    if problems := host.problems(config):
        raise StartError(
            "; ".join(problems), "Mend this and start again (`netboot check --here` shows it too)"
        )
    privileges.all_descriptors()
    own, helper = _accounts(config)
    for module in LATE_IMPORTS:
        importlib.import_module(module)
    private_folder(config.server.data_dir, own)
    secret = appliance_secret(config.server.data_dir / "secret", own)
    with contextlib.ExitStack() as undo:
        forker = start_forker(helpers, own=own, helper=helper)
        undo.callback(forker.channel.close)
        endpoints = tuple(undo.enter_context(contextlib.closing(e)) for e in _endpoints(config))
        boot_servers = open_boot_servers(inventory, [e.name for e in endpoints])
        for each in boot_servers:
            undo.callback(each.close)
        addresses = listen_addresses(endpoints, inventory)
        http = tuple(
            undo.enter_context(s) for s in _tcp(addresses, config.server.boot_port, "server.boot_port")
        )
        tftp = tuple(undo.enter_context(s) for s in _udp(addresses))
        https = _https(config, addresses, undo)
        api = undo.enter_context(listener(config.api.host, config.api.port, "server.api.listen"))
        arp, echo, unasked = _askers(endpoints, undo)
        warnings = (*unasked, *_step_down(own))
        undo.pop_all()
    return Bound(forker, endpoints, http, tftp, api, secret, warnings, boot_servers, arp, echo, https)


def with_addresses(inventory: Inventory, server_address: IPv4Address | None) -> Inventory:
    """The inventory with each network's `address` filled in from its interface. Raises StartError."""
    networks = {name: _addressed(each, server_address) for name, each in inventory.networks.items()}
    return replace(inventory, networks=networks)


def _addressed(network: Network, server_address: IPv4Address | None) -> Network:
    if network.address is not None:
        return network
    if server_address is not None:
        return replace(network, address=server_address)
    if network.interface is None:
        raise StartError(
            f"network {network.name} is relayed and says no address that its nodes reach us at",
            f"Add `address:` to network {network.name}, or set server.address",
        )
    ours = net.interface(network.interface).addresses
    inside = [address for address in ours if address in network.subnet]
    if not inside:
        raise StartError(
            f"interface {network.interface} has no address in {network.subnet} (network {network.name})",
            f"Give it one (ip address add ... dev {network.interface}), or set the network's address",
        )
    return replace(network, address=inside[0])


def _accounts(config: Config) -> tuple[Account | None, Account | None]:
    """Who control and the helpers become; None for both when we are not root."""
    if os.geteuid() != 0:
        return None, None
    own, helper = host.user(config.server), host.helper_user(config.server)
    return Account(own.uid, own.gid), Account(helper.uid, helper.gid)


def private_folder(path: Path, owner: Account | None) -> None:
    """`data_dir`, ours alone: created or taken over."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if owner is not None:
            for each in (path, *path.iterdir()):
                os.chown(each, owner.uid, owner.gid, follow_symlinks=False)
        path.chmod(0o700)
    except OSError as error:
        raise StartError(
            f"server.data_dir {path} cannot be made ours: {error.strerror}",
            "Start as root, or give the folder to the account that netboot runs as",
        ) from None


def appliance_secret(path: Path, owner: Account | None) -> bytes:
    """The appliance's secret, from which boot keys and sessions are derived; made at first start."""
    try:
        if not path.exists():
            _write_secret(path, owner)
        secret = path.read_bytes()
    except OSError as error:
        raise StartError(
            f"{path} cannot be read or made: {error.strerror}", "Check its owner and the disk"
        ) from None
    if len(secret) != SECRET_BYTES:
        raise StartError(
            f"{path} has {len(secret)} bytes instead of {SECRET_BYTES}",
            "Restore it from a backup, or remove it: boots that are under way then start over",
        )
    return secret


def _write_secret(path: Path, owner: Account | None) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(SECRET_BYTES))
        file.flush()
        if owner is not None:
            os.fchown(handle, owner.uid, owner.gid)
        os.fsync(handle)
    fresh.rename(path)


def _endpoints(config: Config) -> Iterator[net.Endpoint]:
    served = {n.interface for n in config.inventory.networks.values() if n.interface is not None}
    for name in dict.fromkeys((*config.server.interfaces, *sorted(served))):
        yield net.open_endpoint(name)


def open_boot_servers(
    inventory: Inventory, interfaces: Iterable[str], present: Iterable[net.Endpoint] = ()
) -> tuple[net.Endpoint, ...]:
    """Port 4011 where machines ask beside another DHCP server, those of `present` among them if still wanted.

    Works without root, too. Raises StartError.
    """
    proxies = [n for n in inventory.networks.values() if n.proxy]
    everywhere = any(n.interface is None for n in proxies)
    wanted = {name for name in interfaces if everywhere or any(n.interface == name for n in proxies)}
    have = {each.name: each for each in present if each.name in wanted}
    with contextlib.ExitStack() as undo:
        for name in sorted(wanted - have.keys()):
            have[name] = undo.enter_context(contextlib.closing(net.open_endpoint(name, BOOT_SERVER_PORT)))
        undo.pop_all()
    return tuple(have.values())


def _askers(
    endpoints: Iterable[net.Endpoint], undo: contextlib.ExitStack
) -> tuple[dict[str, alive.ArpSocket], alive.EchoSocket | None, list[str]]:
    """Sockets that ask who uses an address; a warning where we may not open them."""
    try:
        arp = {e.name: asker for e in endpoints if (asker := alive.open_arp(e.facts)) is not None}
        for asker in arp.values():
            undo.callback(asker.close)
        echo = undo.enter_context(contextlib.closing(alive.open_echo(secrets.token_bytes(8))))
    except StartError as error:
        return {}, None, [f"dynamic addresses are offered without asking whether they are in use: {error}"]
    return arp, echo, []


def listen_addresses(endpoints: Iterable[net.Endpoint], inventory: Inventory) -> tuple[IPv4Address, ...]:
    """Where HTTP and TFTP listen: every address of the served interfaces, never the wildcard."""
    ours = dict.fromkeys(address for endpoint in endpoints for address in endpoint.addresses)
    if not ours:
        names = ", ".join(sorted(n.name for n in inventory.networks.values()))
        raise StartError(f"no interface of the networks {names} has an IPv4 address", "Give it one first")
    return tuple(ours)


def _tcp(addresses: Iterable[IPv4Address], port: int, key: str) -> Iterator[socket.socket]:
    for address in addresses:
        yield listener(str(address), port, key)


def listener(host_name: str, port: int, key: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host_name else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host_name, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _cannot_bind(f"TCP {host_name}:{port}", error, f"ss -tlnp sport = :{port}", key) from None
    return sock


def _https(config: Config, addresses: Iterable[IPv4Address], undo: contextlib.ExitStack) -> Https | None:
    said = config.server.boot_https
    if said is None:
        return None
    sockets = tuple(undo.enter_context(s) for s in _tcp(addresses, said.port, "server.boot_https.port"))
    return Https(sockets, said.pem())


def _udp(addresses: Iterable[IPv4Address], port: int = 69) -> Iterator[socket.socket]:
    for address in addresses:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            sock.bind((str(address), port))
        except OSError as error:
            sock.close()
            shown = f"ss -ulnp sport = :{port}"
            raise _cannot_bind(f"UDP {address}:{port} (TFTP)", error, shown, "server.interfaces") from None
        yield sock


def _cannot_bind(what: str, error: OSError, shown: str, key: str) -> StartError:
    if error.errno == errno.EADDRINUSE:
        return StartError(
            f"{what} is taken by another program", f"Stop it (`{shown}` names it), or change {key}"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return StartError(
            f"{what} may not be bound", "Start as root, or with the capability CAP_NET_BIND_SERVICE"
        )
    return StartError(
        f"{what} cannot be bound: {error.strerror}", f"Check {key} and the interface's addresses"
    )


def _step_down(own: Account | None) -> tuple[str, ...]:
    """Run above our helpers, then give up root but for the two capabilities that control needs."""
    warnings = [w] if (w := privileges.run_above_helpers()) else []
    if own is None:
        warnings.append(
            "started without root: control and its helpers share one uid, so a fault in a download process "
            "could read the appliance's secrets; start as root to separate them"
        )
    privileges.drop_to(own, keep=privileges.CONTROL)
    return tuple(warnings)
